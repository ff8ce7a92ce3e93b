// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"parry/pkg/api"
)

func things() []api.ShadowThing {
	return []api.ShadowThing{{What: "craft", State: api.ShadowWatches}, {What: "craft/limits", State: api.ShadowWatches}}
}

// Shadow says the same always, but for what was promoted.
func (e *Edge) Shadow(_ context.Context, service string) (api.ShadowReport, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rep := api.ShadowReport{Time: Epoch(), SourceError: 0.0325, Things: slices.Clone(e.things), Rows: []api.ShadowRow{
		{Service: "", Reason: "host_rate", Packets: 3, Bytes: 180, Sources: 1},
		{Service: "craft", Reason: "new_sessions", What: "craft", Packets: 12_000, Bytes: 720_000, Sources: 345, Players: 2},
	}}
	if service == "nosuch" {
		return rep, api.Mark(api.ErrNotFound, fmt.Errorf("there is no service %s", service))
	}
	if service != "" {
		rep.Rows = slices.DeleteFunc(rep.Rows, func(r api.ShadowRow) bool { return r.Service != service })
	}
	return rep, e.Fail
}

// Promote notes it.
func (e *Edge) Promote(_ context.Context, p api.ShadowPromotion) (api.ShadowThing, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.things, func(t api.ShadowThing) bool { return t.What == p.What })
	if i < 0 {
		return api.ShadowThing{}, api.Mark(api.ErrNotFound, fmt.Errorf("no such thing as %q", p.What))
	}
	t := &e.things[i]
	t.State, t.Since, t.MaxPlayers = api.ShadowPromoted, new(Epoch()), p.MaxPlayers
	if p.ForMS > 0 {
		t.State, t.Until = api.ShadowTrial, new(Epoch().Add(time.Duration(p.ForMS)*time.Millisecond))
	}
	return *t, e.Fail
}

// RollBack takes that back.
func (e *Edge) RollBack(_ context.Context, what string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.things, func(t api.ShadowThing) bool { return t.What == what && t.Since != nil })
	if i < 0 {
		return api.Mark(api.ErrNotFound, fmt.Errorf("%q is not promoted", what))
	}
	e.things[i] = api.ShadowThing{What: what, State: api.ShadowWatches}
	return e.Fail
}

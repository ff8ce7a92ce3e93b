// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"parry/pkg/api"
)

// Rules lists what it was made with, and what AddRule added.
func (e *Edge) Rules(context.Context) ([]api.Rule, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.rules), e.Fail
}

// AddRule takes anything but what says that it drops everything, without force.
func (e *Edge) AddRule(_ context.Context, n api.NewRule) (api.Rule, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Fail != nil {
		return api.Rule{}, e.Fail
	}
	if strings.Contains(n.Expression, "1 = 1") && !n.Force {
		return api.Rule{}, api.Mark(api.ErrInvalid, fmt.Errorf("it would drop every packet that players send to arena: --force if that is meant"))
	}
	id := uint32(1)
	for _, r := range e.rules {
		id = max(id, r.ID+1)
	}
	r := api.Rule{ID: id, Expression: n.Expression, Action: n.Action, Service: n.Service, Monitor: n.Monitor, Established: n.Established,
		Added: Epoch(), Expires: n.Expires}
	e.rules = append(e.rules, r)
	return r, nil
}

// DelRule removes one.
func (e *Edge) DelRule(_ context.Context, id uint32) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.rules, func(r api.Rule) bool { return r.ID == id })
	switch {
	case e.Fail != nil:
		return e.Fail
	case i < 0:
		return api.Mark(api.ErrNotFound, fmt.Errorf("there is no rule %d", id))
	}
	e.rules = slices.Delete(e.rules, i, i+1)
	return nil
}

// rules are two: one that drops, one that only watches.
func rules() []api.Rule {
	return []api.Rule{
		{ID: 1, Expression: "udp and dst port 27960 and length > 1200", Action: "drop", Added: Epoch(), Packets: 41_000, Bytes: 57_400_000, Dropped: 41_000},
		{ID: 4, Expression: "src net 198.51.100.0/24", Action: "limit:50/source", Service: "arena", Monitor: true, Established: true, Added: Epoch(),
			Expires: new(Epoch().Add(3600e9)), Packets: 1200, Bytes: 96_000, WouldDrop: 700},
	}
}

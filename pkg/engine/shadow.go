// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/shadow"
	"parry/pkg/state"
)

const (
	bucketShadow = "shadow"
	judgeEvery   = time.Second // of trials
)

// promotion is something that only watches by the configuration and was switched on. It is kept over restarts.
type promotion struct {
	What       string    `json:"what"`
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until"` // of its trial; zero = it is on none
	MaxPlayers uint64    `json:"max_players"`
	Trial      uint8     `json:"trial"`  // number of its trial
	Before     uint64    `json:"before"` // players that were hit before it
}

func (p *promotion) onTrial() bool { return !p.Until.IsZero() }

// shadows are the promotions. e.mu guards them.
type shadows struct {
	file     *config.Config // as it says, without promotions
	promoted map[string]*promotion
	trial    uint8 // number of the last one
}

// recallShadows reads promotions of before.
func (e *Engine) recallShadows(ctx context.Context) {
	e.shadows.promoted = map[string]*promotion{}
	for _, entry := range e.memory.list(ctx, bucketShadow) {
		var p promotion
		if err := json.Unmarshal(entry.Value, &p); err != nil {
			e.fault("read what was promoted", err)
			continue
		}
		e.shadows.promoted[p.What] = &p
		e.shadows.trial = max(e.shadows.trial, p.Trial)
	}
}

// effective is a configuration with what was promoted. e.mu is held.
func (e *Engine) effective(c *config.Config) *config.Config {
	return shadow.Apply(c, e.promotedNames())
}

// settle takes a configuration for the file's, now that it runs. What it enforces itself, or doesn't have, is promoted no more. e.mu is
// held.
func (e *Engine) settle(file *config.Config) {
	e.shadows.file = file
	for _, what := range e.promotedNames() {
		if err := shadow.Check(file, what); errors.Is(err, shadow.ErrEnforced) || errors.Is(err, shadow.ErrNone) {
			e.log.Info("the configuration settles what was promoted", "what", what, "why", err)
			e.forget(what)
		}
	}
}

func (e *Engine) promotedNames() []string {
	var all []string
	for what := range e.shadows.promoted {
		all = append(all, what)
	}
	slices.Sort(all)
	return all
}

func (e *Engine) forget(what string) {
	delete(e.shadows.promoted, what)
	if e.memory.store != nil {
		e.fault("keep what is promoted", e.memory.store.Delete(context.Background(), bucketShadow, what))
	}
}

func (e *Engine) keep(p *promotion) {
	if e.memory.store == nil {
		return
	}
	doc, err := json.Marshal(p)
	if err == nil {
		err = e.memory.store.Apply(context.Background(), bucketShadow, []state.Change{{Key: p.What, Value: doc}})
	}
	e.fault("keep what is promoted", err)
}

// putOnTrial marks the services of a plan whose policy was switched on a moment ago.
func (e *Engine) putOnTrial(c *config.Config, plan *loader.Plan) {
	for _, p := range e.shadows.promoted {
		if !p.onTrial() {
			continue
		}
		of := shadow.Services(c, p.What)
		for i := range plan.Services {
			if slices.Contains(of, plan.Services[i].Name) {
				plan.Services[i].Trial = max(p.Trial, plan.Services[i].Trial)
			}
		}
	}
}

// hits is how many players a promoted thing has hit since the maps were made.
func (e *Engine) hits(what string) (n uint64, reasons string, err error) {
	books, err := e.edge.Books()
	names := e.edge.ServiceNames()
	var all []string
	for _, b := range books {
		if b.Hit > 0 && int(b.Service) < len(names) && shadow.Drops(what, names[b.Service], b.Reason) {
			n += b.Hit
			all = append(all, b.Reason)
		}
	}
	slices.Sort(all)
	return n, strings.Join(slices.Compact(all), ", "), err
}

// Promote switches something on.
func (a edgeAPI) Promote(_ context.Context, in api.ShadowPromotion) (api.ShadowThing, error) {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.shadows.promoted[in.What]; old != nil {
		return api.ShadowThing{}, api.Mark(api.ErrBusy, fmt.Errorf("%s is promoted since %s: roll it back first", in.What, old.Since.Format(time.DateTime)))
	}
	applied := shadow.Apply(e.shadows.file, e.promotedNames())
	if err := shadow.Check(applied, in.What); errors.Is(err, shadow.ErrNone) {
		return api.ShadowThing{}, api.Mark(api.ErrNotFound, err)
	} else if err != nil {
		return api.ShadowThing{}, api.Mark(api.ErrInvalid, err)
	}
	before, _, err := e.hits(in.What)
	if err != nil {
		return api.ShadowThing{}, err
	}
	p := &promotion{What: in.What, Since: time.Now().UTC(), MaxPlayers: in.MaxPlayers, Before: before}
	text := in.What + " is enforced from now on"
	if in.ForMS > 0 {
		e.shadows.trial = e.shadows.trial%math.MaxUint8 + 1
		p.Trial, p.Until = e.shadows.trial, p.Since.Add(time.Duration(in.ForMS)*time.Millisecond)
		text += fmt.Sprintf(", on trial until %s: above %d players that it hits it only watches again", p.Until.Format(time.DateTime), p.MaxPlayers)
	}
	e.shadows.promoted[in.What] = p
	if err := e.install(e.effective(e.shadows.file), e.ifaces); err != nil {
		delete(e.shadows.promoted, in.What)
		return api.ShadowThing{}, err
	}
	if err := e.lists.l.Bump(); err != nil {
		return api.ShadowThing{}, err
	}
	e.keep(p)
	e.tellShadow(event.ShadowPromote, in.What, text, map[string]any{"what": in.What, "trial": in.ForMS > 0, "max_players": in.MaxPlayers})
	return e.thing(in.What)
}

func (e *Engine) tellShadow(kind, what, text string, data map[string]any) {
	service, _, _ := strings.Cut(what, "/")
	if what == shadow.All {
		service = ""
	}
	e.log.Info(text, "what", what)
	e.events.Publish(event.Event{Type: kind, Service: service, Text: text, Data: data})
}

// RollBack has something only watch again.
func (a edgeAPI) RollBack(_ context.Context, what string) error {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shadows.promoted[what] == nil {
		return api.Mark(api.ErrNotFound, fmt.Errorf("%q is not promoted", what))
	}
	return e.rollBack(what, "somebody said so", 0)
}

// rollBack is that, with why. e.mu is held.
func (e *Engine) rollBack(what, why string, hit uint64) error {
	p := e.shadows.promoted[what]
	delete(e.shadows.promoted, what)
	if err := e.install(e.effective(e.shadows.file), e.ifaces); err != nil {
		e.shadows.promoted[what] = p
		return err
	}
	e.forget(what)
	e.tellShadow(event.ShadowRollback, what, what+" only watches again: "+why, map[string]any{"what": what, "reason": why, "players": hit})
	return e.lists.l.Bump()
}

// trials judges what was promoted on trial until ctx ends.
func (e *Engine) trials(ctx context.Context) error {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			e.locked(e.judge)
		}
	}
}

func (e *Engine) judge() {
	for _, what := range e.promotedNames() {
		p := e.shadows.promoted[what]
		if p == nil || !p.onTrial() {
			continue
		}
		n, reasons, err := e.hits(what)
		if err != nil {
			e.fault("judge what is on trial", err)
			return
		}
		hit := n - min(p.Before, n)
		switch {
		case hit > p.MaxPlayers:
			why := fmt.Sprintf("it has hit %d players (%s) within %v", hit, reasons, time.Since(p.Since).Round(time.Second))
			e.fault("roll back what hit players", e.rollBack(what, why, hit))
		case time.Now().After(p.Until):
			p.Until = time.Time{}
			e.fault("end a trial", e.install(e.cfg, e.ifaces))
			e.keep(p)
			e.tellShadow(event.ShadowKept, what, fmt.Sprintf("the trial of %s is over, it stays enforced: it has hit %d players", what, hit),
				map[string]any{"what": what, "players": hit})
		}
	}
}

// thing is one in the words of the API. e.mu is held.
func (e *Engine) thing(what string) (api.ShadowThing, error) {
	t := api.ShadowThing{What: what, State: api.ShadowWatches}
	p := e.shadows.promoted[what]
	if p == nil {
		return t, nil
	}
	n, _, err := e.hits(what)
	t.State, t.Since, t.MaxPlayers, t.Hit = api.ShadowPromoted, &p.Since, p.MaxPlayers, n-min(p.Before, n)
	if p.onTrial() {
		t.State, t.Until = api.ShadowTrial, &p.Until
	}
	return t, err
}

// things are all that watch by the configuration, promoted or not. e.mu is held.
func (e *Engine) things() ([]api.ShadowThing, error) {
	all := []api.ShadowThing{}
	var errs []error
	for _, what := range shadow.Watching(e.shadows.file) {
		t, err := e.thing(what)
		errs = append(errs, err)
		all = append(all, t)
	}
	return all, errors.Join(errs...)
}

// Shadow is what policy would have dropped.
func (a edgeAPI) Shadow(_ context.Context, service string) (api.ShadowReport, error) {
	e := a.e
	rep := api.ShadowReport{Time: time.Now().UTC(), SourceError: loader.SketchError, Rows: []api.ShadowRow{}}
	counters, err := e.edge.Counters()
	if err != nil {
		return rep, err
	}
	books, err := e.edge.Books()
	if err != nil {
		return rep, err
	}
	names := e.edge.ServiceNames()
	e.mu.Lock()
	defer e.mu.Unlock()
	if service != "" && !slices.Contains(names, service) {
		return rep, api.Mark(api.ErrNotFound, fmt.Errorf("there is no service %s", service))
	}
	for i := range min(len(counters), len(names)) {
		if service != "" && names[i] != service {
			continue
		}
		for reason, n := range counters[i].Reasons {
			if n.ShadowPackets == 0 {
				continue
			}
			row := api.ShadowRow{Service: names[i], Reason: reason, Packets: n.ShadowPackets, Bytes: n.ShadowBytes, What: shadow.Of(e.shadows.file, names[i], reason)}
			for _, b := range books {
				if int(b.Service) == i && b.Reason == reason {
					row.Sources, row.Players = min(uint64(b.Sources+0.5), n.ShadowPackets), b.Players
				}
			}
			rep.Rows = append(rep.Rows, row)
		}
	}
	slices.SortFunc(rep.Rows, func(x, y api.ShadowRow) int {
		return cmp.Or(cmp.Compare(x.Service, y.Service), cmp.Compare(y.Packets, x.Packets), cmp.Compare(x.Reason, y.Reason))
	})
	rep.Things, err = e.things()
	return rep, err
}

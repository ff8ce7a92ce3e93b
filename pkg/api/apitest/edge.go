// SPDX-License-Identifier: Apache-2.0

// Package apitest has an edge without a network: what the API and the command line are tested against.
package apitest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"parry/pkg/api"
	"parry/pkg/attack"
	"parry/pkg/blocklist"
	"parry/pkg/event"
)

// Edge keeps what it is given and answers from it. Set the exported fields before it is used.
type Edge struct {
	Now       api.Status   // what Status answers
	Servicing []api.Server // what Servers answers
	Capacity  int          // of each list; 0 = no bound
	Fail      error        // every call fails with it
	ReloadErr error        // Reload fails with it
	Log       *event.Log   // what Events reads; nil = nothing happens
	Attacked  []attack.Record
	// Step changes the status before each answer, so that rates can be seen.
	Step func(*api.Status)

	// Captured is how many packets there are to be captured.
	Captured int

	mu       sync.Mutex // guards what follows, and Now
	sessions []api.Session
	lists    map[api.Kind]map[blocklist.Key]blocklist.Entry
	reloads  int
	// ConfirmErr refuses what Confirm would keep; else Kept is what it answers.
	ConfirmErr error
	Kept       api.Confirmed
	gates      []api.Gate
	rules      []api.Rule
	things     []api.ShadowThing
}

var _ api.Edge = (*Edge)(nil)

// Play sets the sessions.
func (e *Edge) Play(sessions ...api.Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions = sessions
}

// Reloads is how often Reload succeeded.
func (e *Edge) Reloads() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reloads
}

// Len is how many entries a list holds.
func (e *Edge) Len(kind api.Kind) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.lists[kind])
}

// Status answers Now.
func (e *Edge) Status(context.Context) (api.Status, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Step != nil {
		e.Now.Services = slices.Clone(e.Now.Services) // the last answer keeps its own
		e.Step(&e.Now)
	}
	return e.Now, e.Fail
}

// ServiceNames are those of Now.
func (e *Edge) ServiceNames(context.Context) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var names []string
	for _, s := range e.Now.Services {
		names = append(names, s.Name)
	}
	return names, e.Fail
}

// Sessions answers what Play set.
func (e *Edge) Sessions(_ context.Context, f api.Filter) ([]api.Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	picked, _ := e.split(f)
	return picked, e.Fail
}

// PickSessions is Sessions one by one.
func (e *Edge) PickSessions(ctx context.Context, f api.Filter) iter.Seq2[api.Session, error] {
	return func(yield func(api.Session, error) bool) {
		all, err := e.Sessions(ctx, f)
		for _, s := range all {
			if err != nil || !yield(s, nil) {
				break
			}
		}
		if err != nil {
			yield(api.Session{}, err)
		}
	}
}

// EndSessions forgets sessions.
func (e *Edge) EndSessions(_ context.Context, f api.Filter) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Fail != nil {
		return 0, e.Fail
	}
	picked, rest := e.split(f)
	e.sessions = rest
	return len(picked), nil
}

// split parts the sessions that a filter picks from the others.
func (e *Edge) split(f api.Filter) (picked, rest []api.Session) {
	for _, s := range e.sessions {
		if f.Match(&s) && (f.Limit == 0 || len(picked) < f.Limit) {
			picked = append(picked, s)
		} else {
			rest = append(rest, s)
		}
	}
	return picked, rest
}

// Servers answers Servicing.
func (e *Edge) Servers(context.Context) ([]api.Server, error) { return e.Servicing, e.Fail }

// Who looks for a session by its NAT address.
func (e *Edge) Who(_ context.Context, protocol string, addr netip.AddrPort) (api.Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sessions {
		if s.Protocol == protocol && s.NAT != nil && *s.NAT == addr {
			return s, e.Fail
		}
	}
	return api.Session{}, cmp.Or(e.Fail, api.Mark(api.ErrNotFound, fmt.Errorf("nobody plays behind %s %s", protocol, addr)))
}

// Reload counts.
func (e *Edge) Reload(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := cmp.Or(e.Fail, e.ReloadErr); err != nil {
		return err
	}
	e.reloads++
	return nil
}

// Confirm keeps what is on trial.
func (e *Edge) Confirm(context.Context) (api.Confirmed, error) {
	return e.Kept, cmp.Or(e.Fail, e.ConfirmErr)
}

// Gates lists what it was made with, and what LoadGate added.
func (e *Edge) Gates(context.Context) ([]api.Gate, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.gates), e.Fail
}

// LoadGate takes for a gate what begins with \x7fELF, and its last word for the name.
func (e *Edge) LoadGate(_ context.Context, object []byte) (api.Gate, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Fail != nil {
		return api.Gate{}, e.Fail
	}
	words := strings.Fields(string(object))
	if !bytes.HasPrefix(object, []byte("\x7fELF")) || len(words) == 0 {
		return api.Gate{}, api.Mark(api.ErrInvalid, errors.New("no gate: not an object that clang makes for BPF"))
	}
	g := api.Gate{
		Name: words[len(words)-1], ABI: 1, Proof: "none", About: "a gate", Source: api.GateOperator, Services: []string{}, State: api.GateUnused,
		Instructions: len(object),
	}
	if i := slices.IndexFunc(e.gates, func(o api.Gate) bool { return o.Name == g.Name }); i >= 0 {
		g.Services, g.State = e.gates[i].Services, e.gates[i].State
		e.gates[i] = g
	} else {
		e.gates = append(e.gates, g)
	}
	return g, nil
}

// UnloadGate forgets one that no service uses.
func (e *Edge) UnloadGate(_ context.Context, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.gates, func(g api.Gate) bool { return g.Name == name })
	switch {
	case e.Fail != nil:
		return e.Fail
	case i < 0:
		return api.Mark(api.ErrNotFound, fmt.Errorf("there is no gate %s", name))
	case len(e.gates[i].Services) > 0:
		return api.Mark(api.ErrBusy, fmt.Errorf("gate %s is in use by %v", name, e.gates[i].Services))
	}
	e.gates = slices.Delete(e.gates, i, i+1)
	return nil
}

// Events reads Log.
func (e *Edge) Events(ctx context.Context, q api.EventQuery) iter.Seq2[event.Event, error] {
	if e.Log == nil || e.Fail != nil {
		return func(yield func(event.Event, error) bool) {
			if e.Fail != nil {
				yield(event.Event{}, e.Fail)
			}
		}
	}
	return api.ReadEvents(ctx, e.Log, q)
}

// Attacks answers Attacked.
func (e *Edge) Attacks(_ context.Context, f api.AttackFilter) ([]attack.Record, error) {
	return f.Apply(e.Attacked), e.Fail
}

// Entries yields a list in the order of its prefixes.
func (e *Edge) Entries(_ context.Context, kind api.Kind) iter.Seq2[blocklist.Entry, error] {
	e.mu.Lock()
	all := make([]blocklist.Entry, 0, len(e.lists[kind]))
	for _, entry := range e.lists[kind] {
		all = append(all, entry)
	}
	e.mu.Unlock()
	slices.SortFunc(all, func(a, b blocklist.Entry) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Service, b.Service))
	})
	return func(yield func(blocklist.Entry, error) bool) {
		for _, entry := range all {
			if !yield(entry, nil) {
				return
			}
		}
		if e.Fail != nil {
			yield(blocklist.Entry{}, e.Fail)
		}
	}
}

// Add stores entries.
func (e *Edge) Add(_ context.Context, kind api.Kind, entries []blocklist.Entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Fail != nil {
		return e.Fail
	}
	if len(entries) > api.MaxBatch {
		return fmt.Errorf("%d entries at once are more than %d", len(entries), api.MaxBatch)
	}
	if e.lists == nil {
		e.lists = map[api.Kind]map[blocklist.Key]blocklist.Entry{api.Block: {}, api.Allow: {}}
	}
	for _, entry := range entries {
		if _, known := e.lists[kind][entry.Key()]; !known && e.Capacity > 0 && len(e.lists[kind]) >= e.Capacity {
			return api.Mark(api.ErrFull, fmt.Errorf("the %s list is full (%d entries): raise sizes.blocks", kind, e.Capacity))
		}
		e.lists[kind][entry.Key()] = entry
	}
	return nil
}

// Del removes entries.
func (e *Edge) Del(_ context.Context, kind api.Kind, keys []blocklist.Key) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, k := range keys {
		if _, ok := e.lists[kind][k]; ok {
			delete(e.lists[kind], k)
			n++
		}
	}
	return n, e.Fail
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/metrics"
	"parry/pkg/state"
)

// openHub opens the store. An edge protects without one, too: what is wrong with it is said.
func (e *Engine) openHub(ctx context.Context) *state.Hub {
	c := e.cfg
	o := state.Options{Dir: c.State, Node: c.Node, Log: e.log, Check: checkShared}
	keys := state.Keys{Certificate: c.Peers.Certificate, Key: c.Peers.Key, Authority: c.Peers.Authority}
	switch p := c.Peers; {
	case len(p.URL) > 0:
		o.Cluster = &state.Cluster{URL: p.URL, Credentials: p.Credentials, Keys: keys, Replicas: int(p.Replicas)}
	case len(p.Edges) > 0:
		o.Peers = &state.Peers{Listen: p.Listen, Keys: keys}
		for _, edge := range p.Edges {
			o.Peers.Edges = append(o.Peers.Edges, state.Peer{Name: edge.Name, Address: edge.Address})
		}
	}
	hub, err := state.Open(ctx, o)
	if err != nil {
		e.log.Error("nothing will be remembered over restarts, or shared (blocks, attacks, regular players, what is usual)", "err", err)
		return nil
	}
	return hub
}

// checkPeers reads the files of mutual TLS, so that what is wrong with them is known before an edge relies on them.
func checkPeers(c *config.Config) error {
	p := c.Peers
	err := state.Keys{Certificate: p.Certificate, Key: p.Key, Authority: p.Authority}.Check(c.Node)
	if !p.Any() || err == nil {
		return nil
	}
	at := "peers.certificate"
	if errors.Is(err, state.ErrAuthority) {
		at = "peers.authority"
	}
	return c.At(at, "", "%v", err)
}

// restore puts what is remembered for all services on the lists of an edge whose maps are new, before any packet meets them. What is for one
// service follows with the rest once the services have their numbers (run).
func (s *sharing) restore() error {
	if s.hub == nil {
		return nil
	}
	add := map[loader.List][]loader.Entry{}
	for _, e := range s.hub.Snapshot(state.Block, state.Allow) {
		k, ok := s.keyOf(e.Key, nil)
		if ok {
			add[sharedKinds[e.Kind]] = append(add[sharedKinds[e.Kind]], s.rawEntry(k, &state.Winner{Entry: e, Holds: true}))
		}
	}
	var errs []error
	for which, entries := range add {
		errs = append(errs, s.lists.Add(which, entries))
	}
	if n := len(add[loader.Deny]) + len(add[loader.Allow]); n > 0 {
		s.log.Info("what was remembered is enforced again", "blocks", len(add[loader.Deny]), "allows", len(add[loader.Allow]))
	}
	return errors.Join(errs...)
}

// reconcile has the store learn what happened on pinned lists while no daemon ran (`parry block` works on them then): what is new there is
// told, and what this edge had put there and is gone was taken off by a person. Others' entries that are gone come back.
func (s *sharing) reconcile() error {
	if s.hub == nil {
		return nil
	}
	names, err := s.names()
	if err != nil {
		return err
	}
	services, err := s.lists.Services()
	if err != nil {
		return err
	}
	var tell []state.Entry
	there := map[state.Kind]map[string]bool{state.Block: {}, state.Allow: {}}
	for kind, which := range sharedKinds {
		for e, err := range s.lists.Entries(which) {
			if err != nil {
				return fmt.Errorf("read the lists: %w", err)
			}
			known, ok := s.entryOf(which, &e, names)
			if !ok {
				continue
			}
			there[kind][known.Key] = true
			if e.Source != loader.FromFleet && !s.knows(&known, &e) {
				if !e.Added.After(s.now()) {
					known.Made = e.Added // zero: now
				}
				tell = append(tell, known)
			}
		}
	}
	for _, e := range s.hub.Snapshot(state.Block, state.Allow) {
		if _, ok := s.keyOf(e.Key, services); !ok || e.Edge != s.node || there[e.Kind][e.Key] || e.Made.After(s.now()) {
			continue
		}
		lift := state.Entry{Kind: e.Kind, Key: e.Key, Author: state.Person, Lift: true, Expires: s.now()}
		if e.Author == state.Detector {
			lift.Expires = e.Expires
		}
		tell = append(tell, lift)
	}
	return s.hub.Put(tell...)
}

// knows tells whether the store has what stands on a list, or something that is to take its place.
func (s *sharing) knows(e *state.Entry, listed *loader.Entry) bool {
	known, ok := s.hub.Known(e.Kind, e.Key)
	if !ok {
		return false
	}
	if !listed.Added.IsZero() && known.Made.After(listed.Added.Add(time.Second)) {
		return true
	}
	raw := s.rawEntry(listed.EntryKey, &state.Winner{Entry: known, Holds: true})
	return !known.Lift && alike(&raw, listed)
}

// metrics is how the store fares.
func (s *sharing) metrics() metrics.State {
	if s.hub == nil {
		return metrics.State{}
	}
	t := s.hub.Stats()
	out := metrics.State{
		Open: t.Closed == "", Entries: t.Entries, Waiting: t.Waiting, Refused: t.Refused, Links: map[string]metrics.StateLink{},
		Counts: map[string]uint64{"put": t.Put, "taken": t.Taken, "applied": t.Applied, "written": t.Written, "write_failed": t.WriteFailures, "forgotten": t.Forgotten},
	}
	for _, l := range t.Links {
		out.Links[l.Name] = metrics.StateLink{Connected: l.Connected, Heard: l.Heard, Behind: l.Behind}
	}
	return out
}

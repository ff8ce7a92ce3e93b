// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/event"
	"parry/pkg/state"
)

// sharedLists are the fast path's lists: loader.Lists. They count; the store remembers what stands there, and spreads it.
type sharedLists interface {
	Get(which loader.List, k loader.EntryKey) (loader.Entry, bool, error)
	Add(which loader.List, entries []loader.Entry) error
	Del(which loader.List, keys []loader.EntryKey) (int, error)
	Entries(which loader.List) iter.Seq2[loader.Entry, error]
	Services() (map[string]uint32, error)
}

var _ sharedLists = (*loader.Lists)(nil)

// sharing tells the store of what is put on the lists here, and puts there what other edges decided.
type sharing struct {
	hub      *state.Hub // nil: nothing is remembered
	node     string
	lists    sharedLists
	regulars interface {
		AddRegulars(list []loader.Regular) error
	}
	events *event.Log
	log    *slog.Logger
	now    func() time.Time
	fault  func(what string, err error)
	// lifted tells the detector that a person of another edge keeps it off a source until then.
	lifted func(k loader.EntryKey, until time.Time)
}

// anyService stands in a key for all services: no service has that name.
const anyService = "="

// sharedValue is what an entry says besides its key and times.
type sharedValue struct {
	Reason     string  `json:"reason,omitempty"`
	Source     string  `json:"source,omitempty"`
	Confidence float64 `json:"confidence,omitempty"`
	Unlimited  bool    `json:"unlimited,omitempty"`
}

var sharedKinds = map[state.Kind]loader.List{state.Block: loader.Deny, state.Allow: loader.Allow}

func sharedKind(which loader.List) state.Kind {
	if which == loader.Allow {
		return state.Allow
	}
	return state.Block
}

// sharedKey is arena/198.51.100.7/32: a service by name, for numbers are each edge's own.
func sharedKey(service string, p netip.Prefix) string {
	return cmp.Or(service, anyService) + "/" + p.Masked().String()
}

func parseSharedKey(key string) (service string, p netip.Prefix, err error) {
	service, text, _ := strings.Cut(key, "/")
	p, err = netip.ParsePrefix(text)
	if err == nil && (service == "" || p != p.Masked() || p.Addr().Is4In6() || text != p.String()) {
		err = fmt.Errorf("%q is no service and prefix", key)
	}
	if service == anyService {
		service = ""
	}
	return service, p, err
}

// checkShared is what the store asks about another edge's entry.
func checkShared(e *state.Entry) error {
	if e.Kind == state.Regular {
		return checkRegular(e)
	}
	if _, ok := sharedKinds[e.Kind]; !ok {
		return nil // kept for an edge that knows what to do with it
	}
	service, p, err := parseSharedKey(e.Key)
	if err != nil || e.Lift {
		return err
	}
	var v sharedValue
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return fmt.Errorf("its value: %w", err)
	}
	b := blocklist.Entry{Prefix: p, Service: service, Reason: v.Reason, Source: v.Source, Confidence: v.Confidence}
	return b.Validate()
}

// put tells the store of what was just put on a list. It doesn't wait.
func (s *sharing) put(which loader.List, entries []loader.Entry) error {
	if s.hub == nil {
		return nil
	}
	names, err := s.names()
	if err != nil {
		return err
	}
	all := make([]state.Entry, 0, len(entries))
	for i := range entries {
		if e, ok := s.entryOf(which, &entries[i], names); ok {
			all = append(all, e)
		}
	}
	return s.hub.Put(all...)
}

// told tells the store of what a person put on a list, as `parry block` or the API says it.
func (s *sharing) told(kind api.Kind, entries []blocklist.Entry) error {
	if s.hub == nil {
		return nil
	}
	now := s.now()
	all := make([]state.Entry, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		if _, unnamed := blocklist.UnnamedNumber(e.Service); unnamed || e.Expires != nil && !e.Expires.After(now) {
			continue
		}
		doc, err := json.Marshal(sharedValue{Reason: e.Reason, Source: e.Source, Confidence: e.Confidence, Unlimited: e.Unlimited})
		if err != nil {
			return fmt.Errorf("encode an entry: %w", err)
		}
		out := state.Entry{Kind: sharedKind(kindOf(kind)), Key: sharedKey(e.Service, e.Prefix), Value: doc, Author: state.Person}
		if e.Expires != nil {
			out.Expires = *e.Expires
		}
		all = append(all, out)
	}
	return s.hub.Put(all...)
}

// entryOf is a list's entry as the store has it. Those of numbers that are no service's here mean nothing elsewhere.
func (s *sharing) entryOf(which loader.List, e *loader.Entry, names map[uint32]string) (state.Entry, bool) {
	name, known := names[e.Service]
	if e.Service != 0 && !known {
		return state.Entry{}, false
	}
	doc, err := json.Marshal(sharedValue{Reason: e.Reason, Source: entrySourceName(e.Source), Confidence: float64(e.Confidence) / 100, Unlimited: e.Unlimited})
	if err != nil {
		return state.Entry{}, false
	}
	out := state.Entry{Kind: sharedKind(which), Key: sharedKey(name, e.Prefix), Value: doc, Author: state.Person, Expires: e.Expires}
	if e.Source == loader.FromDetect {
		out.Author = state.Detector
	}
	return out, true
}

// lift tells the store of what a person took off a list. What a detector had put there stays off for as long as it would have held.
func (s *sharing) lift(which loader.List, keys []blocklist.Key) error {
	if s.hub == nil {
		return nil
	}
	now := s.now()
	var all []state.Entry
	for _, k := range keys {
		key := sharedKey(k.Service, k.Prefix)
		known, ok := s.hub.Known(sharedKind(which), key)
		if !ok || !known.Holds(now) {
			continue
		}
		e := state.Entry{Kind: known.Kind, Key: key, Author: state.Person, Lift: true, Expires: now}
		if known.Author == state.Detector {
			e.Expires = known.Expires
		}
		all = append(all, e)
	}
	return s.hub.Put(all...)
}

func (s *sharing) names() (map[uint32]string, error) {
	services, err := s.lists.Services()
	names := make(map[uint32]string, len(services))
	for name, n := range services {
		names[n] = name
	}
	return names, err
}

// run remembers and spreads until ctx ends.
func (s *sharing) run(ctx context.Context) error {
	if s.hub == nil {
		<-ctx.Done()
		return nil
	}
	s.fault("keep what was decided last", s.hub.Run(ctx, s.apply))
	return nil
}

// again looks at all that is remembered anew: there may be other services by now.
func (s *sharing) again() {
	if s.hub != nil {
		s.hub.Again()
	}
}

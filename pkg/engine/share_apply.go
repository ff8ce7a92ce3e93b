// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"parry/loader"
	"parry/pkg/blocklist"
	"parry/pkg/event"
	"parry/pkg/state"
)

// apply puts on the lists, and takes off, what counts by now. What stands there already is left alone, with its hits.
func (s *sharing) apply(_ context.Context, winners []state.Winner) error {
	services, err := s.lists.Services()
	if err != nil {
		return err
	}
	if err := s.addRegulars(winners, services); err != nil {
		return err
	}
	add, del := map[loader.List][]loader.Entry{}, map[loader.List][]loader.EntryKey{}
	var errs []error
	for i := range winners {
		w := &winners[i]
		which, ok := sharedKinds[w.Kind]
		if !ok {
			continue
		}
		k, ok := s.keyOf(w.Key, services)
		if !ok {
			continue
		}
		was, there, err := s.lists.Get(which, k)
		errs = append(errs, err)
		switch {
		case w.Holds:
			if e := s.rawEntry(k, w); !there || !alike(&was, &e) {
				add[which] = append(add[which], e)
			}
		case there:
			del[which] = append(del[which], k)
		}
		if w.Lift && w.Kind == state.Block && w.Expires.After(s.now()) {
			s.lifted(k, w.Expires)
		}
	}
	for which, entries := range add {
		errs = append(errs, s.lists.Add(which, entries))
	}
	for which, keys := range del {
		_, err := s.lists.Del(which, keys)
		errs = append(errs, err)
	}
	s.tell(add[loader.Deny], del[loader.Deny])
	return errors.Join(errs...)
}

// keyOf is a key by this edge's numbers; false: it serves no such service (it may do so later).
func (s *sharing) keyOf(key string, services map[string]uint32) (loader.EntryKey, bool) {
	name, p, err := parseSharedKey(key)
	if err != nil {
		return loader.EntryKey{}, false
	}
	n, ok := services[name]
	return loader.EntryKey{Prefix: p, Service: n}, ok || name == ""
}

func (s *sharing) rawEntry(k loader.EntryKey, w *state.Winner) loader.Entry {
	var v sharedValue
	_ = json.Unmarshal(w.Value, &v) // was checked when it came
	e := loader.Entry{EntryKey: k, Reason: v.Reason, Source: loader.FromFleet, Confidence: uint8(math.Round(100 * v.Confidence)), Added: w.Made, Expires: w.Expires, Unlimited: v.Unlimited}
	if w.Edge == s.node {
		e.Source = entrySources[v.Source]
	}
	return e
}

// alike tells whether two entries do the same: by the kernel's clock an end is not kept to the nanosecond.
func alike(a, b *loader.Entry) bool {
	return a.Expires.IsZero() == b.Expires.IsZero() && a.Expires.Sub(b.Expires).Abs() < 2*time.Second && a.Unlimited == b.Unlimited && a.Reason == b.Reason
}

// tell says what came from other edges, a batch at a time.
func (s *sharing) tell(added []loader.Entry, gone []loader.EntryKey) {
	var first []string
	n := 0
	for i := range added {
		if added[i].Source == loader.FromFleet {
			if n++; len(first) < namedEntries {
				first = append(first, blocklist.FormatPrefix(added[i].Prefix))
			}
		}
	}
	if n > 0 {
		text := fmt.Sprintf("%d sources are blocked by what other edges decided", n)
		s.events.Publish(event.Event{Type: event.BlockAdd, Text: text, Data: map[string]any{"entries": n, "source": blocklist.SourceFleet, "prefixes": first}})
		s.log.Debug(text)
	}
	if len(gone) > 0 {
		s.events.Publish(event.Event{Type: event.BlockDel, Text: fmt.Sprintf("%d entries of the block list are gone by what another edge decided", len(gone)),
			Data: map[string]any{"entries": len(gone), "source": blocklist.SourceFleet}})
	}
}

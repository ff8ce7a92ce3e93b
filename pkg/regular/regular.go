// SPDX-License-Identifier: Apache-2.0

// Package regular remembers who has played before, so that they come in during an attack. The fast path has the list that
// counts, in a map of its own; this is what is kept of it over restarts.
package regular

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"parry/pkg/state"
)

// Bucket is where regulars are kept.
const Bucket = "regulars"

const (
	// MaxAge is how long one is remembered who doesn't come.
	MaxAge = 30 * 24 * time.Hour
	// Fresh is by how much a time must have moved to be written, and told, anew.
	Fresh = time.Hour
)

// Source is one that has played: an address (of IPv6 the first of its /64), to one service.
type Source struct {
	Addr    netip.Addr
	Service string
}

// List is what is kept. It is one goroutine's.
type List struct {
	max   int
	seen  map[Source]time.Time
	saved map[Source]time.Time // as the store has it
}

// value is what the store has of one.
type value struct {
	Seen time.Time `json:"seen"`
}

// Load makes a list of at most max of what a store had. What can't be read or is too old is left out.
func Load(entries []state.Item, max int, now time.Time) (*List, error) {
	l := &List{max: max, seen: map[Source]time.Time{}, saved: map[Source]time.Time{}}
	var errs []error
	for _, e := range entries {
		s, err := parse(e.Key)
		var v value
		if err = errors.Join(err, json.Unmarshal(e.Value, &v)); err != nil {
			if len(errs) < 3 {
				errs = append(errs, fmt.Errorf("regular %s: %w", e.Key, err))
			}
			continue
		}
		l.seen[s], l.saved[s] = v.Seen, v.Seen
	}
	l.bound(now)
	return l, errors.Join(errs...)
}

// All are the sources with the times at which they were last seen.
func (l *List) All() map[Source]time.Time { return l.seen }

// Take takes over what the fast path knows: all of it, of the services that it serves; those of others stay. One whose time is
// zero was seen at some time before, which the list may know better.
func (l *List) Take(known map[Source]time.Time, serves func(service string) bool, now time.Time) {
	for s, at := range l.seen {
		if !serves(s.Service) {
			known[s] = at
		}
	}
	for s, at := range known {
		if old, ok := l.seen[s]; at.IsZero() && ok {
			known[s] = old
		} else if at.IsZero() || at.After(now) {
			known[s] = now
		}
	}
	l.seen = known
	l.bound(now)
}

// bound leaves out who is too old and, of too many, the oldest.
func (l *List) bound(now time.Time) {
	for s, at := range l.seen {
		if now.Sub(at) > MaxAge {
			delete(l.seen, s)
		}
	}
	if len(l.seen) <= l.max {
		return
	}
	all := make([]Source, 0, len(l.seen))
	for s := range l.seen {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Source) int {
		return cmp.Or(l.seen[a].Compare(l.seen[b]), a.Addr.Compare(b.Addr), cmp.Compare(a.Service, b.Service))
	})
	for _, s := range all[:len(all)-l.max] {
		delete(l.seen, s)
	}
}

// Changes are what the store is to be told so that it has the list. Saved says that it was.
func (l *List) Changes() ([]state.Change, error) {
	var all []state.Change
	for s, at := range l.seen {
		if was, ok := l.saved[s]; ok && at.Sub(was).Abs() < Fresh {
			continue
		}
		doc, err := json.Marshal(value{Seen: at.UTC().Truncate(time.Second)})
		if err != nil {
			return nil, fmt.Errorf("encode regular %v: %w", s.Addr, err)
		}
		all = append(all, state.Change{Key: s.key(), Value: doc})
	}
	for s := range l.saved {
		if _, ok := l.seen[s]; !ok {
			all = append(all, state.Change{Key: s.key()})
		}
	}
	return all, nil
}

// Saved says that the store has what Changes gave.
func (l *List) Saved() {
	for s, at := range l.seen {
		if was, ok := l.saved[s]; !ok || at.Sub(was).Abs() >= Fresh {
			l.saved[s] = at
		}
	}
	for s := range l.saved {
		if _, ok := l.seen[s]; !ok {
			delete(l.saved, s)
		}
	}
}

// Read reads what Changes gave for a source: a key and its value.
func Read(key string, doc json.RawMessage) (Source, time.Time, error) {
	s, err := parse(key)
	var v value
	err = errors.Join(err, json.Unmarshal(doc, &v))
	return s, v.Seen, err
}

// key is arena/4/198.51.100.7 or arena/6/20010db800050000: of letters that any store takes.
func (s Source) key() string {
	if s.Addr.Is4() {
		return s.Service + "/4/" + s.Addr.String()
	}
	b := s.Addr.As16()
	return fmt.Sprintf("%s/6/%x", s.Service, b[:8])
}

func parse(key string) (Source, error) {
	service, rest, _ := strings.Cut(key, "/")
	family, text, _ := strings.Cut(rest, "/")
	s := Source{Service: service}
	switch family {
	case "4":
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is4() {
			return s, errors.New("it is no IPv4 address")
		}
		s.Addr = a
	case "6":
		n, err := strconv.ParseUint(text, 16, 64)
		if err != nil || len(text) != 16 {
			return s, errors.New("it is no IPv6 prefix")
		}
		var b [16]byte
		for i := range 8 {
			b[i] = byte(n >> (56 - 8*i))
		}
		s.Addr = netip.AddrFrom16(b)
	default:
		return s, errors.New("it is of no family")
	}
	if service == "" {
		return s, errors.New("it names no service")
	}
	return s, nil
}

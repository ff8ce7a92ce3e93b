// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/event"
	"parry/pkg/regular"
	"parry/pkg/state"
)

// fakeLists are the fast path's lists in memory.
type fakeLists struct {
	mu       sync.Mutex // guards all
	all      map[loader.List]map[loader.EntryKey]loader.Entry
	services map[string]uint32
	writes   int
}

func newFakeLists() *fakeLists {
	return &fakeLists{
		all:      map[loader.List]map[loader.EntryKey]loader.Entry{loader.Deny: {}, loader.Allow: {}},
		services: map[string]uint32{"arena": 1, "craft": 2},
	}
}

func (f *fakeLists) Get(which loader.List, k loader.EntryKey) (loader.Entry, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.all[which][k]
	return e, ok, nil
}

func (f *fakeLists) Add(which loader.List, entries []loader.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range entries {
		f.all[which][e.EntryKey] = e
		f.writes++
	}
	return nil
}

func (f *fakeLists) Del(which loader.List, keys []loader.EntryKey) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range keys {
		delete(f.all[which], k)
		f.writes++
	}
	return len(keys), nil
}

func (f *fakeLists) Entries(which loader.List) iter.Seq2[loader.Entry, error] {
	f.mu.Lock()
	all := slices.Collect(maps.Values(f.all[which]))
	f.mu.Unlock()
	return func(yield func(loader.Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (f *fakeLists) Services() (map[string]uint32, error) { return f.services, nil }

// denied are the entries of the deny list, as service/prefix by source.
func (f *fakeLists) listed(which loader.List) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for k, e := range f.all[which] {
		all = append(all, string(rune('0'+k.Service))+" "+k.Prefix.String()+" "+entrySourceName(e.Source))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// sharer is an edge's sharing over a folder and lists. kept are what the detector is kept off.
func sharer(t *testing.T, dir string, lists *fakeLists) (s *sharing, kept map[loader.EntryKey]time.Time) {
	t.Helper()
	kept = map[loader.EntryKey]time.Time{}
	return &sharing{
		hub: hubOf(t, dir), node: "edge-1", lists: lists, events: event.New(16, time.Now), log: slog.New(slog.DiscardHandler), now: time.Now,
		fault:  func(_ string, err error) { must(t, err) },
		lifted: func(k loader.EntryKey, until time.Time) { kept[k] = until },
	}, kept
}

func denied(prefix string, service uint32, source loader.EntrySource) loader.Entry {
	return loader.Entry{EntryKey: loader.EntryKey{Prefix: netip.MustParsePrefix(prefix), Service: service}, Reason: "flood", Source: source, Confidence: 97, Added: time.Now(), Expires: time.Now().Add(time.Hour)}
}

// settled applies all that is remembered.
func settled(t *testing.T, s *sharing) {
	t.Helper()
	var all []state.Winner
	for _, e := range s.hub.Snapshot() {
		all = append(all, state.Winner{Entry: e, Holds: true})
	}
	must(t, s.apply(t.Context(), all))
}

// What the lists had is there again when the maps are new: for all services before anything runs, for one once it has its number here.
func TestListsOutliveTheMaps(t *testing.T) {
	dir, lists := t.TempDir(), newFakeLists()
	s, _ := sharer(t, dir, lists)
	must(t, s.put(loader.Deny, []loader.Entry{denied("198.51.100.7/32", 1, loader.FromDetect), denied("2001:db8::/64", 0, loader.FromDetect), denied("198.51.100.9/32", 7, loader.FromDetect)}))
	must(t, s.told(api.Allow, []blocklist.Entry{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Source: "cli", Confidence: 1, Unlimited: true}}))
	must(t, s.hub.Flush(t.Context()), s.hub.Close())
	fresh := newFakeLists()
	fresh.services = map[string]uint32{"arena": 2}
	s, _ = sharer(t, dir, fresh)
	must(t, s.restore())
	if got, want := fresh.listed(loader.Deny), "0 2001:db8::/64 detect"; got != want {
		t.Errorf("denied before the services are known: %s, not %s", got, want)
	}
	settled(t, s)
	if got, want := fresh.listed(loader.Deny), "0 2001:db8::/64 detect, 2 198.51.100.7/32 detect"; got != want {
		t.Errorf("denied: %s, not %s", got, want)
	}
	if got, want := fresh.listed(loader.Allow), "0 10.0.0.0/8 cli"; got != want || !fresh.all[loader.Allow][loader.EntryKey{Prefix: netip.MustParsePrefix("10.0.0.0/8")}].Unlimited {
		t.Errorf("allowed: %s, not %s", got, want)
	}
	writes := fresh.writes
	settled(t, s)
	if fresh.writes != writes {
		t.Errorf("what stands there is written again: %d writes", fresh.writes-writes)
	}
}

// What other edges decided is applied; a person's lift takes a detector's block off, and keeps the detector here off the source.
func TestOthersDecisionsAreApplied(t *testing.T) {
	lists := newFakeLists()
	s, kept := sharer(t, t.TempDir(), lists)
	winner := func(key string, holds bool, change func(*state.Entry)) state.Winner {
		e := state.Entry{Kind: state.Block, Key: key, Value: []byte(`{"reason":"flood","source":"detect","confidence":0.9}`), Author: state.Detector, Edge: "edge-2", Made: time.Now(), Expires: time.Now().Add(time.Hour)}
		if change != nil {
			change(&e)
		}
		must(t, checkShared(&e))
		return state.Winner{Entry: e, Holds: holds}
	}
	must(t, s.apply(t.Context(), []state.Winner{winner("arena/198.51.100.7/32", true, nil), winner("other/198.51.100.8/32", true, nil), winner("=/203.0.113.0/24", true, nil)}))
	if got, want := lists.listed(loader.Deny), "0 203.0.113.0/24 fleet, 1 198.51.100.7/32 fleet"; got != want {
		t.Errorf("denied: %s, not %s", got, want)
	}
	lift := func(e *state.Entry) { e.Lift, e.Value, e.Author = true, nil, state.Person }
	must(t, s.apply(t.Context(), []state.Winner{winner("arena/198.51.100.7/32", false, lift), winner("=/203.0.113.0/24", false, nil)}))
	if got := lists.listed(loader.Deny); got != "" {
		t.Errorf("denied: %s", got)
	}
	if len(kept) != 1 || kept[loader.EntryKey{Prefix: netip.MustParsePrefix("198.51.100.7/32"), Service: 1}].IsZero() {
		t.Errorf("the detector is kept off %v", kept)
	}
}

func TestHostileSharedEntriesAreRefused(t *testing.T) {
	for _, row := range []struct{ key, value string }{
		{"198.51.100.7/32", `{}`}, {"arena/198.51.100.7", `{}`}, {"arena/198.51.100.7/24", `{}`}, {"arena/::ffff:1.2.3.4/128", `{}`}, {"/198.51.100.7/32", `{}`}, {"arena/1.2.3.4/33", `{}`},
		{"arena/198.51.100.7/32", `[]`}, {"arena/198.51.100.7/32", `{"reason":"` + strings.Repeat("r", 40) + `"}`}, {"arena/198.51.100.7/32", `{"reason":"\u001b[2J"}`},
		{"arena/198.51.100.7/32", `{"confidence":7}`}, {"arena/198.51.100.7/32", `{"source":"god"}`}, {"arena/198.51.100.7/32", ``},
	} {
		if err := checkShared(&state.Entry{Kind: state.Block, Key: row.key, Value: []byte(row.value)}); err == nil {
			t.Errorf("%s %s is taken", row.key, row.value)
		}
	}
	must(t, checkShared(&state.Entry{Kind: state.Flag, Key: "anything"}))
}

// `parry block` without a daemon works on the pinned lists: the next daemon learns of it.
func TestWhatHappenedWithoutADaemonIsLearned(t *testing.T) {
	dir, lists := t.TempDir(), newFakeLists()
	s, _ := sharer(t, dir, lists)
	old := []loader.Entry{denied("198.51.100.1/32", 0, loader.FromDetect), denied("198.51.100.2/32", 1, loader.FromDetect)}
	must(t, lists.Add(loader.Deny, old), s.put(loader.Deny, old))
	must(t, s.hub.Put(state.Entry{Kind: state.Block, Key: "=/198.51.100.3/32", Value: []byte(`{}`), Author: state.Person, Edge: "edge-2"}))
	must(t, s.hub.Flush(t.Context()), s.hub.Close())
	_, _ = lists.Del(loader.Deny, []loader.EntryKey{old[0].EntryKey})
	must(t, lists.Add(loader.Deny, []loader.Entry{denied("198.51.100.4/32", 2, loader.FromCLI)}))
	s, _ = sharer(t, dir, lists)
	must(t, s.reconcile())
	settled(t, s)
	if got, want := lists.listed(loader.Deny), "0 198.51.100.3/32 fleet, 1 198.51.100.2/32 detect, 2 198.51.100.4/32 cli"; got != want {
		t.Errorf("denied: %s, not %s", got, want)
	}
	if e, ok := s.hub.Known(state.Block, "=/198.51.100.1/32"); !ok || !e.Lift || e.Author != state.Person {
		t.Errorf("what was taken off is %+v", e)
	}
	if e, ok := s.hub.Known(state.Block, "craft/198.51.100.4/32"); !ok || e.Lift || e.Author != state.Person {
		t.Errorf("what was put on is %+v", e)
	}
}

// What a person takes off is a lift; a detector's stays off for as long as it would have held.
func TestLifts(t *testing.T) {
	s, _ := sharer(t, t.TempDir(), newFakeLists())
	block := denied("198.51.100.7/32", 1, loader.FromDetect)
	must(t, s.put(loader.Deny, []loader.Entry{block}))
	key := blocklist.Key{Prefix: block.Prefix, Service: "arena"}
	must(t, s.lift(loader.Deny, []blocklist.Key{key, {Prefix: block.Prefix}}))
	if e, ok := s.hub.Known(state.Block, "arena/198.51.100.7/32"); !ok || !e.Lift || !e.Expires.Equal(block.Expires.Round(0)) {
		t.Errorf("it is %+v", e)
	}
	if _, ok := s.hub.Known(state.Block, "=/198.51.100.7/32"); ok {
		t.Error("what nobody knows was lifted")
	}
	must(t, s.told(api.Block, []blocklist.Entry{{Prefix: block.Prefix, Service: "arena", Source: "cli"}}))
	if e, _ := s.hub.Known(state.Block, "arena/198.51.100.7/32"); !e.Holds(time.Now()) {
		t.Errorf("a person's new block is beaten: %+v", e)
	}
}

// Run stops with the daemon, and says nothing.
func TestSharingEnds(t *testing.T) {
	s, _ := sharer(t, t.TempDir(), newFakeLists())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.run(ctx) }()
	cancel()
	must(t, <-done)
	s.hub = nil
	must(t, s.run(ctx), s.put(loader.Deny, nil), s.lift(loader.Deny, nil), s.restore(), s.reconcile())
}

// Who has played at one edge is a regular at the others; what they know already is not told again.
func TestRegularsAreShared(t *testing.T) {
	s, _ := sharer(t, t.TempDir(), newFakeLists())
	path := &fakeRegulars{}
	s.regulars = path
	l, err := regular.Load(nil, 10, time.Now())
	must(t, err)
	told := func(seen time.Time) uint64 {
		t.Helper()
		l.Take(map[regular.Source]time.Time{{Addr: netip.MustParseAddr("198.51.100.7"), Service: "arena"}: seen, {Addr: netip.MustParseAddr("2001:db8:5::"), Service: "craft"}: seen}, func(string) bool { return true }, time.Now())
		changes, err := l.Changes()
		must(t, err, s.tellRegulars(changes))
		return s.hub.Stats().Put
	}
	if n := told(time.Now().Add(-2 * time.Hour)); n != 2 {
		t.Fatalf("%d are told", n)
	}
	if n := told(time.Now().Add(-90 * time.Minute)); n != 2 {
		t.Errorf("%d are told, after half an hour", n)
	}
	if n := told(time.Now()); n != 4 {
		t.Errorf("%d are told, of those who came again", n)
	}
	var all []state.Winner
	for _, e := range s.hub.Snapshot(state.Regular) {
		must(t, checkShared(&e))
		all = append(all, state.Winner{Entry: e, Holds: true})
	}
	must(t, s.apply(t.Context(), all))
	if len(path.list) != 0 {
		t.Errorf("what is its own was put there: %v", path.list)
	}
	for i := range all {
		all[i].Edge = "edge-2"
	}
	must(t, s.apply(t.Context(), all))
	if len(path.list) != 2 || !path.has("198.51.100.7") || !path.has("2001:db8:5::") {
		t.Errorf("it knows %v", path.list)
	}
	for _, bad := range []state.Entry{
		{Kind: state.Regular, Key: "arena/5/x", Value: []byte(`{}`)}, {Kind: state.Regular, Key: "arena/4/198.51.100.7", Value: []byte(`[]`)},
		{Kind: state.Regular, Key: "arena/4/198.51.100.7", Value: []byte(`{"seen":"2020-01-01T00:00:00Z"}`), Made: time.Now()}, {Kind: state.Regular, Key: "arena/4/198.51.100.7", Lift: true},
	} {
		if checkShared(&bad) == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

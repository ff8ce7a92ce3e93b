// SPDX-License-Identifier: Apache-2.0

package regular

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/state"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func source(addr, service string) Source { return Source{netip.MustParseAddr(addr), service} }

func all(string) bool { return true }

func empty(t *testing.T, max int) *List {
	t.Helper()
	l, err := Load(nil, max, noon)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// entries is what a store has after it was told the changes.
func entries(t *testing.T, l *List) []state.Item {
	t.Helper()
	changes, err := l.Changes()
	if err != nil {
		t.Fatal(err)
	}
	var out []state.Item
	for _, c := range changes {
		if c.Value != nil {
			out = append(out, state.Item(c))
		}
	}
	return out
}

func TestKeysComeBack(t *testing.T) {
	l := empty(t, 10)
	seen := map[Source]time.Time{
		source("198.51.100.7", "arena"): noon, source("2001:db8:0:5::", "a.b-c_1"): noon.Add(-time.Hour), source("::", "x"): noon.Add(-2 * time.Hour),
	}
	l.Take(seen, all, noon)
	again, err := Load(entries(t, l), 10, noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l.All(), again.All(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-kept +loaded):\n%s", diff)
	}
	if changes, err := again.Changes(); err != nil || len(changes) > 0 {
		t.Errorf("there is something to write: %v, %v", changes, err)
	}
}

func TestStrangeKeysAreLeftOut(t *testing.T) {
	value := json.RawMessage(`{"seen":"2026-01-31T11:00:00Z"}`)
	for _, key := range []string{"arena", "arena/5/x", "arena/4/x", "arena/4/2001:db8::1", "arena/6/1", "arena/6/20010db80000000z", "/4/198.51.100.7"} {
		l, err := Load([]state.Item{{Key: key, Value: value}, {Key: "arena/4/198.51.100.8", Value: value}}, 10, noon)
		if err == nil || len(l.All()) != 1 {
			t.Errorf("%s: %v, %v", key, l.All(), err)
		}
	}
}

func TestTheNewestStay(t *testing.T) {
	l := empty(t, 2)
	l.Take(map[Source]time.Time{
		source("198.51.100.1", "a"): noon.Add(-3 * time.Hour), source("198.51.100.2", "a"): noon, source("198.51.100.3", "a"): noon.Add(-time.Hour),
		source("198.51.100.4", "a"): noon.Add(-MaxAge - time.Second),
	}, all, noon)
	if _, ok := l.All()[source("198.51.100.1", "a")]; ok || len(l.All()) != 2 {
		t.Errorf("of at most two stay %v", l.All())
	}
}

// Only what moved by much is written again, and what is gone is taken out once.
func TestLittleIsWritten(t *testing.T) {
	l := empty(t, 10)
	one, two := source("198.51.100.1", "a"), source("198.51.100.2", "a")
	step := func(want int, seen map[Source]time.Time) {
		t.Helper()
		l.Take(seen, all, noon.Add(2*time.Hour))
		changes, err := l.Changes()
		if err != nil || len(changes) != want {
			t.Errorf("%d changes, not %d: %v, %v", len(changes), want, changes, err)
		}
		l.Saved()
	}
	step(2, map[Source]time.Time{one: noon, two: noon})
	step(0, map[Source]time.Time{one: noon, two: noon.Add(Fresh - time.Second)})
	step(1, map[Source]time.Time{one: noon, two: noon.Add(Fresh)})
	step(1, map[Source]time.Time{one: noon})
	step(0, map[Source]time.Time{one: noon})
	step(0, map[Source]time.Time{one: {}})                    // seen before the machine started: the list knows better
	step(1, map[Source]time.Time{one: noon.AddDate(1, 0, 0)}) // a clock that was ahead
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parry/loader"
	"parry/pkg/attack"
	"parry/pkg/config"
	"parry/pkg/regular"
	"parry/pkg/state"
)

// fakeRegulars is the fast path's list of who has played.
type fakeRegulars struct {
	names  []string
	list   []loader.Regular
	broken error // AddRegulars fails with it
}

func (f *fakeRegulars) ServiceNames() []string              { return f.names }
func (f *fakeRegulars) Regulars() ([]loader.Regular, error) { return slices.Clone(f.list), nil }
func (f *fakeRegulars) AddRegulars(list []loader.Regular) error {
	if f.broken == nil {
		f.list = append(f.list, list...)
	}
	return f.broken
}
func (f *fakeRegulars) DelRegulars(list []loader.Regular) error {
	f.list = slices.DeleteFunc(f.list, func(r loader.Regular) bool { return slices.Contains(list, r) })
	return nil
}

func (f *fakeRegulars) has(addr string) bool {
	return slices.ContainsFunc(f.list, func(r loader.Regular) bool { return r.Addr.String() == addr })
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// hubOf is a store over a folder.
func hubOf(t *testing.T, dir string) *state.Hub {
	t.Helper()
	hub, err := state.Open(t.Context(), state.Options{Dir: dir, Node: "edge-1", Log: slog.New(slog.DiscardHandler), Check: checkShared})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	return hub
}

// remembering is a memory over a folder, as of a daemon that just started.
func remembering(t *testing.T, dir string, path *fakeRegulars) *memory {
	t.Helper()
	hub := hubOf(t, dir)
	m := recall(t.Context(), memory{
		hub: hub, store: hub.Local(), log: slog.New(slog.DiscardHandler), now: func() time.Time { return noon }, edge: path,
		fault: func(what string, err error) {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		},
	}, 100)
	return m
}

func played(addr string, service uint32, ago time.Duration) loader.Regular {
	return loader.Regular{Addr: netip.MustParseAddr(addr), Service: service, Seen: noon.Add(-ago)}
}

func TestRegularsOutliveTheMaps(t *testing.T) {
	dir := t.TempDir()
	path := &fakeRegulars{names: []string{"", "arena", "craft"}, list: []loader.Regular{
		played("198.51.100.7", 1, time.Hour), played("2001:db8:5::", 2, time.Minute), played("198.51.100.9", 1, 31*24*time.Hour),
	}}
	m := remembering(t, dir, path)
	m.taught = true // the maps were there already
	m.saveAll(t.Context())
	if path.has("198.51.100.9") || len(path.list) != 2 {
		t.Errorf("who wasn't seen for a month is remembered: %v", path.list)
	}
	must(t, m.close())

	fresh := &fakeRegulars{names: []string{"", "craft", "arena"}} // numbers may differ, names count
	m = remembering(t, dir, fresh)
	fresh.broken = errors.New("no room")
	if err := m.saveRegulars(t.Context()); !errors.Is(err, fresh.broken) {
		t.Errorf("maps that couldn't be told: %v", err)
	}
	fresh.broken = nil
	must(t, m.teach(), m.teach())
	want := []loader.Regular{played("198.51.100.7", 2, time.Hour), played("2001:db8:5::", 1, time.Minute)}
	slices.SortFunc(fresh.list, func(a, b loader.Regular) int { return a.Addr.Compare(b.Addr) })
	if len(fresh.list) != 2 || fresh.list[0].Addr != want[0].Addr || fresh.list[0].Service != 2 || !fresh.list[0].Seen.Equal(want[0].Seen) ||
		fresh.list[1].Addr != want[1].Addr || fresh.list[1].Service != 1 {
		t.Errorf("taught: %v, not %v", fresh.list, want)
	}
	m.saveAll(t.Context())
	must(t, m.close())

	// A service that is out of the configuration for a while keeps its regulars; who is seen before the boot keeps his time.
	less := &fakeRegulars{names: []string{"", "craft"}, list: []loader.Regular{{Addr: netip.MustParseAddr("2001:db8:5::"), Service: 1}}}
	m = remembering(t, dir, less)
	m.taught = true
	m.saveAll(t.Context())
	all := m.regulars.All()
	if got := all[regular.Source{Addr: netip.MustParseAddr("198.51.100.7"), Service: "arena"}]; !got.Equal(noon.Add(-time.Hour)) {
		t.Errorf("of arena's: %v", all)
	}
	if got := all[regular.Source{Addr: netip.MustParseAddr("2001:db8:5::"), Service: "craft"}]; !got.Equal(noon.Add(-time.Minute)) {
		t.Errorf("of craft's: %v", all)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// underAttack has arena attacked, with what is usual learned before.
func underAttack(m *memory) *attack.Tracker {
	th := attack.Thresholds{Elevated: attack.Level{Strangers: 200, Times: 4}, Attack: attack.Level{Strangers: 1000, Times: 10}, Hold: time.Minute}
	m.tracker.Configure([]attack.Service{{Name: "arena", Thresholds: th}}, th, func(string) attack.Known { return attack.Known{} }, noon)
	for i, strangers := range []uint64{0, 50, 50_000} {
		m.tracker.Observe("arena", attack.Sample{Time: noon.Add(time.Duration(i) * time.Second), Strangers: strangers})
	}
	return m.tracker
}

func TestAttacksAndWhatIsUsualAreKept(t *testing.T) {
	dir := t.TempDir()
	m := remembering(t, dir, &fakeRegulars{names: []string{""}})
	underAttack(m)
	m.saveAll(t.Context())
	must(t, m.close())
	m = remembering(t, dir, &fakeRegulars{names: []string{""}})
	if all := m.tracker.Records(); len(all) != 1 || all[0].Service != "arena" || all[0].Strangers != 49_950 {
		t.Errorf("kept: %+v", all)
	}
	if c := m.recalled["arena"]; c.Strangers != 50 || c.Learned != time.Second {
		t.Errorf("usual: %+v", m.recalled)
	}
}

// What couldn't be written is written as soon as it can be: nothing is lost but time.
func TestAFullDiskLosesNoAttack(t *testing.T) {
	dir := t.TempDir()
	m := remembering(t, dir, &fakeRegulars{names: []string{""}})
	underAttack(m)
	whole := m.store
	m.store = noRoom{whole}
	if err := m.saveAttacks(t.Context()); err == nil || !m.failing {
		t.Fatalf("a full disk: %v", err)
	}
	if m.store = whole; m.saveAttacks(t.Context()) != nil || m.failing {
		t.Error("it still fails")
	}
	if kept, err := whole.List(t.Context(), bucketAttacks); err != nil || len(kept) != 1 {
		t.Errorf("kept: %v, %v", kept, err)
	}
}

// noRoom is a store on a full disk.
type noRoom struct{ state.Store }

func (noRoom) Apply(context.Context, string, []state.Change) error {
	return errors.New("no space left on device")
}

// A folder that can't be had, or what is in it, costs the memory and nothing else.
func TestWithoutAMemoryItGoesOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	var said strings.Builder
	e := &Engine{cfg: &config.Config{State: filepath.Join(file, "state"), Node: "edge-1"}, log: slog.New(slog.NewTextHandler(&said, nil))}
	if e.openHub(t.Context()) != nil || !strings.Contains(said.String(), "nothing will be remembered over restarts") {
		t.Fatalf("it said %s", &said)
	}
	path := &fakeRegulars{names: []string{"", "arena"}, list: []loader.Regular{played("198.51.100.9", 1, 31*24*time.Hour)}}
	m := recall(t.Context(), memory{
		log: slog.New(slog.DiscardHandler), now: func() time.Time { return noon }, edge: path, taught: true,
		fault: func(what string, err error) { must(t, err) },
	}, 10)
	underAttack(m)
	m.saveAll(t.Context())
	if len(path.list) != 0 || len(m.tracker.Records()) != 1 {
		t.Errorf("%v, %v", path.list, m.tracker.Records())
	}
	must(t, m.close())
}

// What other hands wrote into the store is said and left out.
func TestStrangeEntriesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	hub := hubOf(t, dir)
	store := hub.Local()
	for _, bucket := range []string{bucketAttacks, bucketCalm, regular.Bucket} {
		must(t, store.Put(t.Context(), bucket, "strange", json.RawMessage(`[7]`)))
	}
	var faults []string
	m := recall(t.Context(), memory{
		hub: hub, store: store, log: slog.New(slog.DiscardHandler), now: time.Now,
		fault: func(what string, err error) {
			if err != nil {
				faults = append(faults, what)
			}
		},
	}, 10)
	if len(faults) != 3 || len(m.tracker.Records())+len(m.recalled)+len(m.regulars.All()) > 0 {
		t.Errorf("faults %v; %v %v %v", faults, m.tracker.Records(), m.recalled, m.regulars.All())
	}
	must(t, m.close())
}

// The same with real maps: what one edge knew another knows, whose maps are new.
func TestRegularsGoThroughRealMaps(t *testing.T) {
	dir := t.TempDir()
	first := anEdge(t)
	must(t, first.AddRegulars([]loader.Regular{played("198.51.100.7", 1, time.Hour), played("2001:db8:5::", 1, time.Hour)}))
	m := remembering(t, dir, nil)
	m.edge, m.taught = first, true
	m.saveAll(t.Context())
	must(t, m.close())
	second := anEdge(t)
	m = remembering(t, dir, nil)
	m.edge = second
	must(t, m.teach())
	list, err := second.Regulars()
	must(t, err)
	slices.SortFunc(list, func(a, b loader.Regular) int { return a.Addr.Compare(b.Addr) })
	if len(list) != 2 || list[0].Addr.String() != "198.51.100.7" || list[1].Addr.String() != "2001:db8:5::" || list[0].Service != 1 {
		t.Errorf("it knows %v", list)
	}
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/attack"
	"parry/pkg/config"
	"parry/pkg/event"
)

// fakePath is a fast path of counters that a test moves.
type fakePath struct {
	names   []string
	counts  []loader.StrangerCount
	reason  map[string]uint64 // drops of service 1
	load    loader.StrangerLoad
	heavies []loader.Heavy
	states  map[uint16]loader.State
	broken  error // SetState fails with it
	asked   int   // calls of ReasonsOf
}

func (f *fakePath) ServiceNames() []string { return f.names }
func (f *fakePath) Totals() ([]loader.ServiceCount, error) {
	all := make([]loader.ServiceCount, len(f.names))
	for _, n := range f.reason {
		all[1].Drop += n
	}
	return all, nil
}
func (f *fakePath) ReasonsOf(service int) (map[string]loader.ReasonCount, error) {
	all := map[string]loader.ReasonCount{}
	for name, n := range f.reason {
		if service == 1 {
			all[name] = loader.ReasonCount{Packets: n, Bytes: 100 * n}
		}
	}
	f.asked++
	return all, nil
}
func (f *fakePath) StrangerCounts() ([]loader.StrangerCount, error) { return f.counts, nil }
func (f *fakePath) StrangerLoad() (loader.StrangerLoad, error)      { return f.load, nil }
func (f *fakePath) Heavies() ([]loader.Heavy, error)                { return f.heavies, nil }
func (f *fakePath) State(service uint16) (loader.State, error)      { return f.states[service], nil }
func (f *fakePath) SetState(service uint16, s loader.State) error {
	if f.broken == nil {
		f.states[service] = s
	}
	return f.broken
}

// guarded is a sentry over a fake path with services arena and craft, and one that left the configuration.
func guarded(t *testing.T) (*sentry, *fakePath, *bytes.Buffer) {
	t.Helper()
	path := &fakePath{
		names: []string{"", "arena", "craft", "gone"}, counts: make([]loader.StrangerCount, 4), reason: map[string]uint64{},
		states: map[uint16]loader.State{3: loader.StateAttack},
	}
	var said bytes.Buffer
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	s := &sentry{
		edge: path, tracker: attack.NewTracker(nil), events: event.New(64, time.Now), log: slog.New(slog.NewTextHandler(&said, nil)),
		now: func() time.Time { at = at.Add(sampleEvery); return at }, moved: make(chan struct{}, 1),
	}
	if err := s.configure(twoServices(), 0, nil); err != nil {
		t.Fatal(err)
	}
	return s, path, &said
}

func twoServices() *config.Config {
	c := config.Default()
	for _, name := range []string{"arena", "craft"} {
		c.Services = append(c.Services, config.Service{Name: name, Protocol: []string{"udp"}, Attack: c.Attack, Strangers: c.Strangers})
	}
	return c
}

func look(t *testing.T, s *sentry) {
	t.Helper()
	if err := s.sample(); err != nil {
		t.Fatal(err)
	}
}

func eventsOf(t *testing.T, s *sentry) (all []string) {
	t.Helper()
	for e, err := range api.ReadEvents(t.Context(), s.events, api.EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Type+" "+e.Service)
	}
	return all
}

func TestAFloodMovesTheFastPathAndIsTold(t *testing.T) {
	s, path, said := guarded(t)
	if path.states[3] != loader.StateNormal {
		t.Error("a service that left the configuration is still under attack")
	}
	look(t, s)
	path.counts[1].Strangers, path.counts[1].Greylisted, path.reason["greylisted"] = 50_000, 49_000, 49_000
	path.load = loader.StrangerLoad{Greylist: 0.2, Unproven: 32768}
	look(t, s)
	if diff := cmp.Diff(map[uint16]loader.State{1: loader.StateAttack, 3: loader.StateNormal}, path.states); diff != "" {
		t.Errorf("the fast path (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"attack.state arena", "attack.gates arena", "attack.start arena"}, eventsOf(t, s)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if !strings.Contains(said.String(), `service=arena state=attack was=normal why="200,000 new strangers/s, usual 0/s"`) {
		t.Errorf("the log: %s", said)
	}
	standing, strangers := s.standing("arena")
	if standing.State != attack.Attack || strangers["seen"] != 50_000 || standing.Moves[attack.Attack] != 1 {
		t.Errorf("it stands as %+v, %v", standing, strangers)
	}
	select {
	case <-s.moved:
	default:
		t.Error("nobody is told to keep it")
	}
	for range 4 { // the load is looked at once a second
		path.counts[1].Strangers, path.counts[1].Greylisted = path.counts[1].Strangers+50_000, path.counts[1].Greylisted+49_000
		look(t, s)
	}
	for range 250 { // a minute and some seconds
		look(t, s)
	}
	if path.states[1] != loader.StateNormal {
		t.Errorf("after a calm minute it is %v", path.states[1])
	}
	if path.asked > 10 {
		t.Errorf("reasons were read %d times, though packets were dropped once", path.asked)
	}
	all := s.tracker.Records()
	if len(all) != 1 || all[0].End == nil || all[0].Sources == nil || *all[0].Sources == 0 {
		t.Errorf("it is remembered as %+v", all)
	}
}

// What the fast path could not be told it is told with the next sample.
func TestAStateIsWrittenUntilItIsKnown(t *testing.T) {
	s, path, _ := guarded(t)
	look(t, s)
	path.broken = errors.New("no map")
	path.counts[2].Strangers, path.counts[2].Admitted = 50_000, 50_000
	if err := s.sample(); !errors.Is(err, path.broken) {
		t.Errorf("it says %v", err)
	}
	path.broken = nil
	look(t, s)
	if path.states[2] != loader.StateAttack {
		t.Errorf("it is %v", path.states[2])
	}
}

// A daemon that starts amid an attack leaves the fast path as it is.
func TestTheFastPathsStateCounts(t *testing.T) {
	_, path, _ := guarded(t)
	path.states[1] = loader.StateAttack
	s := &sentry{
		edge: path, tracker: attack.NewTracker(nil), events: event.New(4, time.Now), log: slog.New(slog.DiscardHandler), now: time.Now,
		moved: make(chan struct{}, 1),
	}
	if err := s.configure(twoServices(), 0, map[string]attack.Calm{"arena": {Strangers: 77}}); err != nil {
		t.Fatal(err)
	}
	look(t, s)
	if standing, _ := s.standing("arena"); standing.State != attack.Attack || standing.Usual.Strangers != 77 || path.states[1] != loader.StateAttack {
		t.Errorf("it stands as %+v, the fast path as %v", standing, path.states[1])
	}
}

// Of the greylist that all share each service is told its part, where it has one worth telling.
func TestSourcesAreSharedOut(t *testing.T) {
	s, path, _ := guarded(t)
	path.load.Greylist = 0.1
	look(t, s)
	path.counts[1].Greylisted, path.counts[2].Greylisted = 95_000, 5000
	loads := s.loads(path.names, path.counts)
	held := attack.Held(0.1, s.greylist)
	if loads[1].Sources == nil || *loads[1].Sources != held*95/100 && *loads[1].Sources != held*95/100+1 || loads[2].Sources != nil {
		t.Errorf("of %d: arena %v, craft %v", held, loads[1].Sources, loads[2].Sources)
	}
}

// The meanings of drop reasons name reasons that there are.
func TestMeaningsAreOfReasonsThatExist(t *testing.T) {
	names, err := loader.ReadNames()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, n := range names.Reasons {
		known[n] = true
	}
	for _, n := range attack.Reasons() {
		if !known[n] {
			t.Errorf("%s is no drop reason", n)
		}
	}
}

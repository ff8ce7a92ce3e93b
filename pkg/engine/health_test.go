// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/game"
	"parry/pkg/health"
	"parry/pkg/roster"
	"parry/pkg/sample"
)

func TestShareOfSessionsThatAreWatched(t *testing.T) {
	const budget = 500_000
	for _, row := range []struct {
		name   string
		share  float64
		perSec float64 // of those that are watched
		taken  int
		want   float64
	}{
		{"all fit", 1, 400_000, 1000, 1},
		{"all just fit", 1, 499_000, 1000, 1},
		{"twice too many packets", 1, 1_000_000, 1000, 0.45},
		{"near enough", 0.45, 450_000, 1000, 0.45},
		{"they became more", 0.45, 600_000, 1000, 0.3375},
		{"they became fewer", 0.45, 300_000, 1000, 0.675},
		{"all fit again", 0.45, 200_000, 1000, 1},
		{"but not quite", 0.45, 230_000, 1000, 0.45 * 0.9 / 0.46},
		{"cells are scarcer than packets", 1, 1000, 1000 * 32767 / 1000, 0.675},
		{"a flood of play", 1, 1e12, 1000, watchLeast},
		{"nothing is known of this look", 0.45, 0, 1000, 0.45},
	} {
		t.Run(row.name, func(t *testing.T) {
			look := watchLooked{on: true, sessions: 500, cells: 32767, taken: row.taken, perSec: row.perSec}
			if got := nextShare(row.share, look, budget); math.Abs(got-row.want) > 0.001 {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
	if got := nextShare(0.2, watchLooked{on: true, cells: 100}, budget); got != 1 {
		t.Errorf("nobody is there, and %v of all are watched", got)
	}
	if got := nextShare(0.2, watchLooked{sessions: 5, cells: 100}, 0); got != 1 {
		t.Errorf("nobody is to be watched: %v", got)
	}
}

// However many play, the share comes to where budget and cells are used well, and stays there.
func TestShareSettles(t *testing.T) {
	const budget, cells = 500_000.0, 32767
	for _, all := range []float64{1e3, 4.9e5, 5.1e5, 2e6, 1e8} {
		share, moved := 1.0, 0
		for i := range 30 {
			look := watchLooked{on: true, sessions: 10, cells: cells, taken: int(all / 60 * share), perSec: all * share}
			next := nextShare(share, look, budget)
			if next != share && i > 3 {
				moved++
			}
			share = next
		}
		if used := all * share; moved > 0 || used > budget || share < 1 && used < 0.5*budget && all/60*share < 0.5*cells {
			t.Errorf("%v packets a second: a share of %v, moved %d times", all, share, moved)
		}
	}
}

func testNaming(service config.Service) *naming {
	return &naming{services: []string{"", service.Name}, configs: map[string]*config.Service{service.Name: &service}, roster: roster.New(16)}
}

func TestBoundsAreThoseOfTheGamesClass(t *testing.T) {
	h := config.Default().Health
	client, front := netip.MustParseAddrPort("198.51.100.7:4242"), netip.MustParseAddrPort("203.0.113.10:27960")
	s := &loader.Session{Service: 1, Client: client, Front: front, Proto: loader.ProtoUDP, UpTiming: &loader.Timing{Packets: 7, Numbers: 100, Duplicates: 3, Lost: 2, RecentGap: time.Second}}
	for _, row := range []struct {
		name  string
		game  string
		class string
		says  string // its first packet
		want  string
	}{
		{"the service's", "quake3", "fps", "", "fps"},
		{"the service's, though another is played", "quake3", "moba", "\xff\xff\xff\xffgetstatus", "moba"},
		{"the named game's", "auto", "mmorpg", "\xff\xff\xff\xffgetstatus", "fps"},
		{"nobody knows", "auto", "mmorpg", "", "mmorpg"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := testNaming(config.Service{Name: "a", Game: row.game, Class: row.class, Health: h})
			if row.says != "" {
				n.roster.Packet(&sample.Packet{Client: client, Front: front, Proto: loader.ProtoUDP, First: true, Kind: sample.KindFirst, Length: len(row.says), Payload: []byte(row.says)})
			}
			p := n.patient(s)
			if want := boundsOf(&h, row.want); p.Class != row.want || p.Bounds != want {
				t.Errorf("class %s, bounds %+v, want %+v", p.Class, p.Bounds, want)
			}
			if diff := cmp.Diff(&health.Way{Packets: 7, Numbers: 97, Lost: 2, Gap: time.Second}, p.Up); diff != "" || p.Down != nil {
				t.Errorf("%s, down %v", diff, p.Down)
			}
		})
	}
	if p := testNaming(config.Service{Name: "b"}).patient(&loader.Session{Service: 9}); p.Bounds != (health.Bounds{}) {
		t.Errorf("a service that went: %+v", p)
	}
	if b := boundsOf(&h, game.ClassRTS); b != (health.Bounds{Gap: time.Second, Jitter: 15 * time.Millisecond, Loss: 0.003}) {
		t.Errorf("rts: %+v", b)
	}
}

func TestSequenceOfGames(t *testing.T) {
	for name, want := range map[string]loader.Sequence{
		"quake3": loader.SequenceQuake3, "openarena": loader.SequenceQuake3, "source": loader.SequenceSource, "cs2": loader.SequenceSource,
		"raknet": loader.SequenceRakNet, "bedrock": loader.SequenceRakNet, "auto": loader.SequenceNone, "minecraft": loader.SequenceNone, "no such": loader.SequenceNone,
	} {
		if got := sequenceOf(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

func TestHealthInWords(t *testing.T) {
	s := health.Session{ID: "4-1", Client: netip.MustParseAddrPort("198.51.100.7:4242"), Service: "arena", Game: "quake3", Class: "fps",
		Up: &health.Way{Packets: 5, Numbers: 4, Lost: 1, Jitter: 1500 * time.Microsecond}}
	bad := health.Event{Kind: health.Bad, Session: s, Down: true, Sign: health.Gap, Value: 312.5, Bound: 250}
	good := health.Event{Kind: health.Good, Session: s, Sign: health.Loss, Value: 0.02, Bound: 0.001, Lasted: 61 * time.Second}
	for _, row := range []struct {
		h          health.Event
		kind, text string
	}{
		{bad, event.HealthBad, "the session of 198.51.100.7:4242 fares badly: gaps of 312 ms on the way to the player, over 250 ms of class fps"},
		{good, event.HealthGood, "the session of 198.51.100.7:4242 is well again, after 1m1s of loss on the way to the server"},
		{health.Event{Kind: health.Many, Bad: 3, Good: 1, Services: map[string]int{"b": 1, "a": 3}}, event.HealthMany, "3 more sessions fare badly, 1 more are well again: 3 at a, 1 at b"},
	} {
		e := healthEvent(&row.h)
		if e.Type != row.kind || e.Text != row.text {
			t.Errorf("%s: %s\nwant %s", e.Type, e.Text, row.text)
		}
	}
	e := healthEvent(&bad)
	up, _ := e.Data["up"].(map[string]any)
	if e.Service != "arena" || e.Data["sign"] != "gap" || e.Data["way"] != "down" || e.Data["down"] != nil || up["lost"] != uint32(1) || up["jitter_ms"] != 1.5 {
		t.Errorf("data: %+v", e.Data)
	}
	if healthEvent(&good).Data["lasted_ms"] != int64(61000) {
		t.Errorf("data: %+v", e.Data)
	}
}

func TestTimingsInSessions(t *testing.T) {
	up := &loader.Timing{Began: 1e9, Packets: 10, Jitter: 2500 * time.Microsecond, Gap: 40 * time.Millisecond, Numbered: true, Numbers: 100, Duplicates: 1, Reordered: 2, Lost: 1,
		RecentNumbers: 99, RecentLost: 1, Drops: map[string]uint32{"rate_packets": 4}}
	up.Sizes[0], up.Spacings[15] = 10, 3
	down := &loader.Timing{Packets: 5}
	ts := timings{of: map[string][2]*loader.Timing{"x": {up, down}}, now: 3e9}
	s := api.Session{ID: "x", Up: &api.Direction{}, Down: &api.Direction{}}
	ts.put(&s)
	if *s.Up.JitterMS != 2.5 || *s.Up.LongestGapMS != 40 || *s.Up.Loss != 0.01 || *s.Up.Reordered != 2 || *s.Up.Duplicates != 1 || s.Up.Timing != nil {
		t.Errorf("up: %+v", s.Up)
	}
	if s.Down.JitterMS == nil || s.Down.Loss != nil || s.Down.Reordered != nil {
		t.Errorf("down: %+v", s.Down)
	}
	ts.detail = true
	ts.put(&s)
	tm := s.Up.Timing
	if tm.WatchedMS != 2000 || *tm.Lost != 1 || *tm.RecentLoss != 0.01 || tm.Drops["rate_packets"] != 4 || s.Down.Timing.Lost != nil {
		t.Errorf("timing: %+v", tm)
	}
	if *tm.Sizes[0].Below != 64 || *tm.Sizes[6].Below != 4096 || tm.Sizes[7].Below != nil || *tm.SpacingsMS[0].Below != 0.131072 || tm.SpacingsMS[15].Packets != 3 || tm.SpacingsMS[15].Below != nil {
		t.Errorf("classes: %+v %+v", tm.Sizes, tm.SpacingsMS)
	}
	other := api.Session{ID: "y", Up: &api.Direction{}}
	ts.put(&other)
	if other.Up.JitterMS != nil || other.Up.Timing != nil {
		t.Errorf("not watched: %+v", other.Up)
	}
}

// Who is told of ends hears what was timed.
func TestEndsHaveWhatWasTimed(t *testing.T) {
	e := endOf(&loader.Session{UpTiming: &loader.Timing{Numbered: true, RecentNumbers: 75, RecentLost: 25, RecentGap: time.Second, Drops: map[string]uint32{"ttl": 1}}}, 5)
	loss, ok := e.UpFine.RecentLoss()
	if !ok || loss != 0.25 || e.UpFine.RecentGap != time.Second || e.UpFine.Drops["ttl"] != 1 || e.DownFine != nil {
		t.Errorf("up %+v, down %+v", e.UpFine, e.DownFine)
	}
	if _, ok := e.DownFine.RecentLoss(); ok {
		t.Error("who was not watched has a loss")
	}
}

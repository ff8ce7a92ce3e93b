// SPDX-License-Identifier: Apache-2.0

package anticheat_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"parry/pkg/anticheat"
)

const second = time.Second

// cut silences the client for a while, as a lag switch does; held: what was sent comes at once afterwards.
func (r *rig) cut(d time.Duration, held bool) {
	from := r.n
	for range d / (16 * time.Millisecond) {
		r.tick(false)
	}
	for n := from; held && n < r.n; n++ {
		r.packet(false, numbered(n))
	}
}

// Each cheat is found as what it is, and nothing else is.
func TestEachKindIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		cheat func(*rig)
		want  []anticheat.Kind
	}{
		"honest": {func(r *rig) { r.play(30 * second) }, nil},
		"lag switch that drops": {func(r *rig) {
			for range 4 {
				r.cut(700*time.Millisecond, false)
				r.play(4 * second)
			}
		}, []anticheat.Kind{anticheat.LagDrop}},
		"lag switch that holds": {func(r *rig) {
			for range 4 {
				r.cut(700*time.Millisecond, true)
				r.play(4 * second)
			}
		}, []anticheat.Kind{anticheat.LagHold}},
		"two silences convict nobody": {func(r *rig) {
			for range 2 {
				r.cut(700*time.Millisecond, true)
				r.play(4 * second)
			}
		}, nil},
		"both ways silent is the line": {func(r *rig) {
			for range 6 {
				r.now += uint64(700 * time.Millisecond)
				r.n += 43
				r.play(4 * second)
			}
		}, nil},
		"a line that holds both ways": {func(r *rig) {
			for range 6 {
				from := r.n
				for range 43 {
					r.now += uint64(16 * time.Millisecond)
					r.n++
				}
				for n := from; n < r.n; n++ {
					if n%3 == 0 {
						r.packet(true, numbered(n/3))
					}
				}
				for n := from; n < r.n; n++ {
					r.packet(false, numbered(n))
				}
				r.play(4 * second)
			}
		}, nil},
		"repeats after a connection began anew": {func(r *rig) {
			r.n, r.salt = 90000, 1
			r.play(second)
			for range 300 {
				r.tick(true)
				r.again(1)
			}
		}, []anticheat.Kind{anticheat.Duplicate}},
		"fake lag": {func(r *rig) {
			for range 50 {
				r.cut(208*time.Millisecond, true)
			}
		}, []anticheat.Kind{anticheat.FakeLag}},
		"repeats": {func(r *rig) {
			for range 300 {
				r.tick(true)
				r.again(1)
			}
		}, []anticheat.Kind{anticheat.Duplicate}},
		"a repeat now and then": {func(r *rig) {
			for i := range 600 {
				if r.tick(true); i%50 == 0 {
					r.again(1)
				}
			}
		}, nil},
		"replays": {func(r *rig) {
			for i := range 300 {
				if r.tick(true); i%8 == 0 {
					r.again(60)
				}
			}
		}, []anticheat.Kind{anticheat.Replay}},
		"forged numbers": {func(r *rig) {
			for i := range 300 {
				if r.tick(true); i%10 == 0 {
					r.packet(false, numbered(r.n+5000))
				}
			}
		}, []anticheat.Kind{anticheat.Tampered}},
		"an old number with other bytes": {func(r *rig) {
			for i := range 300 {
				if r.tick(true); i%10 == 0 {
					b := numbered(r.n - 40)
					b[20]++
					r.packet(false, b)
				}
			}
		}, []anticheat.Kind{anticheat.Tampered}},
		"a connection that begins anew": {func(r *rig) {
			for range 5 {
				r.n, r.salt = 1, r.salt+1
				r.play(3 * second)
				r.n = 70000
				r.play(3 * second)
			}
		}, nil},
		"a flood": {func(r *rig) {
			for i := range 400 {
				r.tick(true)
				for k := range 6 {
					r.packet(false, numbered(uint32(i*2654435761+k*40503)|1<<20))
				}
			}
		}, []anticheat.Kind{anticheat.Flood, anticheat.Frequency}},
		"as much as the game allows": {func(r *rig) {
			for range 2500 {
				r.now += uint64(8 * time.Millisecond)
				r.packet(false, numbered(r.n))
				r.n++
			}
		}, nil},
		"a packet too long": {func(r *rig) {
			b := make([]byte, 1401)
			copy(b, numbered(r.n))
			r.packet(false, b)
		}, []anticheat.Kind{anticheat.Size}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.play(12 * second)
			c.cheat(r)
			r.play(2 * second)
			r.want(c.want...)
		})
	}
}

// Every finding says when, how bad, how surely and why; and it ends.
func TestAFindingSaysAll(t *testing.T) {
	r := newRig(t)
	r.play(12 * second)
	begin := r.now
	for i := range 300 {
		if r.tick(true); i%8 == 0 {
			r.again(60)
		}
	}
	end := r.now
	r.play(8 * second)
	rep, ok := r.a.End(r.k, r.now)
	if !ok || len(rep.Findings) != 1 {
		t.Fatalf("%+v", rep)
	}
	f := rep.Findings[0]
	late := time.Duration(f.At - begin)
	if f.Kind != anticheat.Replay || f.Severity <= anticheat.ActAbove || f.Confidence < 0.8 || f.Open || f.Observe ||
		f.Start < begin || f.Start > begin+uint64(second) || f.End > end || f.End < end-uint64(second) || late > 3*second || len(f.Facts) != 3 || f.Text() == "" {
		t.Errorf("%+v", f)
	}
	if n := len(r.told); n != 2 || !r.told[0].Open || r.told[1].Open {
		t.Errorf("told %d times: %+v", n, r.told)
	}
	if _, ok := r.a.Report(r.k); ok {
		t.Error("it ended, and is still followed")
	}
}

// Rates: the specification's where a game has no bounds of its own, and then they are only observed.
func TestRates(t *testing.T) {
	for _, c := range []struct {
		game     string
		rate     int
		own      *anticheat.Bounds
		severity float64
		observe  bool
	}{
		{"generic_udp", 45, nil, 0, false},
		{"generic_udp", 60, nil, 0.6, true},
		{"generic_udp", 120, nil, 0.9, true},
		{"", 120, nil, 0.9, true},
		{"auto", 120, nil, 0.9, true},
		{"source", 128, nil, 0, false},
		{"source", 145, nil, 0.6, false},
		{"source", 200, nil, 0.9, false},
		{"generic_udp", 90, &anticheat.Bounds{Rate: anticheat.Rate{Flag: 60, Act: 80}}, 0.9, false},
	} {
		r := newRig(t, func(p *anticheat.Policy) {
			if c.own != nil {
				p.Games = map[string]anticheat.Bounds{c.game: *c.own}
			}
		})
		r.about.Game = c.game
		for range 10 * c.rate {
			r.now += uint64(second) / uint64(c.rate)
			r.packet(false, numbered(r.n))
			r.n++
		}
		rep, _ := r.a.Report(r.k)
		severity, observe := 0.0, false
		for _, f := range rep.Findings {
			severity, observe = f.Severity, f.Observe
		}
		if severity != c.severity || observe != c.observe {
			t.Errorf("%q, %d a second: severity %g, only observed: %v; want %g, %v", c.game, c.rate, severity, observe, c.severity, c.observe)
		}
	}
}

// A flood needs no calm before it.
func TestAFloodFromTheBeginning(t *testing.T) {
	r := newRig(t)
	for range 4 * 400 {
		r.now += uint64(second) / 400
		r.packet(false, numbered(r.n))
		r.n++
	}
	r.want(anticheat.Flood, anticheat.Frequency)
}

// What a service does about a finding.
func TestOnlySevereFindingsAreActedUpon(t *testing.T) {
	for _, c := range []struct {
		action   anticheat.Action
		severity float64
		observe  bool
		want     anticheat.Action
	}{
		{anticheat.ActDrop, 0.9, false, anticheat.ActDrop},
		{anticheat.ActDrop, 0.8, false, anticheat.ActFlag},
		{anticheat.ActDrop, 0.9, true, anticheat.ActObserve},
		{anticheat.ActLimit, 0.85, false, anticheat.ActLimit},
		{anticheat.ActFlag, 0.9, false, anticheat.ActFlag},
		{anticheat.ActObserve, 0.9, false, anticheat.ActObserve},
		{"", 0.9, false, anticheat.ActObserve},
	} {
		if got := c.action.For(&anticheat.Finding{Severity: c.severity, Observe: c.observe}); got != c.want {
			t.Errorf("%s of severity %g: %s, want %s", c.action, c.severity, got, c.want)
		}
	}
}

// Who had findings begins flagged: by his name at another address, by his address under another name.
func TestEarlierFindingsFlag(t *testing.T) {
	r := newRig(t)
	r.about.Player = "Alex"
	r.play(second)
	b := make([]byte, 1401)
	r.packet(false, b)
	r.a.End(r.k, r.now)
	other := netip.MustParseAddrPort("192.0.2.9:1")
	for _, c := range []struct {
		client netip.AddrPort
		player string
		want   bool
	}{{other, "Alex", true}, {client, "", true}, {other, "Steve", false}} {
		k := anticheat.Session{Client: c.client, Front: front, Proto: 17}
		about := anticheat.About{Service: "arena", Game: "quake3", Player: c.player}
		r.a.Packet(&anticheat.Packet{Time: r.now, Session: k, Whole: true, Length: 24, Head: numbered(1), About: about})
		if got := r.a.Flagged(k); got != c.want {
			t.Errorf("%v %s: flagged %v", c.client, c.player, got)
		}
		r.a.End(k, r.now)
	}
	r.now += uint64(25 * time.Hour)
	r.packet(false, numbered(1))
	if r.a.Flagged(r.k) {
		t.Error("flagged for what was found a day ago")
	}
}

// What can't be judged is said.
func TestTooLittleIsSaid(t *testing.T) {
	why := func(r *rig, kind anticheat.Kind) string {
		rep, _ := r.a.Report(r.k)
		for _, u := range rep.Unjudged {
			if u.Kind == kind {
				return u.Why
			}
		}
		return ""
	}
	r := newRig(t)
	r.play(second)
	if got := why(r, anticheat.LagHold); !strings.Contains(got, "too few") {
		t.Errorf("after a second: %q", got)
	}
	r.play(20 * second)
	for _, kind := range []anticheat.Kind{anticheat.LagHold, anticheat.LagDrop, anticheat.Replay, anticheat.Frequency, anticheat.Size} {
		if got := why(r, kind); got != "" {
			t.Errorf("%s: %q", kind, got)
		}
	}
	if got := why(r, anticheat.Anomaly); !strings.Contains(got, "other sessions") {
		t.Errorf("alone: %q", got)
	}
	e := newRig(t)
	e.about.Game = "enet"
	e.play(20 * second)
	if got := why(e, anticheat.Replay); !strings.Contains(got, "no numbers") {
		t.Errorf("without numbers: %q", got)
	}
	s := newRig(t)
	s.a.Packet(&anticheat.Packet{Time: s.now, Session: s.k, Length: 24, Head: numbered(1), About: s.about})
	if got := why(s, anticheat.LagHold); !strings.Contains(got, "samples") {
		t.Errorf("of samples: %q", got)
	}
}

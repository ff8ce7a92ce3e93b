// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// Three blind packets may pass for a weak proof: with a thousand of them in a player's name nothing but the unproven is blocked.
func TestWeakProofIsNoEvidence(t *testing.T) {
	r := newRig(t)
	for i := range 300 {
		port := uint16(i + 1)
		r.see(victim, Observation{Kind: Attempt, Client: port})
		r.see(victim, Observation{Kind: Proven, Proof: Weak, Client: port})
		r.now += 900 * time.Millisecond
		r.see(victim, Observation{Kind: Ended, Proof: Weak, Client: port, EndedBy: ByClient, Lived: time.Second})
		r.now += 100 * time.Millisecond
	}
	for _, v := range r.made {
		if v.Scope != Unproven || v.Level != 0 || v.For > time.Minute {
			t.Errorf("decided %+v", v)
		}
	}
	if len(r.made) < 4 || len(r.Export(wall())) != 0 {
		t.Errorf("%d decisions, kept %+v", len(r.made), r.Export(wall()))
	}
}

// Of a robot that begins sessions up to its limit, the SYNs that are refused before they prove anything count beside: it is blocked by
// the eleventh. Of a client that reconnects by itself within the rule, whatever SYNs others send in its name don't.
func TestUnprovenConnectionsCountBesideEnoughProvenOnes(t *testing.T) {
	syn := func(r *rig, port uint16, admitted bool) {
		o := Observation{Kind: Attempt, Client: port}
		if !admitted {
			o.Kind, o.Reason = Refused, "rate_sessions"
		}
		r.see(victim, o)
		if admitted {
			r.now += 40 * time.Millisecond
			r.see(victim, Observation{Kind: Handshake, Client: port})
			r.now -= 40 * time.Millisecond
		}
	}
	r := newRig(t)
	for i := range 11 {
		syn(r, uint16(i+1), i < 10)
		r.now += time.Second
	}
	r.want(t, victim+"/32 risk all 1.00")
	r = newRig(t)
	for i := range 600 { // a reconnect each 6.7 s, and a forged SYN each 100 ms
		if i%67 == 0 {
			syn(r, uint16(i+1), true)
		}
		syn(r, uint16(20_000+i), false)
		r.now += 100 * time.Millisecond
	}
	r.want(t)
}

// What many people at one address do is allowed so many times; the same of one is not.
func TestSharedAddressesAreAllowedMore(t *testing.T) {
	r := newRig(t)
	for i := range 12 {
		r.see(victim, Observation{Kind: Attempt, Proof: Strong, Client: uint16(i + 1)})
		r.now += 7 * time.Second
		r.see(victim, Observation{Kind: Lasting, Client: uint16(i + 1)})
	}
	r.connect(victim, 100, time.Second) // of one, the eleventh would be one too many
	r.want(t)
	r.connect(victim, 300, 250*time.Millisecond)
	if len(r.made) != 1 || r.made[0].Players != 12 || r.made[0].Confidence != 0.75 {
		t.Errorf("decided %+v", r.made)
	}
}

// At first sight of many people behind one address, a limit refuses most: that is no evidence against them.
func TestRefusalsByLimitsAreNoFlood(t *testing.T) {
	r := newRig(t)
	for i := range 400 {
		o := Observation{Kind: Attempt, Proof: Strong, Client: uint16(i + 1)}
		if i > 10 {
			o.Kind, o.Reason = Refused, "rate_sessions"
		}
		r.see(victim, o)
		r.now += time.Duration(50+i%3*130) * time.Millisecond
	}
	r.want(t)
	for i := range 400 { // refused for what they sent, they are one
		r.see(host(9), Observation{Kind: Refused, Proof: Strong, Reason: "gate_refused", Client: uint16(i + 1)})
		r.now += time.Duration(50+i%3*130) * time.Millisecond
	}
	r.want(t, host(9)+"/32 connect_flood all 0.95")
}

// A session that its client leaves at once, some time apart.
func (r *rig) visit(from string, lived, apart time.Duration, o Observation) {
	o.Proof = Strong
	o.Kind = Attempt
	r.see(from, o)
	r.now += lived
	if o.Lasted {
		lasts := o
		lasts.Kind = Lasting
		r.see(from, lasts)
	}
	o.Kind, o.Lived = Ended, lived
	r.see(from, o)
	r.now += apart - lived
}

func TestChurnIsOfTenMinutes(t *testing.T) {
	r := newRig(t)
	for i := range 60 { // two a minute for half an hour
		r.visit(victim, 2*time.Second, time.Duration(25+i%3*5)*time.Second, Observation{EndedBy: ByClient})
	}
	r.want(t)
	for i := range 30 { // four
		r.visit(victim, 2*time.Second, time.Duration(9+i%3*6)*time.Second, Observation{EndedBy: ByClient})
	}
	r.want(t, victim+"/32 churn all 0.90")
}

// Even intervals are evidence if they are the client's own doing, and not if the server throws it out and it reconnects by itself.
func TestMetronomeIsTheClientsOwn(t *testing.T) {
	for _, row := range []struct {
		name  string
		lived time.Duration
		every time.Duration
		noise time.Duration
		o     Observation
		want  string
	}{
		{"left at once", 2 * time.Second, 10 * time.Second, 0, Observation{EndedBy: ByClient}, "metronome"},
		{"fell silent at once", 2 * time.Second, 10 * time.Second, 0, Observation{EndedBy: ByIdle}, "metronome"},
		{"nearly even", 2 * time.Second, 10 * time.Second, 100 * time.Millisecond, Observation{EndedBy: ByClient}, "metronome"},
		{"uneven", 2 * time.Second, 10 * time.Second, time.Second, Observation{EndedBy: ByClient}, ""},
		{"thrown out by the server", 2 * time.Second, 10 * time.Second, 0, Observation{EndedBy: ByServer}, ""},
		{"ended by the edge", 2 * time.Second, 10 * time.Second, 0, Observation{EndedBy: ByOther}, ""},
		{"played by the clock", 31 * time.Second, 40 * time.Second, 0, Observation{EndedBy: ByClient, Lasted: true}, "metronome"},
		{"played until the server restarts by the clock", 31 * time.Second, 40 * time.Second, 0, Observation{EndedBy: ByServer, Lasted: true}, ""},
		{"played until the line broke", 31 * time.Second, 40 * time.Second, 0, Observation{EndedBy: ByIdle, Lasted: true}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			for i := range 14 {
				r.visit(victim, row.lived, row.every+row.noise*time.Duration(i%2), row.o)
			}
			if row.want == "" {
				r.want(t)
			} else if len(r.made) != 1 || r.made[0].Reason.String() != row.want {
				t.Errorf("decided %+v", r.made)
			}
		})
	}
}

// Limits let a robot in late, or not: what it did before stays evidence, whose ends are told a minute later, and so does what it goes on with.
func TestMetronomeAmidLimits(t *testing.T) {
	const every, told = 8 * time.Second, time.Minute
	for _, row := range []struct {
		name    string
		held    func(i int) int // how often the i-th connection is refused before it is let in; <0: it never is
		forgets int             // the first whose end nobody tells of
	}{
		{"let in late", func(i int) int { return i / 8 }, 16},
		{"not let in any more", func(i int) int { return -(i / 9) }, 16},
		{"held up now and then", func(i int) int { return i % 4 / 3 }, 16},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			var ends []Observation
			var at []time.Duration
			tell := func(until time.Duration) {
				for len(ends) > 0 && at[0] <= until {
					r.now = at[0]
					r.see(victim, ends[0])
					ends, at = ends[1:], at[1:]
				}
				r.now = until
			}
			next := r.now
			for i := range row.forgets {
				o := Observation{Client: uint16(1000 + i), Proof: Strong}
				held := row.held(i)
				for range max(held, -held) {
					tell(next)
					r.see(victim, Observation{Kind: Refused, Reason: "greylisted", Client: o.Client})
					next += time.Second
				}
				tell(next)
				next += every
				if held < 0 {
					continue
				}
				o.Kind = Attempt
				r.see(victim, o)
				o.Kind, o.EndedBy, o.Lived = Ended, ByIdle, every
				ends, at = append(ends, o), append(at, next+told)
			}
			tell(next + told)
			if len(r.made) == 0 || r.made[0].Reason.String() != "metronome" {
				t.Errorf("decided %+v", r.made)
			}
		})
	}
}

// While a service's own players get nowhere, others who don't are no attackers.
func TestAServiceThatFailsIsNobodysAttack(t *testing.T) {
	come := func(r *rig) {
		for range 30 {
			r.visit("203.0.113.80", 2*time.Second, 8*time.Second, Observation{EndedBy: ByClient, Service: 3, Game: "source"})
			r.now += time.Duration(len(r.made)+int(r.now)%3) * time.Second
		}
	}
	r := newRig(t)
	come(r)
	if len(r.made) == 0 {
		t.Fatal("where all is well, it is not noticed either")
	}
	r = newRig(t)
	for i := range 6 {
		r.visit(fmt.Sprintf("203.0.%d.9", i), 31*time.Second, 40*time.Second, Observation{EndedBy: ByServer, Lasted: true, Service: 3, Game: "source"})
	}
	r.now += 5 * time.Minute
	for range 4 {
		for i := range 6 {
			r.visit(fmt.Sprintf("203.0.%d.9", i), 3*time.Second, 4*time.Second, Observation{EndedBy: ByClient, Service: 3, Game: "source"})
		}
		for i := range 10 {
			r.visit("203.0.113.80", 2*time.Second, time.Duration(3+i%2*4)*time.Second, Observation{EndedBy: ByClient, Service: 3, Game: "source"})
		}
	}
	r.want(t)
}

// Who leaves because a server said nothing, where nobody is known to play, did nothing wrong; where others play, he may have.
func TestAServerThatSaysNothing(t *testing.T) {
	mute := Observation{EndedBy: ByClient, Mute: true, Service: 5, Game: "source"}
	r := newRig(t)
	for i := range 60 {
		r.visit(host(i), 9*time.Second, 9*time.Second, mute)
	}
	r.want(t)
	r.see("203.0.113.80", Observation{Kind: Lasting, Service: 5, Game: "source"})
	for i := range 60 {
		r.visit(host(i), 9*time.Second, 9*time.Second, mute)
	}
	r.want(t, "198.51.100.0/24 prefix_joins all 0.90")
}

func TestClockNeverGoesBack(t *testing.T) {
	c := clock{now: started}
	at := c.read(1 << 60)
	for _, row := range []struct {
		t    uint64
		want time.Duration // since the first
	}{
		{1<<60 + 1e9, time.Second}, {1<<60 + 5e8, time.Second / 2}, {1<<60 + 1e9, time.Second}, // CPUs out of step
		{1 << 59, time.Second}, {1<<59 + 1e9, 2 * time.Second}, // back for years: only what follows counts
		{1 << 62, 2*time.Second + time.Duration(leap)}, {0, 2*time.Second + time.Duration(leap)},
		{1<<64 - 1, 2*time.Second + time.Duration(leap) - 1}, // a nanosecond before 0
	} {
		if got := time.Duration(c.read(row.t) - at); got != row.want {
			t.Errorf("at %d it is %v, want %v", row.t, got, row.want)
		}
	}
}

// Evidence is used once: who comes back after his block is not blocked for what he was blocked for.
func TestEvidenceIsUsedOnce(t *testing.T) {
	r := newRig(t, func(p *Policy) { p.Block.First = time.Second })
	for i := range 26 {
		r.visit(victim, time.Second, time.Duration(5+i%3)*time.Second, Observation{EndedBy: ByClient})
	}
	r.want(t, victim+"/32 churn all 0.90")
	for range 5 {
		r.visit(victim, time.Second, 7*time.Second, Observation{EndedBy: ByClient})
	}
	r.want(t)
}

// One source thinly over many destinations.
func TestSweep(t *testing.T) {
	come := func(r *rig, destinations int) {
		for i := range 22 { // fewer than churn is
			n := uint16(i % destinations)
			r.visit(victim, time.Second, time.Duration(8+i%3*4)*time.Second, Observation{EndedBy: ByClient, Service: n + 1, Port: 20_000 + n, Game: "source"})
		}
	}
	r := newRig(t, func(p *Policy) { p.Sweep.Destinations = 15 })
	come(r, 22)
	r.want(t, victim+"/32 sweep all 0.90")
	r = newRig(t, func(p *Policy) { p.Sweep.Destinations = 15 })
	come(r, 10)
	r.want(t)
}

// A sample that stands for several counts as so many, but shows no rhythm.
func TestSamplesCountForMany(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.see(victim, Observation{Kind: Attempt, Client: uint16(i + 1), Weight: 8})
		r.now += time.Second
	}
	w, _ := r.Explain(netip.MustParseAddr(victim))
	if w.Connections != 40 || w.RiskAll != 0.7 || w.Risk != 0 {
		t.Errorf("it stands as %+v", w)
	}
}

// Who goes on with what no server answers is doubted; who repeats a question until he gives up, who is known, and whoever asks where nobody
// is answered, is not.
func TestUnansweredForHalfAMinute(t *testing.T) {
	for _, row := range []struct {
		name   string
		apart  time.Duration
		times  int
		played bool // somebody plays there
		known  bool // and at that address, too
		want   []string
	}{
		{"junk", time.Second, 40, true, false, []string{victim + "/32 unanswered unproven 0.60"}},
		{"junk that goes on", time.Second, 100, true, false, []string{victim + "/32 unanswered unproven 0.60", victim + "/32 unanswered unproven 0.60"}},
		{"a client that gives up", time.Second, 30, true, false, nil},
		{"a client that asks again and again", 3 * time.Second, 100, true, false, nil},
		{"a service that is down", time.Second, 100, false, false, nil},
		{"somebody plays there", time.Second, 100, true, true, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			if row.played {
				r.see("192.0.2.1", Observation{Kind: Playing, Proof: Strong})
			}
			if row.known {
				r.see(victim, Observation{Kind: Playing, Proof: Strong})
			}
			for range row.times {
				r.see(victim, Observation{Kind: Dropped, Reason: "unproven_rate"})
				r.now += row.apart
			}
			r.want(t, row.want...)
		})
	}
}

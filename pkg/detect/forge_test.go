// SPDX-License-Identifier: Apache-2.0

package detect_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"parry/pkg/detect"
	"parry/pkg/detect/mix"
)

// forged is anything that anybody can send in a player's name: attempts, refusals, floods, SYNs, the weak proof of blind packets,
// and what follows from them.
func forged(rnd *rand.Rand, at time.Duration, a *mix.Actor, s *mix.Service) detect.Observation {
	o := detect.Observation{
		Time: uint64(at + time.Hour), Source: a.Addr, Service: s.ID, Port: s.Port, Game: s.Game, Length: 60,
		Client: uint16(rnd.Uint32()), Weight: uint32(rnd.IntN(3)),
	}
	switch rnd.IntN(9) {
	case 0:
		o.Kind = detect.SYN
	case 1:
		o.Kind, o.Reason = detect.Refused, "greylisted"
	case 2:
		o.Kind, o.Reason = detect.Refused, "gate_refused"
	case 3:
		o.Kind, o.Reason, o.Weight = detect.Dropped, "rate_packets", 3000
	case 4:
		o.Kind, o.Proof = detect.Proven, detect.Weak
	case 5:
		o.Kind, o.Proof, o.EndedBy, o.Lived = detect.Ended, detect.Weak, detect.ByClient, time.Second
	case 6:
		o.Kind, o.Reason = detect.Refused, "rate_sessions"
	default:
		o.Kind, o.Proof = detect.Attempt, detect.Proof(rnd.IntN(2))
	}
	return o
}

// Whatever is forged in honest people's names, among all that they do themselves: nobody's traffic is blocked as a whole, and of those
// who have played not even what is unproven.
func TestNobodyCanHaveAPlayerBlockedByForging(t *testing.T) {
	t.Parallel()
	dev, held := halves()
	for _, h := range []half{dev, held} {
		w := mix.New(h.seeds[0] + 50)
		e := newEdge(t, w)
		play(w, &h, 150)
		rnd := rand.New(rand.NewPCG(h.seeds[0], 3))
		played := map[netip.Addr]bool{}
		w.Observe = func(o *detect.Observation) {
			if o.Kind == detect.Lasting {
				played[o.Source] = true
			}
			e.d.Observe(o)
		}
		send := func(a *mix.Actor, every time.Duration, s *mix.Service) {
			var again func()
			again = func() {
				o := forged(rnd, w.Now, a, s)
				e.d.Observe(&o)
				w.After(every, again)
			}
			again()
		}
		w.At(90*time.Second, func() { // of each half a robot is imitated, of the other half a flood
			for i, a := range w.Actors {
				send(a, []time.Duration{time.Second, 170 * time.Millisecond, 3 * time.Second}[i%3], mix.Pick(w, w.Services))
			}
		})
		asked := 0
		for range 60 {
			had := len(e.made)
			before := map[netip.Addr]bool{}
			for a := range played {
				before[a] = true
			}
			w.Run(w.Now + 10*time.Second)
			for _, v := range e.made[had:] {
				if v.Scope == detect.Whole {
					t.Errorf("%s: %v is blocked as %v: %s", h.name, v.Prefix, v.Reason, v.Text())
				}
				if v.For > time.Minute {
					t.Errorf("%s: on forged evidence %v is blocked for %v", h.name, v.Prefix, v.For)
				}
				asked++
				if before[v.Prefix.Addr()] && v.Prefix.IsSingleIP() {
					t.Errorf("%s: %v has played, and is to prove itself: %s", h.name, v.Prefix, v.Text())
				}
			}
		}
		if asked == 0 {
			t.Errorf("%s: nothing of all that is forged was noticed", h.name)
		}
		t.Logf("%s: %d decisions about what is unproven, %d people", h.name, asked, len(w.Actors))
	}
}

// Times that jump, repeat and go back change nothing for who plays, and attackers are found all the same.
func TestClocksThatJump(t *testing.T) {
	t.Parallel()
	dev, _ := halves()
	dev.part = 6
	for name, bend := range map[string]func(n int, at uint64) uint64{
		"back an hour now and then":    func(n int, at uint64) uint64 { return at - uint64(n/40_000)*uint64(time.Hour/2) },
		"ahead a day now and then":     func(n int, at uint64) uint64 { return at + uint64(n/40_000)*uint64(24*time.Hour) },
		"two CPUs, 900 ms apart":       func(n int, at uint64) uint64 { return at - uint64(n%2)*900e6 },
		"from the end of all time":     func(_ int, at uint64) uint64 { return at - uint64(time.Hour) - uint64(4*time.Minute) },
		"one sample from another life": func(n int, at uint64) uint64 { return at ^ uint64(b2i(n == 30_000))<<62 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := mix.New(9)
			e := newEdge(t, w)
			n := 0
			w.Observe = func(o *detect.Observation) {
				n++
				o.Time = bend(n, o.Time)
				e.d.Observe(o)
			}
			play(w, &dev, 120)
			attack(w, &dev)
			w.Run(10 * time.Minute)
			attackers, hit := 0, 0
			for _, a := range w.Actors {
				if a.Attacks {
					attackers++
					hit += b2i(a.Blocked != 0 || a.Asked != 0)
				} else if a.Blocked != 0 {
					t.Errorf("%s %v is blocked", a.Family, a.Addr)
				}
			}
			if 10*hit < 7*attackers { // of some the evidence expired in between
				t.Errorf("%d of %d attackers are found", hit, attackers)
			}
		})
	}
}

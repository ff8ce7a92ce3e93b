// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/sample"
)

// fed is what a feed makes of samples, a line each.
func fed(services []Service, do func(f *Feed)) (lines []string) {
	f := NewFeed(func(o *Observation) {
		kind := [...]string{"", "attempt", "refused", "syn", "handshake", "query", "proven", "lasting", "playing", "ended", "dropped"}[o.Kind]
		line := fmt.Sprintf("%s %v:%d", kind, o.Source, o.Client)
		if o.Proof != None {
			line += [...]string{"", " weak", " strong"}[o.Proof]
		}
		if o.Reason != "" {
			line += " for " + o.Reason
		}
		if o.Weight > 1 {
			line += fmt.Sprintf(" x%d", o.Weight)
		}
		if o.Kind == Ended {
			line += fmt.Sprintf(" by %d after %v at %d", o.EndedBy, o.Lived, o.Time/1e9) // in the order in which it was told, or clocks go back
		}
		lines = append(lines, line)
	}, func(n uint16) Service { return services[n] }, func(n uint8) string {
		return map[uint8]string{15: "rate_sessions", 39: "stranger_rate", 40: "greylisted"}[n]
	})
	do(f)
	return lines
}

const (
	plainUDP = 1 // a service of each kind
	plainTCP = 2
	heardTCP = 3
	switched = 4
)

func kinds() []Service {
	return []Service{{Off: true}, {Game: "arena", Rate: 100}, {Game: "shell"}, {Game: "minecraft_java", Heard: true}, {Off: true}}
}

func packetOf(service uint16, proto uint8, step sample.Step) *sample.Packet {
	return &sample.Packet{
		Time: 5e9, Client: netip.MustParseAddrPort("198.51.100.7:4000"), Front: netip.MustParseAddrPort("203.0.113.10:27960"), Service: service, Proto: proto, Step: step,
		First: step&(sample.StepBegan|sample.StepRefused) != 0, Kind: sample.KindStep, Size: 60,
	}
}

func endOf(service uint16, proto uint8, change func(*sample.End)) *sample.End {
	e := &sample.End{
		Client: netip.MustParseAddrPort("198.51.100.7:4000"), Front: netip.MustParseAddrPort("203.0.113.10:27960"), Service: service, Proto: proto,
		By: "idle", Time: 20e9, Began: 5e9, Last: 12e9, Up: sample.Way{Packets: 9}, Down: sample.Way{Packets: 8},
	}
	change(e)
	return e
}

func TestFeed(t *testing.T) {
	const udp, who = 17, "198.51.100.7:4000"
	down := func(p *sample.Packet) *sample.Packet { p.Down = true; return p }
	refused := func(p *sample.Packet, reason uint8, player bool) *sample.Packet {
		p.Reason, p.Player = reason, player
		return p
	}
	same := func(*sample.End) {}
	for _, x := range []struct {
		name string
		do   func(f *Feed)
		want []string
	}{
		{"a plain session", func(f *Feed) {
			f.Packet(packetOf(plainUDP, udp, sample.StepBegan))
			f.Packet(packetOf(plainUDP, udp, 0))
			f.Packet(packetOf(plainUDP, udp, sample.StepStrong))
			f.Packet(packetOf(plainUDP, udp, sample.StepLasting))
			f.Packet(packetOf(plainUDP, udp, sample.StepLasts))
			f.Ended(endOf(plainUDP, udp, func(e *sample.End) { e.Proof, e.Lasted = "strong", true }))
		}, []string{"attempt " + who, "proven " + who + " strong", "lasting " + who, "playing " + who, "ended " + who + " strong by 2 after 7s at 20"}},
		{"one that stays weak", func(f *Feed) { f.Ended(endOf(plainUDP, udp, same)) }, []string{"ended " + who + " weak by 2 after 7s at 20"}},
		{"one that nobody answered", func(f *Feed) { f.Ended(endOf(plainUDP, udp, func(e *sample.End) { e.Down.Packets = 0 })) }, []string{"ended " + who + " by 2 after 7s at 20"}},
		{"one that was proven before it began", func(f *Feed) { f.Packet(packetOf(plainUDP, udp, sample.StepBegan|sample.StepStrong)) }, []string{"attempt " + who + " strong"}},
		{"a query", func(f *Feed) {
			f.Packet(packetOf(plainUDP, udp, sample.StepBegan|sample.StepQuery|sample.StepStrong))
			f.Ended(endOf(plainUDP, udp, func(e *sample.End) { e.Query, e.Proof = true, "strong" }))
		}, []string{"query " + who}},
		{"a connection", func(f *Feed) {
			f.Packet(packetOf(plainTCP, tcp, sample.StepBegan))
			f.Packet(down(packetOf(plainTCP, tcp, sample.StepStrong)))
			f.Ended(endOf(plainTCP, tcp, func(e *sample.End) { e.Proof, e.By = "strong", "client" }))
		}, []string{"syn " + who, "attempt " + who, "handshake " + who + " strong", "ended " + who + " strong by 1 after 7s at 20"}},
		{"one whose gate hears it play", func(f *Feed) {
			f.Packet(packetOf(heardTCP, tcp, sample.StepBegan))
			f.Packet(packetOf(heardTCP, tcp, sample.StepStrong))
		}, []string{"syn " + who, "attempt " + who + " strong"}},
		{"one by the SYN proxy, heard later", func(f *Feed) {
			f.Packet(packetOf(heardTCP, tcp, sample.StepBegan|sample.StepStrong))
			f.Packet(packetOf(heardTCP, tcp, sample.StepStrong))
		}, []string{"attempt " + who + " strong"}},
		{"one whose gate hears it ask", func(f *Feed) {
			f.Packet(packetOf(heardTCP, tcp, sample.StepBegan))
			f.Packet(packetOf(heardTCP, tcp, sample.StepStrong|sample.StepQuery))
			f.Ended(endOf(heardTCP, tcp, func(e *sample.End) { e.Proof, e.By = "strong", "client" }))
			f.Ended(endOf(heardTCP, tcp, func(e *sample.End) { e.Proof = "strong" })) // another one
		}, []string{"syn " + who, "query " + who, "ended " + who + " strong by 2 after 7s at 20"}},
		{"one whose gate hears nothing", func(f *Feed) {
			f.Packet(packetOf(heardTCP, tcp, sample.StepBegan))
			f.Ended(endOf(heardTCP, tcp, func(e *sample.End) { e.By, e.Down.Packets = "silent", 0 }))
		}, []string{"syn " + who, "attempt " + who, "ended " + who + " by 1 after 7s at 20"}},
		{"refusals", func(f *Feed) {
			f.Packet(refused(packetOf(plainUDP, udp, sample.StepRefused), 15, false))
			f.Packet(refused(packetOf(plainTCP, tcp, sample.StepRefused), 15, true))
			f.Packet(refused(packetOf(plainUDP, udp, 0), 40, false))
			f.Packet(refused(packetOf(plainUDP, udp, sample.StepRefused), 39, false))
		}, []string{"refused " + who + " for rate_sessions", "refused " + who + " strong for rate_sessions", "dropped " + who + " for greylisted", "dropped " + who + " for stranger_rate x100"}},
		{"what a server began, or came to no service", func(f *Feed) {
			f.Packet(down(packetOf(plainUDP, udp, sample.StepBegan)))
			f.Ended(endOf(plainUDP, udp, func(e *sample.End) { e.Called = true }))
			f.Packet(packetOf(switched, udp, sample.StepBegan))
			f.Ended(endOf(switched, udp, same))
			f.Packet(packetOf(0, udp, sample.StepBegan))
		}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			if diff := cmp.Diff(x.want, fed(kinds(), x.do)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is remembered of those who asked is bounded, and forgotten in time.
func TestFeedForgetsWhoAsked(t *testing.T) {
	f := NewFeed(func(*Observation) {}, func(uint16) Service { return kinds()[heardTCP] }, func(uint8) string { return "" })
	p := packetOf(heardTCP, tcp, sample.StepStrong|sample.StepQuery)
	for i := range 5 * mostAsked {
		p.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
		f.Packet(p)
	}
	if n := len(f.asked[0]) + len(f.asked[1]); n > 2*mostAsked {
		t.Errorf("%d are remembered", n)
	}
	p.Time += uint64(3 * askedFor / time.Nanosecond)
	f.Packet(p)
	p.Time += uint64(3 * askedFor / time.Nanosecond)
	f.Packet(p)
	if n := len(f.asked[0]) + len(f.asked[1]); n > 2 {
		t.Errorf("%d are remembered after half an hour", n)
	}
}

// A source whose weakly proven sessions come to nothing by a clock has to prove itself, and no more; one that plays has not.
func TestAWeakMetronomeIsQuestioned(t *testing.T) {
	for _, plays := range []bool{false, true} {
		r := newRig(t)
		if plays {
			r.see("203.0.113.9", Observation{Kind: Lasting})
		}
		for i := range uint16(12) {
			r.see("203.0.113.9", Observation{Kind: Attempt, Client: 1000 + i})
			r.now += 8 * time.Second
			r.see("203.0.113.9", Observation{Kind: Ended, Client: 1000 + i, Proof: Weak, EndedBy: ByIdle, Lived: 8 * time.Second})
		}
		switch {
		case plays && len(r.made) > 0:
			t.Errorf("who plays is questioned: %+v", r.made[0])
		case !plays && (len(r.made) != 1 || r.made[0].Scope != Unproven || r.made[0].Reason != Metronome):
			t.Errorf("decided %+v", r.made)
		}
	}
}

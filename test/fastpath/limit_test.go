// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

const (
	packetsPort = 27980 + iota
	bytesPort
	newsPort
	crowdPort
	farPort
)

// limitPlan has a transparent service for each limit alone. far has no server, and a limit on new sessions.
func limitPlan() *loader.Plan {
	p := basePlan()
	for _, x := range []struct {
		name string
		port uint16
		l    loader.Limits
	}{
		{"packets", packetsPort, loader.Limits{Packets: 100, PacketBurst: 50}},
		{"bytes", bytesPort, loader.Limits{Bytes: 10_000, ByteBurst: 2_000}},
		{"news", newsPort, loader.Limits{NewSessions: 10, Window: time.Minute}},
		{"crowd", crowdPort, loader.Limits{NewSessions: 10, Window: time.Minute, Sessions: 3}},
		{"far", farPort, loader.Limits{NewSessions: 10, Window: time.Minute}},
	} {
		s := service(x.name, loader.Transparent, "open", x.port)
		if x.name == "far" {
			s.Pool = "empty"
		}
		x.l.Prefix4, x.l.Prefix6 = 32, 64
		s.Limits = x.l
		p.Services = append(p.Services, s)
	}
	return p
}

// port is the client's from its n-th port.
func port(client netip.AddrPort, n int) netip.AddrPort {
	return netip.AddrPortFrom(client.Addr(), client.Port()+uint16(n))
}

// spend sends n packets of one session and returns how many passed.
func (w *world) spend(t *testing.T, p packet.Packet, n int) int {
	t.Helper()
	passed, frame := 0, p.Bytes()
	for range n {
		if r := w.quietly(t, frame); r.Verdict == "tx" {
			passed++
		}
	}
	return passed
}

func TestLimited(t *testing.T) { limitedGroup(limitPlan, "").run(t) }

// Nothing is dropped where limits are not enforced, in any of the three ways, and every packet that would have been
// is counted.
func TestMonitorLimits(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*loader.Plan){
		"everywhere": func(p *loader.Plan) { p.Enforce = false },
		"on the service": func(p *loader.Plan) {
			for i := range p.Services {
				p.Services[i].Enforce = false
			}
		},
		"limits alone": func(p *loader.Plan) {
			for i := range p.Services {
				p.Services[i].EnforceLimits = false
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			limitedGroup(func() *loader.Plan { p := limitPlan(); change(p); return p }, "would").run(t)
		})
	}
}

// limitedGroup has a row for each limit, with one packet that is too much.
func limitedGroup(plan func() *loader.Plan, would string) group {
	g := group{name: "TestLimited", plan: plan}
	add := func(name, reason, service string, in packet.Packet, set func(*testing.T, *world)) {
		want := outcome{verdict: "drop", reason: reason, service: service}
		if would != "" {
			want = outcome{verdict: "tx", shadow: reason, service: service}
		}
		g.rows = append(g.rows, row{name: name, set: set, in: is(in.Bytes()), want: want})
	}
	for _, c := range []netip.AddrPort{player4, player6} {
		v := c.Addr().String()
		add(v+" packets", "rate_packets", "packets", hello(c, packetsPort), func(t *testing.T, w *world) {
			w.spend(t, hello(c, packetsPort), 50)
		})
		add(v+" packets, by another flow", "rate_packets", "packets", hello(port(c, 1), packetsPort), func(t *testing.T, w *world) {
			w.spend(t, hello(c, packetsPort), 50)
		})
		large := hello(c, bytesPort).With(func(p *packet.Packet) { p.Payload = make([]byte, 1000-p.Len()) })
		add(v+" bytes", "rate_bytes", "bytes", large, func(t *testing.T, w *world) { w.spend(t, large, 2) })
		add(v+" new sessions", "rate_sessions", "news", hello(port(c, 10), newsPort), func(t *testing.T, w *world) {
			for n := range 10 {
				w.begin(t, hello(port(c, n), newsPort))
			}
		})
		add(v+" concurrent sessions", "too_many_sessions", "crowd", hello(port(c, 3), crowdPort), func(t *testing.T, w *world) {
			for n := range 3 {
				w.begin(t, hello(port(c, n), crowdPort))
			}
		})
	}
	return g
}

// offer has flows of one source send a packet each, step by step; the packets that passed.
func (w *world) offer(t *testing.T, flows []packet.Packet, step, whole time.Duration) int {
	t.Helper()
	var frames [][]byte
	for _, p := range flows {
		frames = append(frames, p.Bytes())
	}
	passed := 0
	for d := time.Duration(0); d < whole; d += step {
		for _, f := range frames {
			if r := w.quietly(t, f); r.Verdict == "tx" {
				passed++
			}
		}
		w.pass(t, step)
	}
	return passed
}

func within(t *testing.T, what string, got, want int, percent float64) {
	t.Helper()
	if d := float64(got - want); d > float64(want)*percent/100 || -d > float64(want)*percent/100 {
		t.Errorf("%s: %d, not %d within %v %%", what, got, want, percent)
	}
}

// Ten flows of one source share one limit: what passes in ten seconds is burst + rate × 10 s within 2 %.
func TestTenFlowsOfOneSource(t *testing.T) {
	t.Parallel()
	v6 := func(n int) netip.AddrPort { // of one /64
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0xc, 0, 1, 15: byte(n + 1)}), 40000)
	}
	v24 := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n + 1)}), 40000)
	}
	for _, x := range []struct {
		name   string
		limits loader.Limits
		flow   func(n int) netip.AddrPort
		want   int
	}{
		{"one address", loader.Limits{Packets: 1000, PacketBurst: 2000, Prefix4: 32}, func(n int) netip.AddrPort { return port(player4, n) }, 12000},
		{"one IPv6 /64", loader.Limits{Packets: 1000, PacketBurst: 2000, Prefix6: 64}, v6, 12000},
		{"one /24", loader.Limits{Packets: 1000, PacketBurst: 2000, Prefix4: 24}, v24, 12000},
		{"no burst to speak of", loader.Limits{Packets: 1000, PacketBurst: 20, Prefix4: 32}, func(n int) netip.AddrPort { return port(player4, n) }, 10020},
		{"bytes", loader.Limits{Bytes: 100_000, ByteBurst: 200_000, Prefix4: 32}, func(n int) netip.AddrPort { return port(player4, n) }, 12000},
		{"packets, bytes allow more", loader.Limits{Packets: 1000, PacketBurst: 2000, Bytes: 150_000, ByteBurst: 300_000, Prefix4: 32},
			func(n int) netip.AddrPort { return port(player4, n) }, 12000},
		{"bytes, packets allow more", loader.Limits{Packets: 1500, PacketBurst: 3000, Bytes: 100_000, ByteBurst: 200_000, Prefix4: 32},
			func(n int) netip.AddrPort { return port(player4, n) }, 12000},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t, with(basePlan(), "open", func(s *loader.Service) { s.Limits = x.limits }))
			var flows []packet.Packet
			for n := range 10 {
				flows = append(flows, hello(x.flow(n), openPort).With(func(p *packet.Packet) {
					p.Payload = make([]byte, 100-p.Len()+len(p.Payload))
				}))
			}
			within(t, "packets that passed", w.offer(t, flows, 5*time.Millisecond, 10*time.Second), x.want, 2)
		})
	}
}

// A burst at one moment is exact, however many flows it comes by.
func TestBurstIsExact(t *testing.T) {
	t.Parallel()
	for _, flows := range []int{1, 10, 64} {
		w := newWorld(t, with(basePlan(), "open", func(s *loader.Service) { s.Limits.Packets, s.Limits.PacketBurst = 1000, 2000 }))
		passed := 0
		for n := range 3000 {
			passed += w.spend(t, hello(port(player4, n%flows), openPort), 1)
		}
		if passed != 2000 {
			t.Errorf("%d packets of a burst of 2000 passed, by %d flows", passed, flows)
		}
	}
}

// What a flow borrowed and did not use goes back: 64 flows of small appetite together get what the source may have.
func TestLoansGoBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(basePlan(), "open", func(s *loader.Service) { s.Limits.Packets, s.Limits.PacketBurst = 100, 2560 }))
	var flows []packet.Packet
	for n := range 64 {
		flows = append(flows, hello(port(player4, n), openPort)) // each borrows ten
	}
	if passed := w.offer(t, flows, 150*time.Millisecond, 6*time.Second); passed != 40*64 {
		t.Errorf("%d packets passed of %d, which are no more than the burst", passed, 40*64)
	}
}

// A packet that is refused for its bytes costs nothing: small ones still pass.
func TestRefusedPacketCostsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(basePlan(), "open", func(s *loader.Service) {
		s.Limits.Packets, s.Limits.PacketBurst = 1, 2560
		s.Limits.Bytes, s.Limits.ByteBurst = 1, 100_000
	}))
	small := hello(player4, openPort).With(func(p *packet.Packet) { p.Payload = make([]byte, 72) }) // 100 bytes
	large := small.With(func(p *packet.Packet) { p.Payload = make([]byte, 1372) })
	w.spend(t, large, 71) // 99,400 bytes
	if n := w.spend(t, large, 1000); n != 0 {
		t.Errorf("%d large packets passed", n)
	}
	if n := w.spend(t, small, 10); n != 6 { // two of a hundred were not affordable by large ones, and four more
		t.Errorf("%d small packets passed, not 6", n)
	}
}

// Ten new sessions a minute are ten at once and then one each six seconds, whatever was refused between.
func TestNewSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limitPlan())
	for n := range 100 {
		want := outcome{verdict: "tx", service: "news"}
		if n >= 10 {
			want = outcome{verdict: "drop", reason: "rate_sessions", service: "news"}
		}
		w.send(t, hello(port(player4, n), newsPort).Bytes(), want, nil)
	}
	w.send(t, hello(other4, newsPort).Bytes(), outcome{verdict: "tx", service: "news"}, nil)               // another source
	w.send(t, hello(port(player4, 500), crowdPort).Bytes(), outcome{verdict: "tx", service: "crowd"}, nil) // another service
	w.pass(t, 5900*time.Millisecond)
	w.send(t, hello(port(player4, 200), newsPort).Bytes(), outcome{verdict: "drop", reason: "rate_sessions", service: "news"}, nil)
	w.pass(t, 110*time.Millisecond)
	w.send(t, hello(port(player4, 200), newsPort).Bytes(), outcome{verdict: "tx", service: "news"}, nil)
	w.send(t, hello(port(player4, 201), newsPort).Bytes(), outcome{verdict: "drop", reason: "rate_sessions", service: "news"}, nil)
}

// Limits count admitted attempts: those that are refused for another reason don't use them up.
func TestRefusedAttemptsDontCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limitPlan())
	var s loader.Session
	for n := range 3 {
		s = w.begin(t, hello(port(player4, n), crowdPort))
	}
	for n := range 50 {
		w.send(t, hello(port(player4, 3+n), crowdPort).Bytes(), outcome{verdict: "drop", reason: "too_many_sessions", service: "crowd"}, nil)
	}
	w.kill(t, s)
	w.pass(t, 1100*time.Millisecond)
	w.sweep(t)
	w.send(t, hello(port(player4, 100), crowdPort).Bytes(), outcome{verdict: "tx", service: "crowd"}, nil)
	w.send(t, hello(port(player4, 101), crowdPort).Bytes(), outcome{verdict: "drop", reason: "too_many_sessions", service: "crowd"}, nil)
	for n := range 50 {
		w.send(t, hello(port(player4, n), farPort).Bytes(), outcome{verdict: "drop", reason: "no_server", service: "far"}, nil)
	}
}

// An allow entry that says unlimited lifts its limits, for a live session at its next packet; and they are back when
// it goes.
func TestUnlimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limitPlan())
	free := allow("192.0.2.1/32")
	free.free = true
	up := hello(player4, packetsPort)
	w.spend(t, up, 50)
	w.send(t, up.Bytes(), outcome{verdict: "drop", reason: "rate_packets", service: "packets"}, nil)
	w.list(t, allow("192.0.2.1/32")) // without unlimited, limits still hold for the allowed
	w.send(t, up.Bytes(), outcome{verdict: "drop", reason: "rate_packets", service: "packets"}, nil)
	w.list(t, free)
	w.quietly(t, up.Bytes()) // learns of it
	if n := w.spend(t, up, 200); n != 200 {
		t.Errorf("%d packets of 200 passed", n)
	}
	for n := range 20 {
		w.send(t, hello(port(player4, 100+n), newsPort).Bytes(), outcome{verdict: "tx", service: "news"}, nil)
		w.send(t, hello(port(player4, 200+n), crowdPort).Bytes(), outcome{verdict: "tx", service: "crowd"}, nil)
	}
	w.unlist(t, free)
	w.quietly(t, up.Bytes())
	if n := w.spend(t, up, 200); n != 0 {
		t.Errorf("%d packets passed after the entry went", n)
	}
}

// What servers send is not the player's to answer for.
func TestServersAreNotLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limitPlan())
	s := w.begin(t, hello(player4, packetsPort))
	if n := w.spend(t, reply(s, "an answer"), 300); n != 300 {
		t.Errorf("%d of 300 answers passed", n)
	}
	heartbeat := packet.NewUDP(s.Server, at(other4.Addr(), 1), "heartbeat")
	for n := range 30 {
		heartbeat.To = at(other4.Addr(), uint16(1+n))
		if r := w.quietly(t, heartbeat.Bytes()); r.Verdict != "tx" {
			t.Fatalf("first word %d: %s %s", n, r.Verdict, r.Reason)
		}
	}
}

// A reload that draws sources' borders anew loses no count: sessions are counted where they began.
func TestReloadChangesThePrefix(t *testing.T) {
	t.Parallel()
	plan := func(prefix uint8) *loader.Plan {
		return with(basePlan(), "open", func(s *loader.Service) {
			s.Limits = loader.Limits{Packets: 1000, PacketBurst: 100, Sessions: 3, Prefix4: prefix, Prefix6: 64}
		})
	}
	w := newWorld(t, plan(32))
	first := hello(player4, openPort)
	w.begin(t, first)
	w.load(t, plan(24))
	if n := w.spend(t, first, 150); n != 99 {
		t.Errorf("%d packets passed after the reload, not the 99 that were left", n)
	}
	if f := w.counts(t).Faults; f["source_missing"] != 0 {
		t.Errorf("faults: %v", f)
	}
	w.clear(t)
}

// A loan is spent by the CPU that took it. Another draws on the source itself, to the last packet that it may have.
func TestLoanIsItsCPUs(t *testing.T) {
	t.Parallel()
	const burst, batch = 2560, 10
	for _, player := range []netip.AddrPort{player4, player6} {
		w := newWorld(t, with(basePlan(), "open", func(s *loader.Service) { s.Limits.Packets, s.Limits.PacketBurst = 1, burst }))
		p := hello(player, openPort)
		begun := w.spend(t, p, 2)
		w.onCPU(t, 1)
		there := w.spend(t, p, burst)
		if again := w.spend(t, p, 1); again != 0 {
			t.Error("a packet passed that is another CPU's")
		}
		w.onCPU(t, 0)
		here := w.spend(t, p, burst)
		if begun+there+here != burst || here == 0 || here >= batch {
			t.Errorf("%d, %d and %d packets passed of a burst of %d, %d at a time", begun, there, here, burst, batch)
		}
	}
}

// What a CPU borrowed and did not use is returned by another, but not while the first may still be spending of it.
func TestLapsedLoanIsAnyones(t *testing.T) {
	t.Parallel()
	const burst, batch, refilled = 2560, 10, 2
	for _, row := range []struct {
		name    string
		silence time.Duration
		left    bool // to the CPU that borrowed it
	}{
		{"not lapsed", 2 * time.Second, true},
		{"lapsed a moment ago", 2200 * time.Millisecond, true},
		{"lapsed", 2400 * time.Millisecond, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, with(basePlan(), "open", func(s *loader.Service) { s.Limits.Packets, s.Limits.PacketBurst = 1, burst }))
			p := hello(player4, openPort)
			begun := w.spend(t, p, batch+batch/2)
			w.pass(t, row.silence)
			w.onCPU(t, 1)
			there := w.spend(t, p, 2*burst)
			w.onCPU(t, 0)
			here := w.spend(t, p, burst)
			if begun+there+here != burst+refilled || (here > 0) != row.left || here >= batch {
				t.Errorf("%d passed, %d on the other CPU, %d then here: not %d in all, or not whose they were", begun, there, here, burst+refilled)
			}
		})
	}
}

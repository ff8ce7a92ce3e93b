// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// onePlan has NAT on the services' own address, as a host with one address must, and a service within NAT's range.
func onePlan() *loader.Plan {
	p := basePlan()
	for i := range p.Pools {
		for j := range p.Pools[i].Servers {
			s := &p.Pools[i].Servers[j]
			s.NAT = []netip.Addr{vip4}
			if s.Addr.Is6() {
				s.NAT = []netip.Addr{vip6}
			}
		}
	}
	p.NATPorts = [2]uint16{natFirst, natFirst + 9}
	p.Services = append(p.Services, service("within", loader.Transparent, "open", natFirst+4))
	return p
}

// A service's port is never given out, and its players are never taken for servers that answer.
func TestNATOnTheServicesAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onePlan())
	for _, player := range []netip.AddrPort{player4, player6} {
		given := map[uint16]bool{}
		for n := range 9 {
			s := w.begin(t, hello(port(player, n), natPort))
			given[s.Face.Port()] = true
			back := reply(s, "an answer")
			w.send(t, back.Bytes(), outcome{verdict: "tx", service: "nat", down: true}, returned(back, s).Bytes())
		}
		if len(given) != 9 || given[natFirst+4] {
			t.Errorf("gave out %v", given)
		}
		w.send(t, hello(port(player, 9), natPort).Bytes(), outcome{verdict: "drop", reason: "no_port", service: "nat"}, nil)
		in := hello(player, natFirst+4)
		w.send(t, in.Bytes(), outcome{verdict: "tx", service: "within"}, nil)
		all := w.sessions(t)
		s := all[slices.IndexFunc(all, func(s loader.Session) bool { return s.Front == in.To })]
		w.send(t, in.Bytes(), outcome{verdict: "tx", service: "within"}, forwarded(in, s).Bytes())
		// A stranger who sends to a port that is in use is no server: the host's.
		stray := packet.NewUDP(at(other4.Addr(), gamePort), at(vip4, natFirst), "x")
		w.send(t, stray.Bytes(), outcome{verdict: "pass"}, nil)
	}
}

// A reload may put a service on a port by which somebody plays: both go on.
func TestServiceComesToAPortInUse(t *testing.T) {
	t.Parallel()
	plan := onePlan()
	plan.Services = plan.Services[:len(plan.Services)-1]
	w := newWorld(t, plan)
	first := hello(player4, natPort)
	s := w.prove(t, first)
	late := onePlan()
	late.Services[len(late.Services)-1].Fronts = fronts(s.Face.Port(), s.Face.Port(), 0)
	w.load(t, late)
	w.send(t, first.Bytes(), outcome{verdict: "tx", service: "nat"}, forwarded(first, s).Bytes())
	back := reply(s, "an answer")
	w.send(t, back.Bytes(), outcome{verdict: "tx", service: "nat", down: true}, returned(back, s).Bytes())
	in := hello(other4, s.Face.Port())
	w.send(t, in.Bytes(), outcome{verdict: "tx", service: "within"}, nil)
	w.send(t, in.Bytes(), outcome{verdict: "tx", service: "within"}, forwarded(in, w.session(t, other4)).Bytes())
	w.clear(t)
}

// A server that several NAT addresses may face gets the ports of all of them before a player is refused.
func TestSeveralNATAddresses(t *testing.T) {
	t.Parallel()
	second := netip.MustParseAddr("203.0.113.21")
	plan := basePlan()
	plan.NATPorts = [2]uint16{natFirst, natFirst + 9}
	plan.Pools[0].Servers[0].NAT = []netip.Addr{nat4, second}
	w := newWorld(t, plan)
	faces := map[netip.AddrPort]bool{}
	by := map[netip.Addr]int{}
	for n := range 20 {
		s := w.begin(t, hello(client(n), natPort))
		faces[s.Face] = true
		by[s.Face.Addr()]++
		back := reply(s, "an answer")
		w.send(t, back.Bytes(), outcome{verdict: "tx", service: "nat", down: true}, returned(back, s).Bytes())
	}
	if len(faces) != 20 || by[nat4] != 10 || by[second] != 10 {
		t.Errorf("faces: %v", by)
	}
	w.send(t, hello(client(20), natPort).Bytes(), outcome{verdict: "drop", reason: "no_port", service: "nat"}, nil)
	w.clear(t)
}

// Ticks wrap after 52 days: nobody notices.
func TestTicksWrap(t *testing.T) {
	t.Parallel()
	one := basePlan()
	one.NATPorts = [2]uint16{natFirst, natFirst}
	w := newWorld(t, with(one, "nat", func(s *loader.Service) { s.Limits.Packets, s.Limits.PacketBurst = 100, 50 }))
	w.env.Now = time.Duration(1<<32-2000) << 20 // two seconds before
	must(t, w.edge.SetEnv(w.env))
	first := hello(player4, natPort)
	s := w.prove(t, first)
	part := datagram(first).Fragments(theirID, 1000)
	w.quietly(t, part[0])
	for range 4 {
		w.pass(t, time.Second)
		if got := w.sweep(t); got.Ended != 0 {
			t.Fatalf("%+v", got)
		}
		w.send(t, first.Bytes(), outcome{verdict: "tx", service: "nat"}, forwarded(first, s).Bytes())
		w.send(t, part[1], outcome{verdict: "tx", service: "nat"}, nil)
	}
	if got := w.session(t, player4); got.Age < 3900*time.Millisecond || got.Age > 5*time.Second || got.Idle > time.Second {
		t.Errorf("age %v, idle %v", got.Age, got.Idle)
	}
	w.pass(t, time.Minute)
	if got := w.sweep(t); got.Ended != 1 {
		t.Fatalf("%+v", got)
	}
	w.env.Now = time.Duration(1<<33-1000) << 20 // once more, in the closing second
	must(t, w.edge.SetEnv(w.env))
	w.send(t, first.Bytes(), outcome{verdict: "tx", service: "nat"}, forwarded(first, s).Bytes())
	w.kill(t, s)
	w.pass(t, 1100*time.Millisecond)
	if got := w.sweep(t); got.Deleted != 1 {
		t.Fatalf("%+v", got)
	}
	w.send(t, hello(other4, natPort).Bytes(), outcome{verdict: "drop", reason: "no_port", service: "nat"}, nil)
	w.pass(t, 31*time.Second)
	w.send(t, hello(other4, natPort).Bytes(), outcome{verdict: "tx", service: "nat"}, nil)
	w.clear(t)
}

// Jumbo frames come in several buffers: headers are in the first.
func TestJumboFrames(t *testing.T) {
	t.Parallel()
	plan := basePlan()
	plan.Frags = true
	w := newWorld(t, plan)
	h := wire
	h.Gateway, h.MTU = netip.MustParseAddr("203.0.113.4"), 9000
	w.hop(t, h)
	w.leadTo(t, h.HopKey)
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			s := w.prove(t, m.first)
			up, down := m.first, reply(s, "")
			for _, n := range []int{100, 4000, 8000} {
				p := up.With(func(p *packet.Packet) { p.Flags, p.Payload = packet.ACK, make([]byte, n) })
				w.send(t, p.Bytes(), outcome{verdict: "tx", service: m.service}, forwarded(p, s).Bytes())
				q := down.With(func(p *packet.Packet) { p.Payload = make([]byte, n) })
				w.send(t, q.Bytes(), outcome{verdict: "tx", service: m.service, down: true}, returned(q, s).Bytes())
			}
			over := up.With(func(p *packet.Packet) { p.Flags, p.Payload = packet.ACK, make([]byte, 8990) })
			v, _ := packet.Look(over.Bytes())
			w.send(t, over.Bytes(), outcome{verdict: "tx", reason: "too_big", service: m.service}, tooBig(over, s.Front.Addr(), 9000, v.L4-v.L3+8).Bytes())
			w.kill(t, s)
			w.pass(t, 1100*time.Millisecond)
			w.sweep(t)
		})
	}
}

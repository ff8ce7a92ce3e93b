// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// full is a table that is filled up, by whose sessions, and what the next stranger hears. Who plays already notices
// nothing.
type full struct {
	name    string
	plan    func() *loader.Plan
	sizes   func(*loader.Sizes)
	fill    func(*testing.T, *world)
	first   func(netip.AddrPort) packet.Packet
	want    outcome
	players []netip.AddrPort // who are in sessions already; the first of each family
}

func fulls() []full {
	few := func() *loader.Plan { p := basePlan(); p.NATPorts = [2]uint16{natFirst, natFirst + 7}; return p }
	toNAT := func(c netip.AddrPort) packet.Packet { return hello(c, natPort) }
	toOpen := func(c netip.AddrPort) packet.Packet { return hello(c, openPort) }
	others := func(n int, first func(netip.AddrPort) packet.Packet, far func(int) netip.AddrPort) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for i := range n {
				w.begin(t, first(far(i)))
			}
		}
	}
	return []full{
		{"sessions", basePlan, func(s *loader.Sizes) { s.Sessions = 8 }, others(7, toNAT, client), toNAT,
			outcome{verdict: "drop", reason: "sessions_full", service: "nat"}, []netip.AddrPort{player4}},
		{"sessions, IPv6", basePlan, func(s *loader.Sizes) { s.Sessions = 8 }, others(7, toNAT, client6), toNAT,
			outcome{verdict: "drop", reason: "sessions_full", service: "nat"}, []netip.AddrPort{player6}},
		{"sessions, two entries each", basePlan, func(s *loader.Sizes) { s.Sessions = 8 }, others(3, toOpen, client), toOpen,
			outcome{verdict: "drop", reason: "sessions_full", service: "open"}, []netip.AddrPort{player4}},
		{"sessions, two entries each and one left", basePlan, func(s *loader.Sizes) { s.Sessions = 9 }, others(3, toOpen, client), toOpen,
			outcome{verdict: "drop", reason: "sessions_full", service: "open"}, []netip.AddrPort{player4}},
		{"sources", basePlan, func(s *loader.Sizes) { s.Sources = 8 }, others(7, toNAT, client), toNAT,
			outcome{verdict: "drop", reason: "sources_full", service: "nat"}, []netip.AddrPort{player4}},
		{"sources, IPv6", basePlan, func(s *loader.Sizes) { s.Sources = 8 }, others(7, toNAT, client6), toNAT,
			outcome{verdict: "drop", reason: "sources_full", service: "nat"}, []netip.AddrPort{player6}},
		{"ports", few, nil, others(7, toNAT, client), toNAT,
			outcome{verdict: "drop", reason: "no_port", service: "nat"}, []netip.AddrPort{player4}},
		{"ports, IPv6", few, nil, others(7, toNAT, client6), toNAT,
			outcome{verdict: "drop", reason: "no_port", service: "nat"}, []netip.AddrPort{player6}},
	}
}

// client6 is the n-th of many players, each of a /64 of its own.
func client6(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xf, 0, byte(n >> 8), byte(n), 15: 1}), uint16(40000+n%20000))
}

func fullGroups() []group {
	var all []group
	for _, f := range fulls() {
		sizes := smallSizes()
		if f.sizes != nil {
			f.sizes(&sizes)
		}
		stranger := client(999)
		if f.players[0].Addr().Is6() {
			stranger = client6(999)
		}
		var before string
		all = append(all, group{name: "TestFull", plan: f.plan, sizes: func() loader.Sizes { return sizes }, rows: []row{{
			name: f.name,
			set: func(t *testing.T, w *world) {
				for _, p := range f.players {
					w.prove(t, f.first(p))
				}
				f.fill(t, w)
				before = w.text(w.session(t, f.players[0]))
			},
			in: is(f.first(stranger).Bytes()), want: f.want,
			after: func(t *testing.T, w *world) {
				w.quietly(t, f.first(stranger).Bytes(), f.first(client(998)).Bytes(), f.first(client6(998)).Bytes())
				w.wantPorts(t)
				for _, p := range f.players {
					if now := w.text(w.session(t, p)); now != before {
						t.Errorf("%v's session was %s, is %s", p, before, now)
					}
					s := w.session(t, p)
					up, down := f.first(p), reply(s, "still there?")
					w.send(t, up.Bytes(), outcome{verdict: "tx", service: f.want.service}, forwarded(up, s).Bytes())
					w.send(t, down.Bytes(), outcome{verdict: "tx", service: f.want.service, down: true}, returned(down, s).Bytes())
				}
				// One that leaves makes room for one.
				w.kill(t, w.session(t, sameFamily(f.players[0], 0)))
				w.pass(t, 1100*time.Millisecond)
				w.sweep(t)
				w.pass(t, 31*time.Second) // a port rests
				w.quietly(t, f.first(f.players[0]).Bytes())
				w.sweep(t)
				w.pass(t, 1100*time.Millisecond)
				w.sweep(t)
				w.send(t, f.first(stranger).Bytes(), outcome{verdict: "tx", service: f.want.service}, nil)
			},
		}}})
	}
	return all
}

func sameFamily(c netip.AddrPort, n int) netip.AddrPort {
	if c.Addr().Is6() {
		return client6(n)
	}
	return client(n)
}

func TestFull(t *testing.T) {
	t.Parallel()
	for _, g := range fullGroups() {
		g.run(t)
	}
}

// Where no more next hops can be kept, a new session's packets go the way that the kernel tells for each.
func TestHopsFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	playing := w.prove(t, hello(other4, natPort))
	edge, err := w.edge.Peek("edge", make([]byte, 4))
	must(t, err)
	binary.NativeEndian.PutUint32(edge[4:], 2047)
	must(t, w.edge.Poke("edge", make([]byte, 4), edge))
	w.neighbour(t, [6]byte{2, 0, 0, 0, 9, 9})
	w.leadTo(t, loader.HopKey{Ifindex: 1, Gateway: netip.MustParseAddr("203.0.113.77")})
	w.pass(t, 3*time.Second) // a server's way is asked for anew after two
	once := wire
	once.Dst = w.env.Dst
	for _, player := range []netip.AddrPort{player4, player6} {
		p := hello(player, natPort)
		// Asked for both ways when the session begins, and for this packet.
		w.send(t, p.Bytes(), outcome{verdict: "tx", service: "nat", fault: "hops_full", faults: 3}, nil)
		s := w.session(t, player)
		w.send(t, p.Bytes(), outcome{verdict: "tx", service: "nat", fault: "hops_full"}, sent(p, once, s.Face, s.Server).Bytes())
		back := reply(s, "an answer")
		w.send(t, back.Bytes(), outcome{verdict: "tx", service: "nat", fault: "hops_full", down: true}, sent(back, once, s.Front, s.Client).Bytes())
		parts := datagram(p).Fragments(theirID, 1000)
		w.send(t, parts[0], outcome{verdict: "tx", service: "nat", fault: "hops_full"}, nil)
		w.send(t, parts[1], outcome{verdict: "tx", service: "nat", fault: "hops_full"}, nil)
	}
	up := hello(other4, natPort) // looks again, and keeps what it has
	w.send(t, up.Bytes(), outcome{verdict: "tx", service: "nat", fault: "hops_full"}, forwarded(up, playing).Bytes())
	// The kernel does not know the neighbour: nothing stale is used.
	w.neighbour(t, [6]byte{})
	w.leadTo(t, loader.HopKey{Ifindex: 1, Gateway: netip.MustParseAddr("203.0.113.78")})
	w.send(t, hello(player4, natPort).Bytes(), outcome{verdict: "drop", reason: "no_neighbor", service: "nat", fault: "hops_full"}, nil)
}

// neighbour has the kernel know a link address for every way, or none.
func (w *world) neighbour(t *testing.T, mac [6]byte) {
	t.Helper()
	env, err := w.edge.Env()
	must(t, err)
	env.Dst, env.Src = mac, packet.EdgeSide
	w.env = env
	must(t, w.edge.SetEnv(env))
}

// The kernel's word on a neighbour is written into the hop at the next look: play goes on while the daemon is dead.
func TestNeighbourMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	s := w.prove(t, hello(player4, natPort))
	for n := range 3 {
		w.neighbour(t, [6]byte{2, 0, 0, 0, 7, byte(n)})
		w.pass(t, 3*time.Second)
		moved := wire
		moved.Dst = w.env.Dst
		up := hello(player4, natPort)
		w.send(t, up.Bytes(), outcome{verdict: "tx", service: "nat"}, sent(up, moved, s.Face, s.Server).Bytes())
	}
}

// A route that leads out by a link which XDP can't send by is none.
func TestRouteByUnknownLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	w.leadTo(t, loader.HopKey{Ifindex: 4242, Gateway: netip.MustParseAddr("203.0.113.5")})
	for _, p := range []netip.AddrPort{player4, player6} {
		w.send(t, hello(p, natPort).Bytes(), outcome{verdict: "drop", reason: "no_route", service: "nat"}, nil)
	}
	w.clear(t)
}

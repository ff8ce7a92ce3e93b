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

// fragID is a fragment's identification.
func fragID(frame []byte) uint32 {
	v, err := packet.Look(frame)
	if err != nil {
		panic(err)
	}
	if v.Version == 4 {
		return uint32(binary.BigEndian.Uint16(frame[v.L3+4:]))
	}
	return binary.BigEndian.Uint32(frame[v.L4-4:])
}

// datagram is a player's that is longer than its way's MTU.
func datagram(p packet.Packet) packet.Packet {
	return p.With(func(p *packet.Packet) {
		p.Payload = make([]byte, 2501)
		for i := range p.Payload {
			p.Payload[i] = byte(i)
		}
	})
}

// A session's fragments follow its first in both directions of every mode, and make the datagram that they were.
func TestFragments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			defer w.clear(t)
			s := w.prove(t, m.first)
			up := datagram(m.first.With(func(p *packet.Packet) { p.Flags = packet.ACK }))
			w.sendFragments(t, up, forwarded(up, s), outcome{verdict: "tx", service: m.service}, s)
			down := datagram(reply(s, ""))
			w.sendFragments(t, down, returned(down, s), outcome{verdict: "tx", service: m.service, down: true}, s)
			if udp(up) && v4(up) {
				up.NoSum = true
				w.sendFragments(t, up, forwarded(up, s), outcome{verdict: "tx", service: m.service}, s)
			}
		})
	}
}

const theirID = 0x5a5a

func (w *world) sendFragments(t *testing.T, in, out packet.Packet, want outcome, s loader.Session) {
	t.Helper()
	id := uint32(theirID)
	var left [][]byte
	for i, f := range in.Fragments(theirID, 1000) {
		r := w.send(t, f, want, nil)
		if i == 0 {
			if id = fragID(r.Out); (id == theirID) != (want.service == "open") {
				t.Errorf("leaves with ID %#x", id)
			}
		}
		if wanted := out.Fragments(id, 1000)[i]; string(r.Out) != string(wanted) {
			t.Errorf("fragment %d leaves as\n%x\nnot\n%x", i, r.Out, wanted)
		}
		left = append(left, r.Out)
	}
	if err := packet.CheckDatagram(left); err != nil {
		t.Error(err)
	}
}

// Equal IDs of two players' datagrams would merge at the server: under NAT no two are equal.
func TestFragmentIDsUnderNAT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, players := range [][2]netip.AddrPort{{player4, other4}, {player6, other6}} {
		ids := map[uint32]bool{}
		for _, p := range players {
			for range 3 {
				r := w.quietly(t, datagram(hello(p, natPort)).Fragments(theirID, 1000)[0])
				ids[fragID(r.Out)] = true
			}
		}
		if len(ids) != 6 {
			t.Errorf("six datagrams left with %d IDs", len(ids))
		}
	}
}

func TestFragmentRows(t *testing.T) { fragmentGroup().run(t) }

func fragmentGroup() group {
	g := group{name: "TestFragmentRows", plan: fragmentPlan}
	orphan := outcome{verdict: "drop", reason: "fragment_orphan"}
	for _, player := range []netip.AddrPort{player4, player6} {
		v := player.Addr().String()
		parts := datagram(hello(player, natPort)).Fragments(theirID, 1000)
		first := func(t *testing.T, w *world) { w.quietly(t, parts[0]) }
		add := func(name string, set func(*testing.T, *world), in []byte, want outcome) {
			g.rows = append(g.rows, row{name: v + " " + name, set: set, in: is(in), want: want,
				after: func(t *testing.T, w *world) { w.unlistAll(t) }})
		}
		forwards := outcome{verdict: "tx", service: "nat"}
		add("a later one, its first unseen", nil, parts[1], orphan)
		add("the last one, its first unseen", nil, parts[2], orphan)
		add("the last one before the middle one", first, parts[2], forwards)
		add("of another datagram", first, datagram(hello(player, natPort)).Fragments(theirID+1, 1000)[1], orphan)
		add("of another protocol", first, datagram(syn(player, natPort)).Fragments(theirID, 1000)[1], orphan)
		add("of another player", first, datagram(hello(netip.AddrPortFrom(player.Addr().Next(), 1), natPort)).Fragments(theirID, 1000)[1], orphan)
		add("nine seconds late", func(t *testing.T, w *world) { first(t, w); w.pass(t, 9*time.Second) }, parts[1], forwards)
		add("eleven seconds late", func(t *testing.T, w *world) { first(t, w); w.pass(t, 11*time.Second) }, parts[1], orphan)
		add("its first was refused", func(t *testing.T, w *world) {
			w.list(t, deny(netip.PrefixFrom(player.Addr(), player.Addr().BitLen()).String()))
			first(t, w)
		}, parts[1], orphan)
		add("its first was dropped for its TTL", func(t *testing.T, w *world) {
			w.quietly(t, datagram(hello(player, natPort)).With(func(p *packet.Packet) { p.TTL = 1 }).Fragments(theirID, 1000)[0])
		}, parts[1], orphan)
		add("its first was too big for the next hop", func(t *testing.T, w *world) {
			w.narrow(t, 600)
			first(t, w)
		}, parts[2], orphan)
		add("is too big for the next hop itself", func(t *testing.T, w *world) {
			w.narrow(t, 600)
			w.quietly(t, datagram(hello(player, natPort)).Fragments(theirID, 400)[0])
		}, datagram(hello(player, natPort)).Part(theirID, 400, 1000, true), outcome{verdict: "drop", reason: "too_big", service: "nat"})
		add("with a TTL of 1", first, datagram(hello(player, natPort)).With(func(p *packet.Packet) { p.TTL = 1 }).Fragments(theirID, 1000)[1],
			outcome{verdict: "drop", reason: "ttl", service: "nat"})
		pings := longPing(player).Fragments(theirID, 1000)
		add("of a ping to a service's address", func(t *testing.T, w *world) { w.quietly(t, pings[0]) }, pings[1], outcome{verdict: "pass"})
		add("of a ping whose first was unseen", nil, pings[1], orphan)
		add("of a ping whose first was refused", func(t *testing.T, w *world) {
			spendHost(t, w)
			w.quietly(t, pings[0])
			w.pass(t, time.Second)
		}, pings[1], orphan)
		add("of a ping, over the host's budget", func(t *testing.T, w *world) {
			w.quietly(t, pings[0])
			spendHost(t, w)
		}, pings[1], outcome{verdict: "drop", reason: "host_rate"})
		local := datagram(hello(player, localPort)).Fragments(theirID, 1000)
		add("for the host's own server", func(t *testing.T, w *world) { w.quietly(t, local[0]) }, local[1], outcome{verdict: "pass", service: "local"})
		add("for a service that takes packets up to 1200", func(t *testing.T, w *world) {
			w.quietly(t, datagram(hello(player, smallPort)).Fragments(theirID, 400)[0])
		}, datagram(hello(player, smallPort)).Part(theirID, 400, 1400, false), outcome{verdict: "drop", reason: "packet_size", service: "small"})
	}
	g.rows = append(g.rows, fragmentLimitRows()...)
	g.rows = append(g.rows, strangersFragmentRows(player4)...)
	g.rows = append(g.rows, strangersFragmentRows(player6)...)
	return g
}

// A service says whether a stranger's first fragment may begin a session. Those of a session follow it.
func strangersFragmentRows(player netip.AddrPort) []row {
	v := player.Addr().String()
	whole := datagram(hello(player, wholePort)).Fragments(theirID, 1000)
	watched := datagram(hello(player, watchedPort)).Fragments(theirID, 1000)
	alone := func(t *testing.T, w *world) { w.wantSessions(t, 0) }
	return []row{
		{name: v + " a stranger's", in: is(whole[0]), want: outcome{verdict: "drop", reason: "fragment_refused", service: "whole"}, after: alone},
		{name: v + " a stranger's later one", set: func(t *testing.T, w *world) { w.quietly(t, whole[0]) },
			in: is(whole[1]), want: outcome{verdict: "drop", reason: "fragment_orphan"}, after: alone},
		{name: v + " a player's", set: func(t *testing.T, w *world) { w.prove(t, hello(player, wholePort)) },
			in: is(whole[0]), want: outcome{verdict: "tx", service: "whole"}},
		{name: v + " a player's later one", set: func(t *testing.T, w *world) {
			w.prove(t, hello(player, wholePort))
			w.quietly(t, whole[0])
		}, in: is(whole[1]), want: outcome{verdict: "tx", service: "whole"}},
		{name: v + " a stranger's, only watched", in: is(watched[0]),
			want: outcome{verdict: "tx", shadow: "fragment_refused", service: "watched"}},
	}
}

const (
	wholePort   = 27973
	watchedPort = 27974
)

// longPing is a ping to a service's address that needs fragments.
func longPing(player netip.AddrPort) packet.Packet {
	ping := packet.NewICMP(player.Addr(), vip(player, 0).Addr(), 8, 0, 1, make([]byte, 2500))
	if v6(ping) {
		ping.Type = 128
	}
	return ping
}

// A later one draws on its source's buckets as any packet does.
func fragmentLimitRows() []row {
	flood := datagram(hello(player4, packetsPort)).Fragments(theirID, 1000)
	bytes := datagram(hello(player4, bytesPort)).Fragments(theirID, 1000)
	return []row{
		{name: "over the source's packets", set: func(t *testing.T, w *world) {
			w.quietly(t, flood[0])
			spendFrames(49, flood[1])(t, w)
		}, in: is(flood[2]), want: outcome{verdict: "drop", reason: "rate_packets", service: "packets"}},
		{name: "within the source's packets", set: func(t *testing.T, w *world) {
			w.quietly(t, flood[0])
			spendFrames(48, flood[1])(t, w)
		}, in: is(flood[2]), want: outcome{verdict: "tx", service: "packets"}},
		{name: "over the source's bytes", set: func(t *testing.T, w *world) { w.quietly(t, bytes[0]) },
			in: is(bytes[1]), want: outcome{verdict: "drop", reason: "rate_bytes", service: "bytes"}},
	}
}

func fragmentPlan() *loader.Plan {
	p := limitPlan()
	small := service("small", loader.NAT, "nat", smallPort)
	small.MaxPacket = 1200
	whole := service("whole", loader.NAT, "nat", wholePort)
	whole.Fragments = false
	watched := service("watched", loader.NAT, "nat", watchedPort)
	watched.Fragments, watched.Enforce = false, false
	p.Services = append(p.Services, small, whole, watched)
	return p
}

// narrow has everything leave by a hop of a smaller MTU.
func (w *world) narrow(t *testing.T, mtu int) {
	t.Helper()
	h := wire
	h.Gateway = netip.AddrFrom4([4]byte{203, 0, 113, 9})
	h.MTU = mtu
	w.hop(t, h)
	w.leadTo(t, h.HopKey)
}

// Every part of a datagram counts for its session, and what is left of one is nobody's once the session is over.
func TestLaterFragmentsAreTheSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			defer w.clear(t)
			s := w.prove(t, m.first)
			up := datagram(m.first.With(func(p *packet.Packet) { p.Flags = packet.ACK }))
			before := w.session(t, s.Client)
			parts := up.Fragments(theirID, 1000)
			bytes := uint64(0)
			for _, part := range parts {
				w.send(t, part, outcome{verdict: "tx", service: m.service}, nil)
				bytes += uint64(len(part) - 14)
			}
			after := w.session(t, s.Client)
			want := loader.Direction{Packets: before.Up.Packets + uint64(len(parts)), Bytes: before.Up.Bytes + bytes}
			if after.Up != want {
				t.Errorf("the session counts %+v, not %+v", after.Up, want)
			}
			w.kill(t, after)
			w.send(t, parts[1], outcome{verdict: "drop", reason: "fragment_orphan"}, nil)
		})
	}
}

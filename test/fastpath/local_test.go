// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// hosted is what this host's own server answers.
func hosted(client netip.AddrPort, payload string) packet.Packet {
	p := packet.NewUDP(vip(client, localPort), client, payload)
	p.Dst, p.Src = packet.ClientSide, packet.EdgeSide
	return p
}

// A local service's packets go up unchanged; its answers are seen as they leave; both count for the session.
func TestLocal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, player := range []netip.AddrPort{player4, player6} {
		t.Run(player.String(), func(t *testing.T) {
			defer w.clear(t)
			in, out := hello(player, localPort), hosted(player, "an answer")
			n, m := in.Len(), out.Len()
			w.send(t, in.Bytes(), outcome{verdict: "pass", service: "local"}, nil)
			w.wantSession(t, player, fmt.Sprintf("local unproven up 1/%d down 0/0", n))
			w.answer(t, out.Bytes(), 1, outcome{verdict: "pass", service: "local", down: true})
			w.wantSession(t, player, fmt.Sprintf("local unproven up 1/%d down 1/%d", n, m))
			w.send(t, in.With(func(p *packet.Packet) { p.TTL = 1 }).Bytes(), outcome{verdict: "pass", service: "local"}, nil) // it has arrived
			w.wantSession(t, player, fmt.Sprintf("local proven up 2/%d down 1/%d", 2*n, m))
			e := deny(netip.PrefixFrom(player.Addr(), player.Addr().BitLen()).String())
			w.list(t, e)
			w.send(t, in.Bytes(), outcome{verdict: "drop", reason: "denied", service: "local"}, nil)
			w.answer(t, out.Bytes(), 1, outcome{verdict: "drop", reason: "denied", service: "local", down: true})
			w.unlist(t, e)
			w.answer(t, out.Bytes(), 1, outcome{verdict: "pass", service: "local", down: true})
			w.send(t, in.Bytes(), outcome{verdict: "pass", service: "local"}, nil)
		})
	}
}

// What the local server says first begins a session, so that the answer is admitted whoever the service takes.
func TestLocalSpeaksFirst(t *testing.T) {
	t.Parallel()
	plan := with(basePlan(), "local", func(s *loader.Service) { s.Limits.Sessions, s.Limits.NewSessions, s.Limits.Window = 1, 1, time.Hour })
	w := newWorld(t, plan)
	for _, player := range []netip.AddrPort{player4, player6} {
		t.Run(player.String(), func(t *testing.T) {
			defer w.clear(t)
			in, out := hello(player, localPort), hosted(player, "heartbeat")
			w.answer(t, out.Bytes(), 1, outcome{verdict: "pass", service: "local", down: true})
			w.wantSession(t, player, fmt.Sprintf("local unproven up 0/0 down 1/%d server-started", out.Len()))
			w.send(t, in.Bytes(), outcome{verdict: "pass", service: "local"}, nil)
			w.wantSession(t, player, fmt.Sprintf("local proven up 1/%d down 1/%d server-started", in.Len(), out.Len()))
		})
	}
	blocked := hosted(other4, "heartbeat")
	w.list(t, deny("192.0.2.77/32"))
	w.answer(t, blocked.Bytes(), 1, outcome{verdict: "drop", reason: "denied", service: "local", down: true})
	w.wantSessions(t, 0)
}

// What a NIC is yet to cut counts as it will be on the wire: headers repeat.
func TestLocalSegments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, first := range []packet.Packet{hello(player4, localPort), syn(player4, localPort), hello(player6, localPort), syn(player6, localPort)} {
		w.quietly(t, first.Bytes())
		out := hosted(first.From, "")
		headers := 20 + 8
		if first.Proto == packet.TCP {
			out = packet.NewTCP(first.To, first.From, packet.ACK, "")
			out.TCPOptions = make([]byte, 12)
			headers = 20 + 32
		}
		if v6(first) {
			headers += 20
		}
		out.Payload = make([]byte, 3000)
		w.answer(t, out.Bytes(), 3, outcome{verdict: "pass", service: "local", down: true, packets: 3, bytes: 3000 + 3*headers})
		w.clear(t)
	}
}

// What this host sends that is no local service's is none of the egress program's business.
func TestLocalLeavesTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, f := range [][]byte{
		packet.NewUDP(at(host4, 40000), at(other4.Addr(), 53), "a query").Bytes(),
		packet.NewTCP(at(host6, 22), player6, packet.ACK, "ssh").Bytes(),
		packet.NewUDP(at(vip4, natPort), player4, "not local").Bytes(),
		packet.NewICMP(host4, player4.Addr(), 0, 0, 1, nil).Bytes(),
		hosted(player4, "a later fragment").Part(1, 64, 8, false),
		arp,
		packet.NewTCP(at(vip4, localPort), player4, packet.RST|packet.ACK, "").Bytes(), // the stack refuses somebody: no session
		packet.NewTCP(at(vip4, localPort), player4, packet.SYN|packet.ACK, "").Bytes(),
	} {
		w.answer(t, f, 1, outcome{})
	}
	w.wantSessions(t, 0)
}

// An answer of a session in its closing second revives it; so does a first word.
func TestLocalRevives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	in, out := hello(player4, localPort), hosted(player4, "still here")
	w.quietly(t, in.Bytes())
	w.pass(t, 11*time.Second)
	if s := w.sweep(t); s.Ended != 1 {
		t.Fatalf("%+v", s)
	}
	w.answer(t, out.Bytes(), 1, outcome{verdict: "pass", service: "local", down: true})
	w.wantSession(t, player4, fmt.Sprintf("local unproven up 1/%d down 1/%d", in.Len(), out.Len()))
	w.kill(t, w.session(t, player4))
	w.answer(t, out.Bytes(), 1, outcome{verdict: "drop", reason: "session_killed", service: "local", down: true})
}

// Nobody outside can pose as the local server: its packets come from within.
func TestLocalIsNotSpoofed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, player := range []netip.AddrPort{player4, player6} {
		w.quietly(t, hello(player, localPort).Bytes())
		w.send(t, hosted(player, "forged").Bytes(), outcome{verdict: "drop", reason: "bad_address", service: "local", down: true}, nil)
		w.quietly(t, hello(player, localPort).Bytes())
		if s := w.session(t, player); s.State != "unproven" {
			t.Errorf("a forged answer made the session %s", s.State)
		}
		w.clear(t)
	}
}

// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"

	"parry/loader"
	"parry/test/packet"
)

// serverSide is the link address that servers' frames come from.
var serverSide = packet.MAC{2, 0, 0, 0, 0, 0x5e}

// sent is p as it leaves: other ends, one hop less to live, the hop's link header.
func sent(p packet.Packet, h loader.Hop, from, to netip.AddrPort) packet.Packet {
	p.From, p.To = from, to
	p.TTL--
	p.Dst, p.Src, p.Tags = h.Dst, h.Src, nil
	for _, t := range h.Tags {
		p.Tags = append(p.Tags, packet.Tag{Proto: t.Proto, TCI: t.VID})
	}
	return p
}

// forwarded is the client's packet as the session's server is to get it; returned is the way back.
func forwarded(p packet.Packet, s loader.Session) packet.Packet {
	return sent(p, wire, s.Face, s.Server)
}

func returned(p packet.Packet, s loader.Session) packet.Packet {
	return sent(p, wire, s.Front, s.Client)
}

// reply is what the session's server says to whom it takes for its player, and how.
func reply(s loader.Session, payload string) packet.Packet {
	p := packet.NewUDP(s.Server, s.Face, payload)
	if s.Proto == packet.TCP {
		p = packet.NewTCP(s.Server, s.Face, packet.ACK, payload)
	}
	p.Src = serverSide
	return p
}

// begin sends a client's first packet and returns the session that it makes.
func (w *world) begin(t *testing.T, p packet.Packet) loader.Session {
	t.Helper()
	r := w.quietly(t, p.Bytes())
	if r.Reason != "" {
		t.Fatalf("the first packet of %v: %s %s", p.From, r.Verdict, r.Reason)
	}
	return w.session(t, p.From)
}

// prove has the server answer and the client speak again; over TCP, the server once more: then its kernel has seen the client's ACK.
func (w *world) prove(t *testing.T, p packet.Packet) loader.Session {
	t.Helper()
	s := w.begin(t, p)
	if s.Proto == packet.TCP {
		w.quietly(t, reply(s, "").With(func(q *packet.Packet) { q.Flags = packet.SYN | packet.ACK }).Bytes())
		p.Flags = packet.ACK
		w.quietly(t, p.Bytes())
	}
	w.quietly(t, reply(s, "welcome").Bytes())
	if s.Proto == packet.UDP {
		w.quietly(t, p.Bytes())
	}
	s = w.session(t, p.From)
	if s.State != loader.Proven {
		t.Fatalf("the session of %v is %s", p.From, s.State)
	}
	return s
}

// hello is a UDP player's first word to a service; syn is a TCP player's.
func hello(client netip.AddrPort, port uint16) packet.Packet {
	return packet.NewUDP(client, vip(client, port), "hello there")
}

func syn(client netip.AddrPort, port uint16) packet.Packet {
	return packet.NewTCP(client, vip(client, port), packet.SYN, "").With(func(p *packet.Packet) { p.TCPOptions = []byte{2, 4, 5, 0xb4} })
}

// client is the n-th of many players.
func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}), uint16(40000+n%20000))
}

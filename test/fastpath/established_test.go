// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"parry/loader"
	"parry/test/packet"
)

// mode is a service as a player meets it.
type mode struct {
	name, service string
	port          uint16
	first         packet.Packet
}

// modes are all ways of forwarding that rewrite, by family and protocol.
func modes() []mode {
	var all []mode
	for _, service := range []struct {
		name string
		port uint16
	}{{"nat", natPort}, {"open", openPort}} {
		for _, c := range []struct {
			name   string
			client netip.AddrPort
		}{{"4", player4}, {"6", player6}} {
			all = append(all,
				mode{service.name + " udp" + c.name, service.name, service.port, hello(c.client, service.port)},
				mode{service.name + " tcp" + c.name, service.name, service.port, syn(c.client, service.port)})
		}
	}
	return all
}

// shape is what may differ between two packets of one session; where is who it applies to.
type shape struct {
	name   string
	only   func(packet.Packet) bool
	change func(*packet.Packet)
}

func udp(p packet.Packet) bool { return p.Proto == packet.UDP }
func v4(p packet.Packet) bool  { return p.From.Addr().Is4() }
func v6(p packet.Packet) bool  { return p.From.Addr().Is6() }

func shapes() []shape {
	return []shape{
		{"plain", nil, func(*packet.Packet) {}},
		{"empty", nil, func(p *packet.Packet) { p.Payload = nil }},
		{"odd length", nil, func(p *packet.Packet) { p.Payload = []byte("odd") }},
		{"large", nil, func(p *packet.Packet) { p.Payload = make([]byte, 1200) }},
		{"TTL 2", nil, func(p *packet.Packet) { p.TTL = 2 }},
		{"TTL 255, marked", nil, func(p *packet.Packet) { p.TTL, p.TOS = 255, 0xb8 }},
		{"with Ethernet's padding", nil, func(p *packet.Packet) { p.Payload, p.Trailer = nil, []byte("eighteen bytes....") }},
		{"one tag", nil, func(p *packet.Packet) { p.Tags = []packet.Tag{{Proto: packet.TypeVLAN, TCI: 0xa007}} }},
		{"two tags", nil, func(p *packet.Packet) {
			p.Tags = []packet.Tag{{Proto: packet.TypeQinQ, TCI: 7}, {Proto: packet.TypeVLAN, TCI: 9}}
		}},
		{"UDP without checksum", func(p packet.Packet) bool { return udp(p) && v4(p) }, func(p *packet.Packet) { p.NoSum = true }},
		{"IPv4 options", v4, func(p *packet.Packet) { p.Options = []byte{0x94, 4, 0, 0} }}, // router alert
		{"40 bytes of IPv4 options", v4, func(p *packet.Packet) { p.Options = make([]byte, 40) }},
		{"don't fragment", v4, func(p *packet.Packet) { p.DF = true }},
		{"hop-by-hop options", v6, func(p *packet.Packet) {
			p.Exts = []packet.Ext{{Type: packet.HopByHop, Body: []byte{5, 2, 0, 0, 1, 0}}}
		}},
		{"four extension headers", v6, func(p *packet.Packet) {
			p.Exts = []packet.Ext{
				{Type: packet.HopByHop, Body: make([]byte, 6)}, {Type: packet.Destination, Body: make([]byte, 14)},
				{Type: packet.Auth, Body: make([]byte, 22)}, {Type: packet.Destination, Body: make([]byte, 6)},
			}
		}},
		{"an atomic fragment", v6, func(p *packet.Packet) { // RFC 6946: a fragment header on a whole packet
			p.Exts = []packet.Ext{{Type: packet.Fragment, Body: make([]byte, 6)}}
		}},
		{"a used-up routing header", v6, func(p *packet.Packet) {
			p.Exts = []packet.Ext{{Type: packet.Routing, Body: []byte{4, 0, 0, 0, 0, 0}}}
		}},
	}
}

// Every shape of packet passes in both directions of every mode, with nothing changed but what must.
func TestEstablished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			defer w.clear(t)
			s := w.prove(t, m.first)
			up, down := m.first.With(func(p *packet.Packet) { p.Flags = packet.ACK }), reply(s, "an answer")
			wantUp, wantDown := s.Up, s.Down
			for _, x := range shapes() {
				if x.only != nil && !x.only(up) {
					continue
				}
				t.Run(x.name, func(t *testing.T) {
					in := up.With(x.change)
					w.send(t, in.Bytes(), outcome{verdict: "tx", service: m.service}, forwarded(in, s).Bytes())
					wantUp = loader.Direction{Packets: wantUp.Packets + 1, Bytes: wantUp.Bytes + uint64(packet.Length(in.Bytes()))}
					back := down.With(x.change)
					w.send(t, back.Bytes(), outcome{verdict: "tx", service: m.service, down: true}, returned(back, s).Bytes())
					wantDown = loader.Direction{Packets: wantDown.Packets + 1, Bytes: wantDown.Bytes + uint64(packet.Length(back.Bytes()))}
				})
			}
			if got := w.session(t, m.first.From); got.Up != wantUp || got.Down != wantDown {
				t.Errorf("the session counted %+v up, %+v down, not %+v and %+v", got.Up, got.Down, wantUp, wantDown)
			}
		})
	}
}

// The first packet of a session makes it, and is forwarded itself.
func TestFirstPacket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			defer w.clear(t)
			r := w.send(t, m.first.Bytes(), outcome{verdict: "tx", service: m.service}, nil)
			s := w.session(t, m.first.From)
			if want := forwarded(m.first, s).Bytes(); string(want) != string(r.Out) {
				t.Errorf("leaves as %x\nnot      %x", r.Out, want)
			}
			face, server := m.first.From, at(open4, gamePort)
			if v6(m.first) {
				server = at(open6, gamePort)
			}
			if m.service == "nat" {
				face, server = at(nat4, s.Face.Port()), at(server4, gamePort)
				if v6(m.first) {
					face, server = at(nat6, s.Face.Port()), at(server6, gamePort)
				}
				if s.Face.Port() < natFirst || s.Face.Port() > natLast {
					t.Errorf("NAT port %d", s.Face.Port())
				}
			}
			if s.Face != face || s.Server != server || s.Front != m.first.To {
				t.Errorf("faces %v as %v for %v", s.Server, s.Face, s.Front)
			}
			if s.State != loader.Unproven {
				t.Errorf("is %s", s.State)
			}
			answer := reply(s, "welcome")
			if s.Proto == packet.TCP { // what a server sends to anybody who asks, real or not
				answer = reply(s, "").With(func(p *packet.Packet) { p.Flags = packet.SYN | packet.ACK })
			}
			w.quietly(t, answer.Bytes())
			if s = w.session(t, m.first.From); s.State != loader.Unproven {
				t.Errorf("an answer alone made it %s", s.State)
			}
			w.quietly(t, m.first.Bytes())
			if s.Proto == packet.TCP {
				if s = w.session(t, m.first.From); s.State != loader.Unproven {
					t.Errorf("two SYNs and an answer made it %s", s.State)
				}
				w.quietly(t, reply(s, "welcome").Bytes())
			}
			if s = w.session(t, m.first.From); s.State != loader.Proven {
				t.Errorf("two-way exchange left it %s", s.State)
			}
		})
	}
}

// computedZero is the packet with its payload's last two bytes such that its checksum comes out as 0.
func computedZero(p packet.Packet) packet.Packet {
	p.Payload = append([]byte("0123456789"), 0, 0)
	b := p.Bytes()
	v, _ := packet.Look(b)
	copy(p.Payload[10:], b[v.L4+6:v.L4+8])
	return p
}

// RFC 768: a UDP checksum that comes out as 0 is sent as ffff; 0 says that there is none.
func TestChecksumThatComesOutAsZero(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, client := range []netip.AddrPort{player4, player6} {
		s := w.begin(t, hello(client, natPort))
		want := computedZero(packet.NewUDP(s.Face, s.Server, ""))
		in := packet.NewUDP(client, vip(client, natPort), string(want.Payload))
		out := forwarded(in, s).Bytes()
		v, _ := packet.Look(out)
		if got := binary.BigEndian.Uint16(out[v.L4+6:]); got != 0xffff {
			t.Fatalf("the test is wrong: checksum %#x", got)
		}
		w.send(t, in.Bytes(), outcome{verdict: "tx", service: "nat"}, out)
	}
}

// Frames leave with the next hop's tags, by its interface, whatever they came with.
func TestTagsAndInterfaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	second := w.device(t)
	s := w.prove(t, hello(player4, natPort))
	var tags []loader.Tag
	for n := range 3 {
		for _, out := range []struct {
			ifindex int
			verdict string
		}{{1, "tx"}, {second, "redirect"}} {
			h := loader.Hop{
				HopKey: loader.HopKey{Ifindex: out.ifindex*10 + n, Gateway: netip.MustParseAddr("203.0.113.2")}, Phys: out.ifindex, MTU: 1500,
				Dst: [6]byte{2, 0, 0, 0, 1, byte(n)}, Src: packet.EdgeSide, Valid: true, Tags: tags,
			}
			w.hop(t, h)
			w.leadTo(t, h.HopKey)
			w.pass(t, 3e9) // a session asks for its way every two seconds
			for _, x := range shapes()[7:9] {
				in := hello(player4, natPort).With(x.change)
				w.send(t, in.Bytes(), outcome{verdict: out.verdict, service: "nat"}, sent(in, h, s.Face, s.Server).Bytes())
				back := reply(s, "an answer").With(x.change)
				w.send(t, back.Bytes(), outcome{verdict: out.verdict, service: "nat", down: true}, sent(back, h, s.Front, s.Client).Bytes())
			}
			in := hello(player4, natPort)
			w.send(t, in.Bytes(), outcome{verdict: out.verdict, service: "nat"}, sent(in, h, s.Face, s.Server).Bytes())
		}
		tags = append(tags, loader.Tag{Proto: packet.TypeVLAN, VID: uint16(100 + n)})
	}
}

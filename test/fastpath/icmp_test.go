// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"

	"parry/loader"
	"parry/test/packet"
)

// icmpError is one kind, by family.
type icmpError struct {
	name        string
	typ, code   uint8
	typ6, code6 uint8
	rest        uint32
}

func icmpErrors() []icmpError {
	return []icmpError{
		{"port unreachable", 3, 3, 1, 4, 0},
		{"too big", 3, 4, 2, 0, 1380},
		{"time exceeded", 11, 0, 3, 0, 0},
		{"parameter problem", 12, 0, 4, 1, 6 << 24},
	}
}

// about is the error that a router says of a packet, of which it quotes n bytes from behind its headers' start (0 = all).
func about(x packet.Packet, from netip.Addr, e icmpError, n int) packet.Packet {
	quoted := x.L3()
	if n > 0 && n < len(quoted) {
		quoted = quoted[:n]
	}
	typ, code := e.typ, e.code
	if from.Is6() {
		typ, code = e.typ6, e.code6
	}
	return packet.NewICMP(from, x.From.Addr(), typ, code, e.rest, quoted)
}

// An ICMP error about a packet of a session goes to who sent that packet, in its own terms; it changes nothing.
func TestICMPErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			defer w.clear(t)
			s := w.prove(t, m.first)
			router, headers := router4, 20
			if v6(m.first) {
				router, headers = router6, 40
			}
			up := m.first.With(func(p *packet.Packet) { p.Payload, p.Flags = []byte("an odd number of bytes!"), packet.ACK })
			down := reply(s, "an even number of bytes!")
			before := w.text(w.session(t, m.first.From))
			for _, e := range icmpErrors() {
				for _, quoted := range []struct {
					name string
					n    int
				}{{"whole", 0}, {"with 8 bytes", headers + 8}, {"with 20 bytes", headers + 20}, {"with 25 bytes", headers + 25}} {
					t.Run(e.name+" quoting "+quoted.name, func(t *testing.T) {
						w.pass(t, 1e7) // ten errors' worth of their budget
						// About what the client sent, from the servers' side: to the client.
						in := about(forwarded(up, s), router, e, quoted.n)
						seen := up.With(func(p *packet.Packet) { p.TTL-- })
						out := sent(about(seen, s.Front.Addr(), e, quoted.n).With(like(in)), wire, at(s.Front.Addr(), 0), at(s.Client.Addr(), 0))
						w.send(t, in.Bytes(), outcome{verdict: "tx", service: m.service, down: true}, out.Bytes())
						// About what the server sent, from the players' side: to the server, from the face it knows.
						in = about(returned(down, s), router, e, quoted.n)
						from := s.Face.Addr()
						if m.service == "open" {
							from = router // it sees players' addresses, and routers'
						}
						seen = down.With(func(p *packet.Packet) { p.TTL-- })
						out = sent(about(seen, router, e, quoted.n).With(like(in)), wire, at(from, 0), at(s.Server.Addr(), 0))
						w.send(t, in.Bytes(), outcome{verdict: "tx", service: m.service}, out.Bytes())
					})
				}
			}
			if after := w.text(w.session(t, m.first.From)); after != before {
				t.Errorf("the session was %s, is %s", before, after)
			}
		})
	}
}

// like keeps what the translation does not touch.
func like(in packet.Packet) func(*packet.Packet) {
	return func(p *packet.Packet) { p.TTL, p.TOS, p.ID, p.Tags = in.TTL, in.TOS, in.ID, in.Tags }
}

// The error may be about the first fragment of what was sent: of a long datagram on a narrow way it mostly is.
func TestICMPErrorsAboutFragments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	e := icmpErrors()[1]
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			defer w.clear(t)
			s := w.prove(t, m.first)
			router := router4
			if v6(m.first) {
				router = router6
			}
			about := func(x packet.Packet, part int, from netip.Addr) packet.Packet {
				p := about(x, from, e, 1) // for whom and of which type; what it quotes comes next
				p.Payload = x.Fragments(theirID, 1000)[part][14:]
				return p
			}
			aged := func(p *packet.Packet) { p.TTL-- }
			up := datagram(m.first.With(func(p *packet.Packet) { p.Flags = packet.ACK }))
			in := about(forwarded(up, s), 0, router)
			out := sent(about(up.With(aged), 0, s.Front.Addr()).With(like(in)), wire, at(s.Front.Addr(), 0), at(s.Client.Addr(), 0))
			w.send(t, in.Bytes(), outcome{verdict: "tx", service: m.service, down: true}, out.Bytes())
			down := datagram(reply(s, ""))
			in = about(returned(down, s), 0, router)
			from := s.Face.Addr()
			if m.service == "open" {
				from = router
			}
			out = sent(about(down.With(aged), 0, router).With(like(in)), wire, at(from, 0), at(s.Server.Addr(), 0))
			w.send(t, in.Bytes(), outcome{verdict: "tx", service: m.service}, out.Bytes())
			// A later one names no ports: nobody knows whose it was.
			w.send(t, about(returned(down, s), 1, router).Bytes(), outcome{verdict: "pass"}, nil)
		})
	}
}

// What lies behind the IP packet in its frame is no part of what is quoted.
func TestICMPErrorWithTrailer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	s := w.prove(t, syn(player4, natPort))
	up := syn(player4, natPort).With(func(p *packet.Packet) { p.Flags, p.TCPOptions = packet.ACK, nil })
	in := about(forwarded(up, s), router4, icmpErrors()[1], 28).With(func(p *packet.Packet) { p.Trailer = []byte("0123456789abcdefghij") })
	seen := up.With(func(p *packet.Packet) { p.TTL-- })
	out := sent(about(seen, vip4, icmpErrors()[1], 28), wire, at(vip4, 0), at(player4.Addr(), 0)).With(func(p *packet.Packet) { p.Trailer = in.Trailer })
	w.send(t, in.Bytes(), outcome{verdict: "tx", service: "nat", down: true}, out.Bytes())
	// The error itself ends within what it quotes, and only the frame goes on.
	short := about(forwarded(up, s), router4, icmpErrors()[1], 20).With(func(p *packet.Packet) { p.Trailer = []byte("0123456789abcdefghij") })
	w.send(t, short.Bytes(), outcome{verdict: "pass"}, nil)
}

// Headers may begin as late as byte 1023 of a frame. What an error quotes may begin there, and its checksum lies beyond:
// it is amended all the same. One step later it is not taken for a session's.
func TestICMPErrorBehindLongHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	headers := func(n int) func(*packet.Packet) { // in octets of eight; the quoted ports then begin at byte 14+40+8n+8+40
		return func(p *packet.Packet) { p.Exts = []packet.Ext{{Type: packet.Destination, Body: make([]byte, 8*n-2)}} }
	}
	for name, first := range map[string]packet.Packet{"UDP": hello(player6, natPort), "TCP": syn(player6, natPort)} {
		t.Run(name, func(t *testing.T) {
			defer w.clear(t)
			s := w.prove(t, first)
			up := first.With(func(p *packet.Packet) { p.Flags, p.TCPOptions = packet.ACK, nil })
			e := icmpErrors()[1]
			in := about(forwarded(up, s), router6, e, 0).With(headers(115))
			out := sent(about(up.With(func(p *packet.Packet) { p.TTL-- }), vip6, e, 0).With(headers(115)), wire, at(vip6, 0), at(player6.Addr(), 0))
			w.send(t, in.Bytes(), outcome{verdict: "tx", service: "nat", down: true}, out.Bytes())
			w.send(t, in.With(headers(116)).Bytes(), outcome{verdict: "pass"}, nil)
		})
	}
}

// A UDP datagram without a checksum is quoted without one.
func TestICMPErrorAboutNoChecksum(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	s := w.prove(t, hello(player4, natPort))
	up := hello(player4, natPort).With(func(p *packet.Packet) { p.NoSum = true })
	in := about(forwarded(up, s), router4, icmpErrors()[0], 0)
	out := sent(about(up.With(func(p *packet.Packet) { p.TTL-- }), vip4, icmpErrors()[0], 0), wire, at(vip4, 0), at(player4.Addr(), 0))
	w.send(t, in.Bytes(), outcome{verdict: "tx", service: "nat", down: true}, out.Bytes())
}

func TestICMPRows(t *testing.T) { icmpGroup().run(t) }

func icmpGroup() group {
	g := group{name: "TestICMPRows", plan: basePlan}
	add := func(name string, set func(*testing.T, *world), in func(*testing.T, *world) []byte, want outcome) {
		g.rows = append(g.rows, row{name: name, set: set, in: in, want: want})
	}
	unrelated := func(service string) outcome {
		return outcome{verdict: "drop", reason: "icmp_unrelated", service: service}
	}
	e := icmpErrors()[0]
	for _, x := range []struct {
		player netip.AddrPort
		router netip.Addr
		nat    netip.Addr
		server netip.Addr
		host   netip.Addr
	}{{player4, router4, nat4, server4, host4}, {player6, router6, nat6, server6, host6}} {
		v := x.player.Addr().String()
		claim := func(from, to netip.AddrPort) func(*testing.T, *world) []byte {
			return is(about(packet.NewUDP(from, to, "never sent"), x.router, e, 0).Bytes())
		}
		ofSession := func(change func(*packet.Packet)) func(*testing.T, *world) []byte {
			return func(t *testing.T, w *world) []byte {
				s := w.session(t, x.player)
				return about(forwarded(hello(x.player, natPort), s).With(change), x.router, e, 0).Bytes()
			}
		}
		joined := func(t *testing.T, w *world) { w.prove(t, hello(x.player, natPort)) }
		add(v+" about a service's packet that nobody sent", nil, claim(vip(x.player, natPort), x.player), unrelated("nat"))
		add(v+" about a NAT port's packet that nobody sent", nil, claim(at(x.nat, natFirst+3), at(x.server, gamePort)), unrelated(""))
		add(v+" about a session's packet to another port", joined, ofSession(func(p *packet.Packet) { p.To = at(x.server, 1) }), unrelated(""))
		add(v+" about a session's packet to another server", joined, ofSession(func(p *packet.Packet) { p.To = at(x.server.Next(), gamePort) }), unrelated(""))
		add(v+" about a session's packet of another protocol", joined, ofSession(func(p *packet.Packet) { p.Proto = packet.TCP }), unrelated(""))
		add(v+" about a session that is over", func(t *testing.T, w *world) {
			joined(t, w)
			w.kill(t, w.session(t, x.player))
		}, ofSession(func(*packet.Packet) {}), unrelated(""))
		add(v+" about the host's own packet", nil, claim(at(x.host, 40000), x.player), outcome{verdict: "pass"})
		add(v+" about another port of a service's address", nil, claim(vip(x.player, 40000), x.player), outcome{verdict: "pass"})
		add(v+" about a session of the host's own server", func(t *testing.T, w *world) { w.quietly(t, hello(x.player, localPort).Bytes()) },
			claim(vip(x.player, localPort), x.player), outcome{verdict: "pass", service: "local"})
		add(v+" over the budget", func(t *testing.T, w *world) {
			joined(t, w)
			spendFrames(100, ofSession(func(*packet.Packet) {})(t, w))(t, w)
		}, ofSession(func(*packet.Packet) {}), outcome{verdict: "drop", reason: "icmp_rate", service: "nat", down: true})
		add(v+" with a TTL of 1", joined, func(t *testing.T, w *world) []byte {
			s := w.session(t, x.player)
			return about(forwarded(hello(x.player, natPort), s), x.router, e, 0).With(func(p *packet.Packet) { p.TTL = 1 }).Bytes()
		}, outcome{verdict: "drop", reason: "ttl", service: "nat", down: true})
		add(v+" quoting no ports", joined, func(t *testing.T, w *world) []byte {
			s := w.session(t, x.player)
			return about(forwarded(hello(x.player, natPort), s), x.router, e, len(x.server.AsSlice())/16*20+20).Bytes()
		}, outcome{verdict: "pass"})
	}
	return g
}

// tooBig is what the edge tells the sender of a packet that its next hop can't take.
func tooBig(x packet.Packet, from netip.Addr, mtu, quoted int) packet.Packet {
	e := icmpErrors()[1]
	e.rest = uint32(mtu)
	p := about(x, from, e, quoted)
	p.From, p.To = at(from, 0), at(x.From.Addr(), 0)
	p.Dst, p.Src, p.Tags = x.Src, x.Dst, x.Tags
	p.TTL, p.ID = 64, 0
	return p
}

func TestTooBig(t *testing.T) { tooBigGroup().run(t) }

// A packet that is larger than its next hop's MTU is dropped, and its sender told.
func tooBigGroup() group {
	g := group{name: "TestTooBig", plan: basePlan}
	big := func(p *packet.Packet) { p.Payload, p.Flags = make([]byte, 1200), packet.ACK }
	changes := map[string]func(*packet.Packet){
		"":              func(*packet.Packet) {},
		" with options": func(p *packet.Packet) { p.Options = make([]byte, 12) },
		" with a tag":   func(p *packet.Packet) { p.Tags = []packet.Tag{{Proto: packet.TypeVLAN, TCI: 5}} },
		" with two tags": func(p *packet.Packet) {
			p.Tags = []packet.Tag{{Proto: packet.TypeQinQ, TCI: 5}, {Proto: packet.TypeVLAN, TCI: 6}}
		},
		" with extension header": func(p *packet.Packet) { p.Exts = []packet.Ext{{Type: packet.Destination, Body: make([]byte, 6)}} },
	}
	for _, m := range modes() {
		for name, change := range changes {
			var s loader.Session
			var in packet.Packet
			quoted := func() int { v, _ := packet.Look(in.Bytes()); return v.L4 - v.L3 + 8 }
			begin := func(t *testing.T, w *world) {
				w.narrow(t, 1000)
				s = w.prove(t, m.first)
			}
			g.rows = append(g.rows,
				row{name: m.name + " up" + name, set: begin,
					in: func(t *testing.T, w *world) []byte {
						in = m.first.With(big).With(change)
						return in.Bytes()
					},
					want: outcome{verdict: "tx", reason: "too_big", service: m.service},
					out:  func(t *testing.T, w *world) []byte { return tooBig(in, s.Front.Addr(), 1000, quoted()).Bytes() }},
				row{name: m.name + " down" + name, set: begin,
					in: func(t *testing.T, w *world) []byte {
						in = reply(s, "").With(big).With(change)
						return in.Bytes()
					},
					want: outcome{verdict: "tx", reason: "too_big", service: m.service, down: true},
					out: func(t *testing.T, w *world) []byte {
						from := s.Face.Addr() // as far as the server knows
						if m.service == "open" {
							from = s.Front.Addr()
						}
						return tooBig(in, from, 1000, quoted()).Bytes()
					}})
		}
	}
	g.rows = append(g.rows, tooBigEdges(big)...)
	return g
}

func tooBigEdges(big func(*packet.Packet)) []row {
	first := datagram(hello(player4, natPort)).Fragments(theirID, 1200)[0]
	return []row{
		{name: "a first fragment is quoted as it was sent", set: func(t *testing.T, w *world) { w.narrow(t, 1000) },
			in: is(first), want: outcome{verdict: "tx", reason: "too_big", service: "nat"},
			out: func(t *testing.T, w *world) []byte {
				p := packet.NewICMP(vip4, player4.Addr(), 3, 4, 1000, first[14:14+28])
				p.Dst, p.Src, p.ID = packet.ClientSide, packet.EdgeSide, 0
				return p.Bytes()
			}},
		{name: "over the budget of ICMP", set: func(t *testing.T, w *world) {
			w.narrow(t, 1000)
			spendFrames(101, hello(player4, natPort).With(big).Bytes())(t, w)
		}, in: is(hello(player4, natPort).With(big).Bytes()), want: outcome{verdict: "drop", reason: "too_big", service: "nat"}},
		{name: "headers longer than is quoted", set: func(t *testing.T, w *world) { w.narrow(t, 1000) },
			in: is(hello(player6, natPort).With(big).With(func(p *packet.Packet) {
				p.Exts = []packet.Ext{{Type: packet.Destination, Body: make([]byte, 86)}}
			}).Bytes()),
			want: outcome{verdict: "drop", reason: "too_big", service: "nat"}},
		{name: "just fits", set: func(t *testing.T, w *world) { w.narrow(t, 1000) },
			in:   is(hello(player4, natPort).With(func(p *packet.Packet) { p.Payload = make([]byte, 972) }).Bytes()),
			want: outcome{verdict: "tx", service: "nat"}},
	}
}

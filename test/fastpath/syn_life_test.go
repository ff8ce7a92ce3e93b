// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// synGroup is what becomes of segments that the SYN proxy has a word to say about.
func synGroup() group {
	g := group{name: "syn", plan: shakenPlan, sizes: shakenSizes}
	add := func(name string, want outcome, set func(*testing.T, *world) *packet.Packet) {
		var in *packet.Packet
		g.rows = append(g.rows, row{
			name: name, want: want,
			set: func(t *testing.T, w *world) { in = set(t, w) },
			in:  func(*testing.T, *world) []byte { return in.Bytes() },
		})
	}
	just := func(p packet.Packet) func(*testing.T, *world) *packet.Packet {
		return func(*testing.T, *world) *packet.Packet { return &p }
	}
	of := func(shake func(*testing.T, *world) shaken, p func(*shaken) packet.Packet) func(*testing.T, *world) *packet.Packet {
		return func(t *testing.T, w *world) *packet.Packet {
			c := shake(t, w)
			in := p(&c)
			return &in
		}
	}
	begun := func(t *testing.T, w *world) shaken {
		return w.shakeTo(t, player4, shakenPort, linuxOptions(clientTime))
	}
	done := func(t *testing.T, w *world) shaken { return w.shake(t, player4, shakenPort, linuxOptions(clientTime)) }
	drop := func(reason string, down bool) outcome {
		return outcome{verdict: "drop", reason: reason, service: "shaken", down: down}
	}
	tx := func(service string) outcome { return outcome{verdict: "tx", service: service} }

	add("an ACK of nothing", drop("bad_cookie", false), just(tcpFrom(player4, shakenPort, packet.ACK, 7, 9, nil, "")))
	add("an ACK of nothing, with data", drop("bad_cookie", false), just(tcpFrom(player6, shakenPort, packet.ACK, 7, 9, nil, "hello")))
	add("where it is watched alone", outcome{verdict: "drop", reason: "no_session", service: "watched"}, just(tcpFrom(player4, shakenWatched, packet.ACK, 7, 9, nil, "")))
	add("a SYN where it is watched alone goes to the server", tx("watched"), just(tcpFrom(player4, shakenWatched, packet.SYN, 7, 0, nil, "")))
	add("a server's answer to nobody", drop("no_session", false), just(tcpFrom(player4, shakenPort, packet.SYN|packet.ACK, 7, 9, nil, "")))
	add("a reset of nothing", drop("no_session", false), just(tcpFrom(player4, shakenPort, packet.RST, 7, 9, nil, "")))
	for name, flags := range map[string]uint8{
		"none": 0, "SYN and FIN": packet.SYN | packet.FIN, "SYN and RST": packet.SYN | packet.RST, "FIN alone": packet.FIN, "PSH alone": packet.PSH,
		"all": 0x3f, "FIN, PSH, URG": 0x29, "RST and FIN": packet.RST | packet.FIN, "SYN and URG": packet.SYN | 0x20,
	} {
		add("flags: "+name, drop("tcp_flags", false), just(tcpFrom(player4, shakenPort, flags, 7, 9, nil, "")))
	}
	add("without an attack the server is asked", tx("attacked"), just(tcpFrom(player4, attackedPort, packet.SYN, 7, 0, nil, "")))
	add("without an attack, an ACK of nothing", outcome{verdict: "drop", reason: "no_session", service: "attacked"}, just(tcpFrom(player4, attackedPort, packet.ACK, 7, 9, nil, "")))
	add("without an attack a connection is taken up in its middle", tx("attacked-open"), just(tcpFrom(player4, attackedOpen, packet.ACK, 7, 9, nil, "")))
	add("under attack it isn't", outcome{verdict: "drop", reason: "bad_cookie", service: "attacked-open"}, func(t *testing.T, w *world) *packet.Packet {
		w.attack(t, "attacked-open", loader.StateAttack)
		p := tcpFrom(player4, attackedOpen, packet.ACK, 7, 9, nil, "")
		return &p
	})
	add("but within its grace", tx("shaken-open"), func(t *testing.T, w *world) *packet.Packet {
		for i, name := range w.edge.ServiceNames() {
			if name == "shaken-open" {
				must(t, w.edge.SetGrace(uint16(i), time.Minute))
			}
		}
		p := tcpFrom(player4, shakenOpen, packet.ACK, 7, 9, nil, "")
		return &p
	})

	add("before the server answers: the same again", drop("syn_proxy", false), of(begun, func(c *shaken) packet.Packet { return c.up(packet.ACK, 0, "") }))
	add("a probe of the window", drop("syn_proxy", false), of(begun, func(c *shaken) packet.Packet { return c.up(packet.ACK, ^uint32(0), "") }))
	add("a while later the server is asked again", tx("shaken"), of(func(t *testing.T, w *world) shaken {
		c := begun(t, w)
		w.pass(t, time.Second)
		return c
	}, func(c *shaken) packet.Packet { return c.up(packet.ACK, ^uint32(0), "") }))
	add("another's ACK", drop("tcp_state", false), of(begun, func(c *shaken) packet.Packet {
		return c.up(packet.ACK, 0, "").With(func(p *packet.Packet) { p.Ack++ })
	}))
	add("a blind reset", drop("tcp_state", false), of(begun, func(c *shaken) packet.Packet { return c.up(packet.RST, 99, "") }))
	add("its reset", tx("shaken"), of(begun, func(c *shaken) packet.Packet { return c.up(packet.RST, 0, "") }))
	add("a SYN", drop("tcp_state", false), of(begun, func(c *shaken) packet.Packet { return c.up(packet.SYN, ^uint32(0), "") }))
	add("an answer to another SYN", drop("tcp_state", true), of(begun, func(c *shaken) packet.Packet {
		return c.answers(nil).With(func(p *packet.Packet) { p.Ack++ })
	}))
	add("data of a server that has not answered", drop("tcp_state", true), of(begun, func(c *shaken) packet.Packet { return c.down(packet.ACK, 0, nil, "welcome") }))
	add("a blind refusal", drop("tcp_state", true), of(begun, func(c *shaken) packet.Packet {
		return c.down(packet.RST|packet.ACK, 0, nil, "").With(func(p *packet.Packet) { p.Ack += 5 })
	}))
	add("a SYN amid the session", drop("tcp_state", false), of(done, func(c *shaken) packet.Packet { return c.up(packet.SYN, 0, "") }))
	add("a SYN of the server's", drop("tcp_state", true), of(done, func(c *shaken) packet.Packet { return c.down(packet.SYN, 0, nil, "") }))
	add("another answer of the server's", drop("tcp_state", true), of(done, func(c *shaken) packet.Packet {
		return c.answers(nil).With(func(p *packet.Packet) { p.Seq++ })
	}))
	add("its answer again", outcome{verdict: "pass", service: "shaken", down: true}, of(done, func(c *shaken) packet.Packet { return c.answers(c.serverOptions()) }))
	add("a SYN after the end gets a cookie", tx("shaken"), of(func(t *testing.T, w *world) shaken {
		c := done(t, w)
		w.quietly(t, c.up(packet.RST, 0, "").Bytes())
		return c
	}, func(c *shaken) packet.Packet { return c.up(packet.SYN, 7, "") }))
	return g
}

func TestSYN(t *testing.T) { synGroup().run(t) }

// A server that refuses is heard by the client, in the numbers that it knows.
func TestShakenRefusal(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	for name, k := range shakenKinds() {
		t.Run(name, func(t *testing.T) {
			defer w.clear(t)
			c := w.shakeTo(t, k.client, k.port, linuxOptions(clientTime))
			in := c.down(packet.RST|packet.ACK, 0, nil, "").With(func(p *packet.Packet) { p.Seq, p.Ack = 0, c.syn.seq+1 })
			s := look(t, w.quietly(t, in.Bytes()).Out)
			if s.bad != nil || s.flags != packet.RST|packet.ACK || s.seq != c.cookie+1 || s.ack != c.isn+1 || s.to != k.client {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A server that does not take what its client was promised: scales are made up for, without timestamps the client is let go.
func TestShakenPromises(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	for _, c := range []struct {
		name             string
		options          []byte
		update, down, up uint16 // windows: to the client at first, of 0x1000 to the client and of 0x1000 to the server
	}{
		{"its scale is 9", append([]byte{2, 4, 5, 0xb4, 1, 3, 3, 9}, times(serverTime, clientTime+1)...), 0xfaf0 >> 7, 0x4000, 0x1000},
		{"its scale is 2", append([]byte{2, 4, 5, 0xb4, 1, 3, 3, 2}, times(serverTime, clientTime+1)...), 0xfaf0 >> 7, 0x0080, 0x1000},
		{"it has none", append([]byte{2, 4, 5, 0xb4}, times(serverTime, clientTime+1)...), 0xfaf0 >> 7, 0x0020, 0xffff},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer w.clear(t)
			s := w.shakeTo(t, player4, shakenPort, linuxOptions(clientTime))
			w.answered(t, &s, c.options)
			if u := look(t, s.shaken.Client); u.window != c.update {
				t.Errorf("the client hears of a window of %#x", u.window)
			}
			down := s.down(packet.ACK, 0, times(serverTime, 1), "").Bytes()
			setWindow(down, 0x1000)
			if got := look(t, w.quietly(t, down).Out); got.window != c.down || got.bad != nil {
				t.Errorf("down: %#x, %v", got.window, got.bad)
			}
			up := s.up(packet.ACK, 0, "").Bytes()
			setWindow(up, 0x1000)
			if got := look(t, w.quietly(t, up).Out); got.window != c.up || got.bad != nil {
				t.Errorf("up: %#x, %v", got.window, got.bad)
			}
		})
	}
	t.Run("it takes no timestamps", func(t *testing.T) {
		defer w.clear(t)
		s := w.shakeTo(t, player4, shakenPort, linuxOptions(clientTime))
		got := look(t, w.quietly(t, s.answers([]byte{2, 4, 5, 0xb4, 1, 3, 3, 7}).Bytes()).Out)
		if got.bad != nil || got.flags != packet.RST|packet.ACK || got.seq != s.cookie+1 || got.ack != s.isn+1 {
			t.Errorf("%+v", got)
		}
	})
}

// setWindow writes a TCP window over IPv4 and makes its checksum right.
func setWindow(frame []byte, window uint16) {
	const at = 14 + 20 + 14
	old := uint32(frame[at])<<8 | uint32(frame[at+1])
	frame[at], frame[at+1] = byte(window>>8), byte(window)
	sum := uint32(^(uint16(frame[at+2])<<8 | uint16(frame[at+3]))) + (^old & 0xffff) + uint32(window)
	sum = sum&0xffff + sum>>16
	sum = ^(sum&0xffff + sum>>16)
	frame[at+2], frame[at+3] = byte(sum>>8), byte(sum)
}

// Without the SYN proxy: the header goes before the client's first segment, and its repetition, until the server has all of it.
func TestHeader(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	for _, port := range []uint16{headerPort, headerOpen} {
		for _, n := range []uint32{28, 52} {
			client := player4
			if n == 52 {
				client = player6
			}
			service := map[uint16]string{headerPort: "header", headerOpen: "header-open"}[port]
			t.Run(service+map[uint32]string{28: "4", 52: "6"}[n], func(t *testing.T) {
				defer w.clear(t)
				c := shaken{client: client, port: port, isn: clientISN, cookie: serverISN, server: serverISN}
				front := vip(client, port)
				get := func(p packet.Packet) segment {
					t.Helper()
					r := w.quietly(t, p.Bytes())
					if r.Verdict != "tx" {
						t.Fatalf("%s %s", r.Verdict, r.Reason)
					}
					return look(t, r.Out)
				}
				headed := func(name string, s segment, payload string) {
					t.Helper()
					if s.bad != nil || s.seq != c.isn+1-n || len(s.payload) != int(n)+len(payload) || string(s.payload[n:]) != payload {
						t.Errorf("%s: %+v", name, s)
					}
					checkHeader(t, s.payload[:n], client, front)
				}
				for range 2 { // it comes again
					s := get(tcpFrom(client, port, packet.SYN, c.isn, 0, linuxOptions(clientTime), "early data"))
					if s.bad != nil || s.seq != c.isn-n || s.mss != 1460-int(n) || len(s.payload) != 0 || s.scale != 7 {
						t.Errorf("the SYN: %+v", s)
					}
				}
				c.session = w.session(t, client)
				c.syn = segment{seq: c.isn - n}
				s := get(c.answers([]byte{2, 4, 5, 0xb4}))
				if s.bad != nil || s.seq != c.server || s.ack != c.isn+1 || s.mss != 1460-int(n) {
					t.Errorf("the answer: %+v", s)
				}
				headed("the bare ACK", get(c.up(packet.ACK, 0, "")), "")
				headed("its repetition", get(c.up(packet.ACK, 0, "")), "")
				headed("with data", get(c.up(packet.ACK|packet.PSH, 0, "first words")), "first words")
				if s := get(c.up(packet.ACK, 11, "second")); s.seq != c.isn+12 || string(s.payload) != "second" || s.bad != nil {
					t.Errorf("what comes behind: %+v", s)
				}
				part := c.down(packet.ACK, 0, nil, "")
				part.Ack = c.isn + 1 - n/2
				if s := get(part); s.ack != c.isn+1 || s.bad != nil {
					t.Errorf("a part acknowledged: %+v", s)
				}
				headed("again", get(c.up(packet.ACK|packet.FIN, 0, "")), "")
				if s := get(c.down(packet.ACK, 0, nil, "")); s.ack != c.isn+1 || s.bad != nil {
					t.Errorf("all of it: %+v", s)
				}
				in := c.up(packet.ACK, 0, "first words")
				w.send(t, in.Bytes(), outcome{verdict: "tx", service: service}, forwarded(in, c.session).Bytes())

				// Another connection by the same tuple has a header of its own.
				c.isn += 77777
				if s := get(tcpFrom(client, port, packet.SYN, c.isn, 0, nil, "")); s.seq != c.isn-n {
					t.Errorf("the second SYN: %+v", s)
				}
				headed("of the second", get(c.up(packet.ACK, 0, "")), "")
			})
		}
	}
}

// What would not fit with its header is said to be too big, by as much.
func TestHeaderTooBig(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	w.quietly(t, tcpFrom(player4, headerPort, packet.SYN, 1, 0, nil, "").Bytes())
	r := w.quietly(t, tcpFrom(player4, headerPort, packet.ACK, 2, 9, nil, string(make([]byte, 1500-40))).Bytes())
	if r.Verdict != "tx" || r.Reason != "too_big" {
		t.Fatalf("%s %s", r.Verdict, r.Reason)
	}
	if mtu := int(r.Out[14+20+6])<<8 | int(r.Out[14+20+7]); mtu != 1500-28 {
		t.Errorf("an MTU of %d", mtu)
	}
}

// Fragments are not for sessions whose numbers are translated.
func TestShakenFragment(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	c := w.shake(t, player4, shakenPort, linuxOptions(clientTime))
	parts := c.up(packet.ACK, 0, string(make([]byte, 600))).Fragments(7, 400)
	w.send(t, parts[0], outcome{verdict: "drop", reason: "fragment_refused", service: "shaken"}, nil)
}

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

func TestAdmission(t *testing.T) { admissionGroup().run(t) }

// Who may begin a session, and what stands in the way. None of the refused leaves a session, a port or a source.
func admissionGroup() group {
	nobody := func(t *testing.T, w *world) { w.wantSessions(t, 0) }
	refused := func(reason, service string) outcome {
		return outcome{verdict: "drop", reason: reason, service: service}
	}
	g := group{name: "TestAdmission", plan: admissionPlan}
	for _, from := range []string{
		"0.1.2.3:40000", "127.0.0.1:40000", "224.0.0.1:40000", "240.0.0.1:40000", "255.255.255.255:40000", "203.0.113.10:40000", "203.0.113.20:40000",
		"[::]:40000", "[::1]:40000", "[ff02::1]:40000", "[2001:db8::10]:40000", "[2001:db8::20]:40000",
	} {
		g.rows = append(g.rows, row{name: "from " + from, in: is(hello(netip.MustParseAddrPort(from), natPort).Bytes()),
			want: refused("bad_address", "nat"), after: nobody})
	}
	flags := map[string]uint8{"ACK": packet.ACK, "RST": packet.RST, "FIN": packet.FIN | packet.ACK, "SYN and ACK": packet.SYN | packet.ACK,
		"SYN and RST": packet.SYN | packet.RST, "SYN and FIN": packet.SYN | packet.FIN, "nothing": 0}
	odd := map[string]bool{"SYN and RST": true, "SYN and FIN": true, "nothing": true}
	for name, f := range flags {
		reason := map[bool]string{true: "tcp_flags", false: "no_session"}[odd[name]]
		stray := syn(player4, natPort).With(func(p *packet.Packet) { p.Flags = f })
		g.rows = append(g.rows, row{name: "a TCP segment with " + name, in: is(stray.Bytes()), want: refused(reason, "nat"), after: nobody})
	}
	for _, client := range []netip.AddrPort{player4, player6} {
		v := client.Addr().String()
		g.rows = append(g.rows,
			row{name: v + " is no member", in: is(hello(client, membersPort).Bytes()), want: refused("not_allowed", "members"), after: nobody},
			row{name: v + " finds no server", in: is(hello(client, emptyPort).Bytes()), want: refused("no_server", "empty"), after: nobody},
			row{name: v + " sends too large a packet", set: nil, in: is(hello(client, smallPort).With(func(p *packet.Packet) { p.Payload = make([]byte, 500) }).Bytes()),
				want: refused("packet_size", "small"), after: nobody},
			row{name: v + " sends too large a packet in its session", set: func(t *testing.T, w *world) { w.prove(t, hello(client, smallPort)) },
				in:   is(hello(client, smallPort).With(func(p *packet.Packet) { p.Payload = make([]byte, 500) }).Bytes()),
				want: refused("packet_size", "small"), after: func(t *testing.T, w *world) { w.wantSessions(t, 1) }},
			row{name: v + " has no way to its server", set: func(t *testing.T, w *world) { w.leadTo(t, loader.HopKey{}) },
				in: is(hello(client, natPort).Bytes()), want: refused("no_route", "nat"), after: nobody},
			row{name: v + "'s server's link address is not known", set: leadToUnknown,
				in: is(hello(client, natPort).Bytes()), want: refused("no_neighbor", "nat")},
			row{name: v + "'s way out went", set: func(t *testing.T, w *world) { w.hop(t, gone); w.leadTo(t, gone.HopKey) },
				in: is(hello(client, natPort).Bytes()), want: outcome{verdict: "abort", reason: "internal", service: "nat"}},
			row{name: v + " sends with a TTL of 1", in: is(hello(client, natPort).With(func(p *packet.Packet) { p.TTL = 1 }).Bytes()), want: refused("ttl", "nat")},
			row{name: v + " sends with a TTL of 0", in: is(hello(client, natPort).With(func(p *packet.Packet) { p.TTL = 0 }).Bytes()), want: refused("ttl", "nat")},
			row{name: v + " gets an answer with a TTL of 1",
				in: func(t *testing.T, w *world) []byte {
					return reply(w.begin(t, hello(client, natPort)), "late").With(func(p *packet.Packet) { p.TTL = 1 }).Bytes()
				},
				want: outcome{verdict: "drop", reason: "ttl", service: "nat", down: true}},
			row{name: v + "'s session was ended a moment ago", set: func(t *testing.T, w *world) { w.kill(t, w.prove(t, hello(client, natPort))) },
				in: is(hello(client, natPort).Bytes()), want: refused("session_killed", "nat")},
			// Two services lead to one server, which can't tell their sessions with this client apart.
			row{name: v + " is in a session with that server already", set: func(t *testing.T, w *world) { w.prove(t, hello(client, openPort)) },
				in: is(hello(client, twinPort).Bytes()), want: refused("race", "twin"), after: func(t *testing.T, w *world) {
					w.wantSession(t, client, fmt.Sprintf("open proven up 2/%d down 1/%d", 2*hello(client, openPort).Len(), reply(w.session(t, client), "welcome").Len()))
				}},
		)
	}
	return g
}

const (
	smallPort = 27970
	twinPort  = 27971
)

// leadToUnknown has every route lead to a gateway whose link address nobody has found yet.
func leadToUnknown(t *testing.T, w *world) {
	w.leadTo(t, loader.HopKey{Ifindex: w.device(t), Gateway: netip.MustParseAddr("203.0.113.3")})
}

// gone leads out by an interface that is no more.
var gone = loader.Hop{
	HopKey: loader.HopKey{Ifindex: 77, Gateway: netip.MustParseAddr("203.0.113.2")}, Phys: 77, MTU: 1500, Dst: [6]byte{2}, Valid: true,
}

func admissionPlan() *loader.Plan {
	p := basePlan()
	small := service("small", loader.NAT, "nat", smallPort)
	small.MaxPacket = 500
	p.Services = append(p.Services, small, service("twin", loader.Transparent, "open", twinPort))
	return p
}

// kill ends a session as the operator does.
func (w *world) kill(t *testing.T, s loader.Session) {
	t.Helper()
	if n, err := w.edge.EndSessions([]loader.Session{s}); err != nil || n != 1 {
		t.Fatalf("ended %d sessions: %v", n, err)
	}
}

// Each of a range's ports leads to the same distance from the server's lowest.
func TestRangeMapsPortByPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for i, port := range []uint16{rangePort, rangePort + 1, rangePort + 2, rangePort + 3, rangePort + 10} {
		for _, first := range []packet.Packet{hello(player4, port), syn(player4, port), hello(player6, port), syn(player6, port)} {
			s := w.begin(t, first)
			if want := uint16(5000 + i); s.Server.Port() != want {
				t.Errorf("%v leads to %v, not to port %d", first.To, s.Server, want)
			}
			back := reply(s, "an answer")
			w.send(t, back.Bytes(), outcome{verdict: "tx", service: "range", down: true}, returned(back, s).Bytes())
			w.clear(t)
		}
	}
	in := hello(player4, rangePort+4).Bytes() // between the two ranges
	w.send(t, in, outcome{verdict: "pass"}, nil)
}

// One client has one server, by TCP and UDP, from whatever port; a pool's servers get their shares of the clients.
func TestOneServerForAClient(t *testing.T) {
	t.Parallel()
	plan := basePlan()
	servers := &plan.Pools[0]
	servers.Servers = append(servers.Servers, loader.Server{Name: "second", Addr: netip.MustParseAddr("198.51.100.12"), Port: gamePort, NAT: []netip.Addr{nat4}})
	servers.Table4 = table(func(i int) uint32 { return []uint32{0, 2, 2, 2}[i%4] }) // weights 1 and 3
	w := newWorldOf(t, plan, smallSizes())
	share := map[netip.Addr]int{}
	for n := range 600 {
		s := w.begin(t, hello(client(n), natPort))
		share[s.Server.Addr()]++
		if n < 20 {
			second := netip.AddrPortFrom(client(n).Addr(), 5)
			if other := w.begin(t, syn(second, natPort)); other.Server != s.Server {
				t.Errorf("client %v plays by UDP on %v, by TCP on %v", client(n).Addr(), s.Server, other.Server)
			}
		}
		if n%40 == 39 {
			w.clear(t)
		}
	}
	if n := share[server4]; n < 110 || n > 190 { // 150 of 600, four standard deviations
		t.Errorf("the server of weight 1 of 4 got %d of 600 clients", n)
	}
}

// A player on the servers' side reaches a transparent service by NAT: the server would answer it past the edge.
func TestHairpin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, player := range []netip.AddrPort{inside4, inside6} {
		for _, port := range []uint16{openPort, natPort} {
			first := hello(player, port)
			name := "open"
			if port == natPort {
				name = "nat"
			}
			s := w.prove(t, first)
			if a := s.Face.Addr(); a != nat4 && a != nat6 {
				t.Errorf("%s faces its server as %v", name, s.Face)
			}
			w.send(t, first.Bytes(), outcome{verdict: "tx", service: name}, forwarded(first, s).Bytes())
			back := reply(s, "an answer")
			w.send(t, back.Bytes(), outcome{verdict: "tx", service: name, down: true}, returned(back, s).Bytes())
			w.clear(t)
		}
	}
}

// What a server says first leaves as its service, and who was spoken to may answer.
func TestServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, x := range []struct {
		service string
		server  netip.Addr
		vip     netip.AddrPort
		remote  netip.AddrPort
	}{
		{"nat", server4, at(vip4, natPort), at(other4.Addr(), 27950)}, {"nat", server6, at(vip6, natPort), at(other6.Addr(), 27950)},
		{"open", open4, at(vip4, openPort), at(other4.Addr(), 27950)}, {"open", open6, at(vip6, openPort), at(other6.Addr(), 27950)},
	} {
		heartbeat := packet.NewUDP(at(x.server, gamePort), x.remote, "heartbeat")
		heartbeat.Src = serverSide
		want := sent(heartbeat, wire, x.vip, x.remote)
		w.send(t, heartbeat.Bytes(), outcome{verdict: "tx", service: x.service, down: true}, want.Bytes())
		w.wantSession(t, x.remote, fmt.Sprintf("%s unproven up 0/0 down 1/%d server-started", x.service, heartbeat.Len()))
		answer := packet.NewUDP(x.remote, x.vip, "getinfo")
		w.send(t, answer.Bytes(), outcome{verdict: "tx", service: x.service}, sent(answer, wire, x.remote, at(x.server, gamePort)).Bytes())
		w.wantSession(t, x.remote, fmt.Sprintf("%s proven up 1/%d down 1/%d server-started", x.service, answer.Len(), heartbeat.Len()))
		w.clear(t)
	}
}

// Who is refused is refused before anybody asks for the way to him. What has no way out is the host's, and nothing that
// was said of the player is said of it.
func TestServerSpeaksToTheRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*loader.Plan){"": func(*loader.Plan) {}, "watched": func(p *loader.Plan) { p.Services[0].Enforce = false }} {
		plan := basePlan()
		change(plan)
		w := newWorld(t, plan)
		w.list(t, deny("192.0.2.77/32"))
		for _, way := range []loader.HopKey{wire.HopKey, {}} {
			w.leadTo(t, way)
			want := outcome{verdict: "drop", reason: "denied", service: "nat", down: true}
			if name == "watched" && way == wire.HopKey {
				want = outcome{verdict: "tx", shadow: "denied", service: "nat", down: true}
			} else if name == "watched" {
				want = outcome{verdict: "pass"}
			}
			p := packet.NewUDP(at(server4, gamePort), at(other4.Addr(), 27950), "heartbeat")
			w.send(t, p.Bytes(), want, nil)
			w.clear(t)
		}
	}
}

// What a server sends is no player's matter where no player could be at the other end: it is the host's.
func TestServerSpeaksToNoPlayer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, to := range []string{"203.0.113.10:9", "203.0.113.20:2000", "255.255.255.255:27960", "224.0.0.251:5353", "127.0.0.1:9"} {
		p := packet.NewUDP(at(server4, gamePort), netip.MustParseAddrPort(to), "anyone?")
		w.send(t, p.Bytes(), outcome{verdict: "pass"}, nil)
	}
	for _, to := range []string{"[2001:db8::10]:9", "[2001:db8::20]:2000", "[ff02::1]:27960"} {
		p := packet.NewUDP(at(server6, gamePort), netip.MustParseAddrPort(to), "anyone?")
		w.send(t, p.Bytes(), outcome{verdict: "pass"}, nil)
	}
	// TCP segments of no session begin none, but for a SYN.
	for _, f := range []uint8{packet.RST, packet.FIN | packet.ACK, packet.SYN | packet.ACK, packet.ACK} {
		w.send(t, packet.NewTCP(at(server4, gamePort), other4, f, "").Bytes(), outcome{verdict: "pass"}, nil)
	}
	w.wantSessions(t, 0)
}

// A TCP session that is older than the edge is taken up where nothing had to be translated: the server knows the
// player's own address.
func TestTransparentTakesUpTCP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	p := syn(player4, openPort).With(func(p *packet.Packet) { p.Flags = packet.ACK })
	w.send(t, p.Bytes(), outcome{verdict: "tx", service: "open"}, sent(p, wire, player4, at(open4, gamePort)).Bytes())
	w.clear(t)
	q := packet.NewTCP(at(open4, gamePort), player4, packet.ACK|packet.PSH, "data")
	w.send(t, q.Bytes(), outcome{verdict: "tx", service: "open", down: true}, sent(q, wire, at(vip4, openPort), player4).Bytes())
}

// Who is on the list gets in.
func TestAllowlist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	numbers, err := w.edge.Lists().Services()
	must(t, err)
	must(t, w.edge.Lists().Add(loader.Allow, []loader.Entry{
		{EntryKey: loader.EntryKey{Prefix: netip.PrefixFrom(player4.Addr(), 32), Service: numbers["members"]}},
		{EntryKey: loader.EntryKey{Prefix: netip.MustParsePrefix("2001:db8:c::/64")}, Expires: time.Now().Add(time.Hour)},
	}))
	for _, p := range []netip.AddrPort{player4, player6} {
		s := w.prove(t, hello(p, membersPort))
		in := hello(p, membersPort)
		w.send(t, in.Bytes(), outcome{verdict: "tx", service: "members"}, forwarded(in, s).Bytes())
	}
	for _, p := range []netip.AddrPort{other4, other6} {
		w.send(t, hello(p, membersPort).Bytes(), outcome{verdict: "drop", reason: "not_allowed", service: "members"}, nil)
	}
	// Taken off the list while it plays: out with its next packet, in both directions.
	s := w.session(t, player4)
	_, err = w.edge.Lists().Del(loader.Allow, []loader.EntryKey{{Prefix: netip.PrefixFrom(player4.Addr(), 32), Service: numbers["members"]}})
	must(t, err)
	w.send(t, hello(player4, membersPort).Bytes(), outcome{verdict: "drop", reason: "not_allowed", service: "members"}, nil)
	w.send(t, reply(s, "more").Bytes(), outcome{verdict: "drop", reason: "not_allowed", service: "members", down: true}, nil)
}

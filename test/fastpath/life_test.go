// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// begun is how a test comes by a session of the given player's.
type begun func(*testing.T, *world, netip.AddrPort)

func proven(first func(netip.AddrPort, uint16) packet.Packet) begun {
	return func(t *testing.T, w *world, p netip.AddrPort) { w.prove(t, first(p, openPort)) }
}

// flagged has the client, then the server, then the client again send a segment with each of the flags.
func flagged(flags ...uint8) begun {
	return func(t *testing.T, w *world, p netip.AddrPort) {
		s := w.prove(t, syn(p, openPort))
		for i, f := range flags {
			q := syn(p, openPort)
			if i%2 == 1 {
				q = reply(s, "")
			}
			w.quietly(t, q.With(func(q *packet.Packet) { q.Flags = f }).Bytes())
		}
	}
}

// Idle sessions end by their state's timeout, no sooner; what either side says starts it anew.
func TestIdleTimeouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	const fin = packet.FIN | packet.ACK
	for _, x := range []struct {
		name    string
		begin   begun
		timeout time.Duration
	}{
		{"unproven UDP", func(t *testing.T, w *world, p netip.AddrPort) { w.begin(t, hello(p, openPort)) }, 10 * time.Second},
		{"unproven TCP", func(t *testing.T, w *world, p netip.AddrPort) { w.begin(t, syn(p, openPort)) }, 10 * time.Second},
		{"answered, but silent since", func(t *testing.T, w *world, p netip.AddrPort) {
			w.quietly(t, reply(w.begin(t, hello(p, openPort)), "welcome").Bytes())
		}, 10 * time.Second},
		{"proven UDP", proven(hello), time.Minute},
		{"proven TCP", proven(syn), 15 * time.Minute},
		{"TCP, client's FIN", flagged(fin), 15 * time.Minute},
		{"TCP, server's FIN", flagged(packet.ACK, fin), 15 * time.Minute},
		{"TCP, both FINs", flagged(fin, fin), 5 * time.Second},
		{"TCP, client's RST", flagged(packet.RST), 5 * time.Second},
		{"TCP, server's RST", flagged(packet.ACK, packet.RST), 5 * time.Second},
		{"TCP, both FINs, and a new handshake", flagged(fin, fin, packet.SYN, packet.SYN|packet.ACK), 15 * time.Minute},
	} {
		for _, player := range []netip.AddrPort{player4, player6} {
			t.Run(x.name+" "+player.String(), func(t *testing.T) {
				defer w.clear(t)
				x.begin(t, w, player)
				w.pass(t, x.timeout-20*time.Millisecond)
				if s := w.sweep(t); s.Ended != 0 {
					t.Fatalf("ended early: %+v", s)
				}
				w.pass(t, 40*time.Millisecond)
				if s := w.sweep(t); s.Ended != 1 || s.Deleted != 0 {
					t.Fatalf("first sweep after its timeout: %+v", s)
				}
				if s := w.session(t, player); s.State != loader.Closing {
					t.Errorf("is %s", s.State)
				}
				w.pass(t, 900*time.Millisecond)
				if s := w.sweep(t); s.Ended+s.Deleted != 0 {
					t.Fatalf("within the closing second: %+v", s)
				}
				w.pass(t, 200*time.Millisecond)
				if s := w.sweep(t); s.Deleted != 1 {
					t.Fatalf("after the closing second: %+v", s)
				}
				w.wantSessions(t, 0)
			})
		}
	}
}

// Idle is the later of both directions: a player who only listens stays in.
func TestListenerStaysIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, port := range []uint16{natPort, openPort} {
		s := w.prove(t, hello(player4, port))
		for range 5 {
			w.pass(t, 50*time.Second)
			w.quietly(t, reply(s, "state").Bytes())
			if got := w.sweep(t); got.Ended != 0 {
				t.Fatalf("%+v", got)
			}
		}
		w.clear(t)
	}
}

// In its closing second a session is a miss for all but what may begin one: that takes it up again, by the same port.
func TestRevival(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			defer w.clear(t)
			s := w.prove(t, m.first)
			closing := func() {
				w.pass(t, 16*time.Minute)
				if got := w.sweep(t); got.Ended != 1 {
					t.Fatalf("%+v", got)
				}
				w.pass(t, 500*time.Millisecond)
			}
			closing()
			answer := reply(s, "late")
			if m.service == "nat" { // to the edge's own address: the host's
				w.send(t, answer.Bytes(), outcome{verdict: "pass"}, nil)
				if ack := m.first.With(func(p *packet.Packet) { p.Flags = packet.ACK }); m.first.Proto == packet.TCP {
					w.send(t, ack.Bytes(), outcome{verdict: "drop", reason: "no_session", service: "nat"}, nil)
				}
			} else {
				w.send(t, answer.Bytes(), outcome{verdict: "tx", service: "open", down: true}, returned(answer, s).Bytes())
				closing()
			}
			w.send(t, m.first.Bytes(), outcome{verdict: "tx", service: m.service}, forwarded(m.first, s).Bytes())
			if again := w.session(t, m.first.From); again.State != loader.Unproven || again.Face != s.Face || again.Up.Packets != s.Up.Packets+1 {
				t.Errorf("revived as %s, faces its server as %v", w.text(again), again.Face)
			}
			w.send(t, answer.Bytes(), outcome{verdict: "tx", service: m.service, down: true}, returned(answer, s).Bytes())
			w.pass(t, 1100*time.Millisecond)
			if got := w.sweep(t); got.Deleted != 0 {
				t.Errorf("was deleted all the same: %+v", got)
			}
		})
	}
}

// A revived session is judged anew.
func TestRevivalIsJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	w.prove(t, hello(player4, natPort))
	w.pass(t, 2*time.Minute)
	w.sweep(t)
	w.list(t, deny("192.0.2.1/32"))
	w.send(t, hello(player4, natPort).Bytes(), outcome{verdict: "drop", reason: "denied", service: "nat"}, nil)
	if s := w.session(t, player4); s.State != loader.Closing {
		t.Errorf("is %s", s.State)
	}
}

// A session that is ended by hand is over at once; nothing revives it, and a second later its player may begin another.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			defer w.clear(t)
			s := w.prove(t, m.first)
			w.kill(t, s)
			if n, err := w.edge.EndSessions([]loader.Session{s}); n != 0 || err != nil {
				t.Errorf("ended it twice: %d, %v", n, err)
			}
			w.send(t, m.first.Bytes(), outcome{verdict: "drop", reason: "session_killed", service: m.service}, nil)
			answer := reply(s, "still there?")
			if m.service == "open" {
				w.send(t, answer.Bytes(), outcome{verdict: "drop", reason: "session_killed", service: m.service, down: true}, nil)
			} else {
				w.send(t, answer.Bytes(), outcome{verdict: "pass"}, nil)
			}
			w.pass(t, 1100*time.Millisecond)
			var gone []loader.Session
			_, err := w.edge.Sweep(func(s *loader.Session) { gone = append(gone, *s) })
			must(t, err)
			if len(gone) != 1 || gone[0].Client != s.Client || gone[0].Up != s.Up || gone[0].Down != s.Down || gone[0].State != loader.Closing {
				t.Errorf("the sweep told of %+v", gone)
			}
			w.send(t, m.first.Bytes(), outcome{verdict: "tx", service: m.service}, nil)
			if again := w.session(t, m.first.From); m.service == "nat" && again.Face == s.Face {
				t.Errorf("got its old port %v before it had rested", s.Face)
			}
		})
	}
}

// A port that is given back rests, 30 s after UDP, 60 s after TCP, and goes to the end of the queue.
func TestPortsRest(t *testing.T) {
	t.Parallel()
	one := basePlan()
	one.NATPorts = [2]uint16{natFirst, natFirst}
	w := newWorld(t, one)
	for _, x := range []struct {
		first, next packet.Packet
		rest        time.Duration
	}{
		{hello(player4, natPort), syn(other4, natPort), 30 * time.Second}, {syn(player4, natPort), hello(other4, natPort), 60 * time.Second},
		{hello(player6, natPort), syn(other6, natPort), 30 * time.Second}, {syn(player6, natPort), hello(other6, natPort), 60 * time.Second},
	} {
		s := w.prove(t, x.first)
		w.kill(t, s)
		w.pass(t, 1100*time.Millisecond)
		w.sweep(t)
		w.pass(t, x.rest-100*time.Millisecond)
		w.send(t, x.next.Bytes(), outcome{verdict: "drop", reason: "no_port", service: "nat"}, nil)
		w.wantPorts(t)
		w.pass(t, 200*time.Millisecond)
		if again := w.begin(t, x.next); again.Face != s.Face {
			t.Errorf("%v after %v", again.Face, s.Face)
		}
		// The old server's late words are not for the new player, unless it is their server too.
		w.clear(t)
	}
}

func TestPortsAreGivenOutInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	var got []uint16
	for n := range 5 {
		got = append(got, w.begin(t, hello(client(n), natPort)).Face.Port())
	}
	if want := []uint16{natFirst, natFirst + 1, natFirst + 2, natFirst + 3, natFirst + 4}; !slices.Equal(got, want) {
		t.Errorf("ports %v", got)
	}
	w.kill(t, w.session(t, client(2)))
	w.pass(t, 1100*time.Millisecond)
	w.sweep(t)
	all, err := w.edge.Ports()
	must(t, err)
	free := all[slices.IndexFunc(all, func(u loader.PortUse) bool { return u.Addr == nat4 })].Free
	if free[len(free)-1] != natFirst+2 || free[0] != natFirst+5 {
		t.Errorf("free ports are %v", free)
	}
}

// A source that was idle is forgotten in two steps; one that comes back between them is not refused.
func TestSourceComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limitPlan())
	p := hello(player4, newsPort)
	w.begin(t, p)
	w.pass(t, 2*time.Minute)
	w.sweep(t)
	w.pass(t, 1100*time.Millisecond)
	if s := w.sweep(t); s.Deleted != 1 { // and the source is found idle
		t.Fatalf("%+v", s)
	}
	if n := w.sources(t); n != 1 {
		t.Fatalf("%d sources", n)
	}
	w.pass(t, 300*time.Millisecond)
	w.send(t, p.Bytes(), outcome{verdict: "tx", service: "news"}, nil)
	for range 3 {
		w.pass(t, 1100*time.Millisecond)
		w.sweep(t)
	}
	if n := w.sources(t); n != 1 {
		t.Errorf("%d sources: that of a live session was deleted", n)
	}
	if f := w.counts(t).Faults; f["source_missing"] != 0 {
		t.Errorf("faults %v", f)
	}
	w.send(t, p.Bytes(), outcome{verdict: "tx", service: "news"}, nil)
}

// No port, source or entry is lost over thousands of sessions.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	total := 0
	for round := range 30 {
		for n := range 90 {
			first := hello(client(round*90+n), natPort)
			switch n % 4 {
			case 1:
				first = syn(client(n), natPort)
			case 2:
				first = hello(client6(round*90+n), natPort)
			case 3:
				first = syn(client6(n), openPort)
			}
			if r := w.quietly(t, first.Bytes()); r.Verdict == "tx" {
				total++
			} else {
				t.Fatalf("round %d, client %d: %s %s", round, n, r.Verdict, r.Reason)
			}
		}
		w.pass(t, 11*time.Second)
		w.sweep(t)
		if round%3 == 0 {
			w.wantPorts(t)
		}
		w.pass(t, 1100*time.Millisecond)
		if s := w.sweep(t); s.Deleted != 90 {
			t.Fatalf("round %d: %+v", round, s)
		}
		w.pass(t, 61*time.Second)
	}
	w.clear(t)
	if f := w.counts(t).Faults; f["port_lost"]+f["source_missing"] != 0 {
		t.Errorf("faults %v", f)
	}
	t.Logf("%d sessions", total)
}

// modesApart are the modes, each with a player of its own.
func modesApart() []mode {
	all := modes()
	for i := range all {
		all[i].first.From = port(all[i].first.From, i)
	}
	return all
}

// A reload loses no session, whatever it takes away: those of a service that went play on, strangers are the host's.
func TestReloadKeepsSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	var all []loader.Session
	players := modesApart()
	for _, m := range players {
		all = append(all, w.prove(t, m.first))
	}
	less := basePlan()
	less.Services = less.Services[2:] // without nat and open
	for round, plan := range []*loader.Plan{basePlan(), less, basePlan()} {
		w.load(t, plan)
		w.pass(t, 3*time.Second)
		for i, m := range players {
			up, down := m.first.With(func(p *packet.Packet) { p.Flags = packet.ACK }), reply(all[i], "an answer")
			w.send(t, up.Bytes(), outcome{verdict: "tx", service: m.service}, forwarded(up, all[i]).Bytes())
			w.send(t, down.Bytes(), outcome{verdict: "tx", service: m.service, down: true}, returned(down, all[i]).Bytes())
		}
		want := outcome{verdict: "tx", service: "nat"}
		if plan == less {
			want = outcome{verdict: "pass"}
		}
		w.send(t, hello(port(other4, round), natPort).Bytes(), want, nil)
	}
	w.clear(t)
}

// Sessions outlive their family and their mode, too, however many reloads ago those went.
func TestReloadKeepsFamiliesAndModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	nat, local := w.prove(t, hello(player6, natPort)), hello(player4, localPort)
	w.quietly(t, local.Bytes())
	less := basePlan()
	for i := range less.Services {
		less.Services[i].Fronts = slices.DeleteFunc(less.Services[i].Fronts, func(f loader.Front) bool { return f.Addr.Is6() })
	}
	for range 3 {
		w.load(t, with(less, "local", func(s *loader.Service) { s.Forward, s.Pool = loader.NAT, "nat" }))
		up, down := hello(player6, natPort), reply(nat, "an answer")
		w.send(t, up.Bytes(), outcome{verdict: "tx", service: "nat"}, forwarded(up, nat).Bytes())
		w.send(t, down.Bytes(), outcome{verdict: "tx", service: "nat", down: true}, returned(down, nat).Bytes())
		w.send(t, local.Bytes(), outcome{verdict: "pass", service: "local"}, nil)
		w.answer(t, hosted(player4, "an answer").Bytes(), 1, outcome{verdict: "pass", service: "local", down: true})
	}
	w.clear(t)
}

// A daemon that dies while it pins a generation leaves one without services: the one before still names them.
func TestServicesOfAHalfPinnedGeneration(t *testing.T) {
	t.Parallel()
	w, pin := pinnedWorld(t, basePlan())
	want, err := w.edge.Lists().Services()
	must(t, err)
	must(t, os.Mkdir(filepath.Join(pin, "gen-99"), 0o700))
	l, err := loader.OpenLists(pin)
	must(t, err)
	defer l.Close()
	if got, err := l.Services(); err != nil || len(got) != 6 || !maps.Equal(got, want) {
		t.Errorf("services %v, %v; want %v", got, err, want)
	}
}

// Who was ended by hand in its closing second stays out for that second, too.
func TestKilledWhileClosing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	s := w.prove(t, hello(player4, natPort))
	w.pass(t, 2*time.Minute)
	w.sweep(t)
	if n, err := w.edge.EndSessions([]loader.Session{s}); n != 0 || err != nil { // it was over
		t.Errorf("ended %d: %v", n, err)
	}
	w.send(t, hello(player4, natPort).Bytes(), outcome{verdict: "drop", reason: "session_killed", service: "nat"}, nil)
}

// Who is behind an address and port that a server sees: the player.
func TestWho(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modesApart() {
		s := w.begin(t, m.first)
		got, ok, err := w.edge.Who(s.Face, s.Proto)
		if err != nil || !ok || got.Client != m.first.From {
			t.Errorf("%v is %v, %v: %v", s.Face, got.Client, ok, err)
		}
	}
	if _, ok, err := w.edge.Who(at(nat4, natLast), packet.UDP); ok || err != nil {
		t.Errorf("a free port is somebody: %v", err)
	}
}

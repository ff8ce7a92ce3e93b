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

// strangerPlan bounds what strangers are given; each test moves the bounds that it is not about out of the way.
func strangerPlan(change func(*loader.Strangers)) func() *loader.Plan {
	return func() *loader.Plan {
		p := basePlan()
		for i := range p.Services {
			p.Services[i].Fragments = false
			if change != nil {
				change(&p.Services[i].Strangers)
			}
		}
		return p
	}
}

func strangerSizes() loader.Sizes {
	s := smallSizes()
	s.Unproven, s.Greylist, s.Regulars = 64, 4096, 64
	return s
}

func refusedAs(reason, service string) outcome {
	return outcome{verdict: "drop", reason: reason, service: service}
}

// strangerGroups are the rows of what strangers are refused for.
func strangerGroups() []group {
	tokens := func(n int) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for i := range n {
				w.begin(t, hello(client(i), natPort))
			}
		}
	}
	return []group{
		{"first sight", strangerPlan(func(s *loader.Strangers) { s.Sessions = 2 }), strangerSizes, []row{
			{name: "over the rate of strangers", set: tokens(2), in: is(hello(player4, natPort).Bytes()), want: refusedAs("greylisted", "nat")},
			{name: "again too soon", set: func(t *testing.T, w *world) {
				tokens(2)(t, w)
				w.quietly(t, hello(player4, natPort).Bytes())
				w.pass(t, 50*time.Millisecond)
			}, in: is(hello(player4, natPort).Bytes()), want: refusedAs("greylisted", "nat")},
		}},
		{"admissions", strangerPlan(func(s *loader.Strangers) { s.Sessions, s.Admissions = 1, 1 }), strangerSizes, []row{
			{name: "more come again than are let in", set: func(t *testing.T, w *world) {
				w.begin(t, hello(client(0), natPort))
				w.quietly(t, hello(player4, natPort).Bytes(), hello(other4, natPort).Bytes())
				w.pass(t, 300*time.Millisecond)
				w.begin(t, hello(other4, natPort))
			}, in: is(hello(player4, natPort).Bytes()), want: refusedAs("strangers_full", "nat")},
		}},
		{"a stranger's rate", strangerPlan(func(s *loader.Strangers) { s.Packets, s.Sessions = 4, 1 }), strangerSizes, []row{
			{name: "over it", set: func(t *testing.T, w *world) {
				w.begin(t, hello(client(0), natPort))
				for range 3 {
					w.quietly(t, hello(player4, natPort).Bytes())
				}
			}, in: is(hello(player4, natPort).Bytes()), want: refusedAs("stranger_rate", "nat")},
		}},
		{"unanswered", strangerPlan(func(s *loader.Strangers) { s.Unanswered = 3 }), strangerSizes, []row{
			{name: "goes on and on", set: func(t *testing.T, w *world) {
				w.begin(t, hello(player4, natPort))
				w.quietly(t, hello(player4, natPort).Bytes(), hello(player4, natPort).Bytes())
			}, in: is(hello(player4, natPort).Bytes()), want: refusedAs("unproven_rate", "nat")},
		}},
		{"answers", func() *loader.Plan {
			p := strangerPlan(nil)()
			p.Answers = loader.AnswerBudget{Prefix: 8000, Total: 100_000}
			return p
		}, strangerSizes, []row{
			{name: "a server's, larger than the budget", set: func(t *testing.T, w *world) {
				s := w.begin(t, hello(player4, natPort))
				w.quietly(t, reply(s, string(make([]byte, 1400))).Bytes())
				w.quietly(t, reply(s, string(make([]byte, 900))).Bytes())
			}, in: func(t *testing.T, w *world) []byte {
				return reply(w.session(t, player4), string(make([]byte, 1400))).Bytes()
			}, want: outcome{verdict: "drop", reason: "answer_budget", service: "nat", down: true}},
		}},
		{"impossible sources", strangerPlan(nil), strangerSizes, []row{
			{name: "of a link alone", in: is(hello(netip.MustParseAddrPort("169.254.7.7:4000"), natPort).Bytes()), want: refusedAs("impossible_source", "nat")},
			{name: "of a link alone, IPv6", in: is(hello(netip.MustParseAddrPort("[fe80::7]:4000"), natPort).Bytes()), want: refusedAs("impossible_source", "nat")},
			{name: "discarded", in: is(hello(netip.MustParseAddrPort("[100::7]:4000"), natPort).Bytes()), want: refusedAs("impossible_source", "nat")},
			{name: "mapped", in: is(hello(netip.AddrPortFrom(netip.AddrFrom16([16]byte{10: 0xff, 0xff, 192, 0, 2, 1}), 4000), natPort).Bytes()), want: refusedAs("impossible_source", "nat")},
			{name: "translated", in: is(hello(netip.MustParseAddrPort("[64:ff9b::c000:201]:4000"), natPort).Bytes()), want: refusedAs("impossible_source", "nat")},
		}},
		{"reflection", strangerPlan(nil), strangerSizes, reflectionRows()},
	}
}

func reflectionRows() []row {
	from := func(port uint16, payload string) []byte {
		return packet.NewUDP(at(player4.Addr(), port), vip(player4, natPort), payload).Bytes()
	}
	pad := func(n int) string { return string(make([]byte, n)) }
	return []row{
		{name: "DNS", in: is(from(53, "\x12\x34\x81\x80\x00\x01\x00\x02"+pad(40))), want: refusedAs("reflection", "nat")},
		{name: "NTP monlist", in: is(from(123, "\xd7\x00\x03\x2a"+pad(436))), want: refusedAs("reflection", "nat")},
		{name: "NTP readvar", in: is(from(123, "\x16\x82\x00\x01"+pad(400))), want: refusedAs("reflection", "nat")},
		{name: "CLDAP", in: is(from(389, "\x30\x84\x00\x00"+pad(1400))), want: refusedAs("reflection", "nat")},
		{name: "SSDP", in: is(from(1900, "HTTP/1.1 200 OK\r\n"+pad(200))), want: refusedAs("reflection", "nat")},
		{name: "memcached", in: is(from(11211, "\x00\x01\x00\x00\x00\x01\x00\x00VALUE "+pad(900))), want: refusedAs("reflection", "nat")},
		{name: "CHARGEN", in: is(from(19, " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n")), want: refusedAs("reflection", "nat")},
		{name: "SNMP", in: is(from(161, "\x30\x82\x04\x00\x02\x01\x01\x04"+pad(1000))), want: refusedAs("reflection", "nat")},
		{name: "DVR", in: is(from(37810, "\x20\x00\x00\x00DHIP"+pad(600))), want: refusedAs("reflection", "nat")},
		{name: "a status of another server", in: is(from(27960, "\xff\xff\xff\xffstatusResponse\n"+pad(700))), want: refusedAs("reflection", "nat")},
		{name: "a player at such a port", in: is(from(53, "hello there")), want: outcome{verdict: "tx", service: "nat"}},
		{name: "a player at a game's own port", in: is(from(27960, "\xff\xff\xff\xffgetinfo")), want: outcome{verdict: "tx", service: "nat"}},
	}
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	for _, g := range strangerGroups() {
		t.Run(g.name, g.run)
	}
}

// Under attack a stranger gets in who comes again by the same address and port, neither at once nor much later.
func TestGreylist(t *testing.T) {
	t.Parallel()
	for _, p := range []netip.AddrPort{player4, player6} {
		for _, tc := range []struct {
			after time.Duration
			in    bool
		}{
			{0, false}, {50 * time.Millisecond, false}, {200 * time.Millisecond, true}, {time.Second, true}, {1500 * time.Millisecond, true},
			{3500 * time.Millisecond, false}, {time.Minute, false},
		} {
			t.Run(fmt.Sprint(p, " after ", tc.after), func(t *testing.T) {
				w := newWorldOf(t, strangerPlan(func(s *loader.Strangers) { s.Sessions = 1000 })(), strangerSizes())
				must(t, w.edge.SetState(1, loader.StateAttack))
				w.send(t, hello(p, natPort).Bytes(), refusedAs("greylisted", "nat"), nil)
				w.pass(t, tc.after)
				again := refusedAs("greylisted", "nat")
				if tc.in {
					again = outcome{verdict: "tx", service: "nat"}
				}
				w.send(t, hello(p, natPort).Bytes(), again, nil)
				stranger := p
				if tc.in {
					stranger = netip.AddrPortFrom(p.Addr(), p.Port()+1)
				}
				w.send(t, hello(stranger, natPort).Bytes(), refusedAs("greylisted", "nat"), nil)
			})
		}
	}
}

// Whoever is allowed, or has played here before, is no stranger.
func TestRegularsComeBack(t *testing.T) {
	t.Parallel()
	for _, p := range []netip.AddrPort{player4, player6} {
		w := newWorldOf(t, strangerPlan(nil)(), strangerSizes())
		w.play(t, hello(p, natPort), 34*time.Second)
		w.clear(t)
		must(t, w.edge.SetState(1, loader.StateAttack))
		w.send(t, hello(netip.AddrPortFrom(p.Addr(), 50000), natPort).Bytes(), outcome{verdict: "tx", service: "nat"}, nil)
		w.send(t, hello(vipPlayer(p), natPort).Bytes(), refusedAs("greylisted", "nat"), nil)
	}
}

// Who plays for the first time while its service is attacked is no regular by a weak proof.
func TestWeakProofMakesNoRegularUnderAttack(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, strangerPlan(nil)(), strangerSizes())
	must(t, w.edge.SetState(1, loader.StateAttack))
	w.quietly(t, hello(player4, natPort).Bytes())
	w.pass(t, time.Second)
	w.play(t, hello(player4, natPort), 34*time.Second)
	w.clear(t)
	w.send(t, hello(player4, natPort).Bytes(), refusedAs("greylisted", "nat"), nil)
}

func vipPlayer(p netip.AddrPort) netip.AddrPort {
	if p.Addr().Is4() {
		return other4
	}
	return other6
}

// play proves a session and has both sides speak each second.
func (w *world) play(t *testing.T, first packet.Packet, d time.Duration) loader.Session {
	t.Helper()
	s := w.prove(t, first)
	for range d / time.Second {
		w.pass(t, time.Second)
		w.quietly(t, first.Bytes(), reply(s, "a word").Bytes())
	}
	return w.session(t, first.From)
}

// Strangers push out the oldest stranger, never a session that is proven, and what is left of them is bounded by the slots: with
// no daemon to sweep.
func TestStrangersPushOutStrangers(t *testing.T) {
	t.Parallel()
	for _, port := range []uint16{natPort, openPort} {
		for _, far := range []func(int) netip.AddrPort{client, client6} {
			t.Run(fmt.Sprint(port, " ", far(0)), func(t *testing.T) {
				sizes := strangerSizes()
				plan := strangerPlan(nil)()
				plan.NATPorts = [2]uint16{2000, 9999}
				w := newWorldOf(t, plan, sizes)
				w.ports = plan.NATPorts
				defer w.clear(t)
				proven := []netip.AddrPort{far(5000), far(5001)}
				for _, p := range proven {
					w.prove(t, hello(p, port))
				}
				in := 0
				for i := range 1000 {
					if r := w.quietly(t, hello(far(i), port).Bytes()); r.Reason == "" {
						in++
					}
					w.pass(t, 100*time.Millisecond) // 10 a second: less than a quarter of the slots
				}
				if in != 1000 {
					t.Errorf("%d of 1000 strangers came in", in)
				}
				all := w.sessions(t)
				if n := len(all); n > int(sizes.Unproven)+len(proven) {
					t.Errorf("%d sessions of %d slots", n, sizes.Unproven)
				}
				unproven := 0
				for _, s := range all {
					if s.State == loader.Unproven {
						unproven++
					}
				}
				if unproven < int(sizes.Unproven)/2 {
					t.Errorf("%d strangers are left: the ring gives them away", unproven)
				}
				for _, p := range proven {
					if s := w.session(t, p); s.State != loader.Proven {
						t.Errorf("%v is %s", p, s.State)
					}
					w.quietly(t, hello(p, port).Bytes())
				}
			})
		}
	}
}

// The ring turns once a second at most.
func TestStrangersComeNoFasterThanTheRingTurns(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, strangerPlan(nil)(), strangerSizes())
	in := 0
	for i := range 500 {
		r := w.quietly(t, hello(client(i), natPort).Bytes())
		switch r.Reason {
		case "":
			in++
		case "strangers_full":
		default:
			t.Fatalf("stranger %d: %s", i, r.Reason)
		}
	}
	if in > 64 || in < 48 {
		t.Errorf("%d strangers at once came into 64 slots", in)
	}
	w.pass(t, 1100*time.Millisecond)
	w.begin(t, hello(player4, natPort))
}

// Weakly proven sessions have quotas, and give their place back when they end or last.
func TestWeakQuotas(t *testing.T) {
	t.Parallel()
	plan := strangerPlan(func(s *loader.Strangers) { s.Weak, s.WeakPrefix = 3, 2 })()
	near := func(i int) netip.AddrPort { return netip.AddrPortFrom(player4.Addr(), uint16(40000+i)) }
	speak := func(t *testing.T, w *world, p netip.AddrPort) loader.SessionState {
		s := w.begin(t, hello(p, natPort))
		w.quietly(t, reply(s, "welcome").Bytes(), hello(p, natPort).Bytes())
		return w.session(t, p).State
	}
	want := func(t *testing.T, w *world, n int) {
		t.Helper()
		all, err := w.edge.StrangerCounts()
		must(t, err)
		if got := all[1].WeakSessions; got != uint32(n) {
			t.Errorf("%d weak sessions are counted, not %d", got, n)
		}
	}
	t.Run("of a prefix, of a service", func(t *testing.T) {
		w := newWorldOf(t, plan, strangerSizes())
		for i, state := range []loader.SessionState{loader.Proven, loader.Proven, loader.Unproven} {
			if got := speak(t, w, near(i)); got != state {
				t.Errorf("session %d of one prefix is %s", i, got)
			}
		}
		if got := speak(t, w, client(1)); got != loader.Proven {
			t.Errorf("the third of the service is %s", got)
		}
		if got := speak(t, w, client(2)); got != loader.Unproven {
			t.Errorf("the fourth of the service is %s", got)
		}
		want(t, w, 3)
		w.clear(t)
		want(t, w, 0)
		for i := range 2 {
			if got := speak(t, w, near(i)); got != loader.Proven {
				t.Errorf("after all had ended, session %d is %s", i, got)
			}
		}
		w.clear(t)
	})
	t.Run("until they last", func(t *testing.T) {
		w := newWorldOf(t, plan, strangerSizes())
		w.play(t, hello(near(0), natPort), 34*time.Second)
		w.play(t, hello(near(1), natPort), 34*time.Second)
		want(t, w, 0)
		if got := speak(t, w, near(2)); got != loader.Proven {
			t.Errorf("the third is %s", got)
		}
		w.clear(t)
		want(t, w, 0)
	})
}

// A weakly proven session that has not lasted ends sooner than another.
func TestWeakIdle(t *testing.T) {
	t.Parallel()
	plan := strangerPlan(nil)()
	for i := range plan.Services {
		plan.Services[i].Timeouts.Weak = 20 * time.Second
	}
	w := newWorldOf(t, plan, strangerSizes())
	w.prove(t, hello(player4, natPort))
	w.play(t, hello(other4, natPort), 34*time.Second)
	w.prove(t, hello(player4, natPort))
	w.pass(t, 21*time.Second)
	w.sweep(t)
	if s := w.session(t, player4); s.State != loader.Closing {
		t.Errorf("the weak one is %s after 21 s", s.State)
	}
	if s := w.session(t, other4); s.State != loader.Proven {
		t.Errorf("the lasting one is %s after 21 s", s.State)
	}
	w.clear(t)
}

// All that a prefix is given while it is not proven, by whatever service and server, stays within its budget.
func TestReflectorBudgetOfAPrefix(t *testing.T) {
	t.Parallel()
	plan := strangerPlan(nil)()
	plan.NATPorts = [2]uint16{2000, 9999}
	plan.Answers = loader.AnswerBudget{Prefix: 8000, Total: 1_000_000}
	sizes := strangerSizes()
	sizes.Unproven = 1024
	w := newWorldOf(t, plan, sizes)
	w.ports = plan.NATPorts
	given := 0           // to each client beyond what it sent
	for i := range 500 { // 10 s of it
		p := hello(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(40000+i)), []uint16{natPort, openPort}[i%2])
		s, out := w.begin(t, p), 0
		for range 5 {
			frame := reply(s, string(make([]byte, 1000))).Bytes()
			if r := w.quietly(t, frame); r.Reason == "" {
				out += packet.Length(frame)
			}
		}
		given += max(out-packet.Length(p.Bytes()), 0)
		w.pass(t, 20*time.Millisecond)
	}
	if given > 80_000+2000 || given < 75_000 {
		t.Errorf("%d bytes more came out than in, within 10 s at 64 kbit/s", given)
	}
}

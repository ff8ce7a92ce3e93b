// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/loader/gates"
	"parry/test/packet"
)

const (
	sourcePort = natPort  // game source
	quakePort  = openPort // game quake3
	infoQuery  = "\xff\xff\xff\xffTSource Engine Query\x00"
	getinfo    = "\xff\xff\xff\xffgetinfo xyz\n"
)

// ourGate is one of parry's own.
func ourGate(name string) loader.Gate {
	g, err := loader.ReadGate(gates.Objects()[name])
	if err != nil {
		panic(err)
	}
	return g
}

// gatedPlan has a service behind each of some gates: Source on natPort, Quake III on openPort, Minecraft's on rangePort.
func gatedPlan() *loader.Plan {
	p := basePlan()
	p.Gates = []loader.Gate{ourGate("source"), ourGate("quake3"), ourGate("minecraft_java")}
	for i, gate := range map[int]string{0: "source", 1: "quake3", 2: "quake3", 5: "minecraft_java"} {
		p.Services[i].Gate, p.Services[i].Answers = gate, gate != "minecraft_java"
		p.Services[i].Timeouts.Silent = 5 * time.Second
	}
	p.Answers = loader.AnswerBudget{Prefix: 8000, Total: 100_000}
	return p
}

func says(from netip.AddrPort, port uint16, payload string) packet.Packet {
	return packet.NewUDP(from, vip(from, port), payload)
}

// payloadOf a UDP frame.
func payloadOf(t *testing.T, frame []byte) string {
	t.Helper()
	must(t, packet.Check(frame))
	v, err := packet.Look(frame)
	must(t, err)
	return string(frame[v.L4+8 : v.L3+v.Len])
}

// answers puts an answer into the cache of the IPv4 server behind a service.
func (w *world) answers(t *testing.T, port uint16, kind int, payload string, several bool) {
	t.Helper()
	name := map[uint16]string{sourcePort: "nat", quakePort: "open"}[port]
	env, err := w.edge.Env()
	must(t, err)
	must(t, w.edge.SetAnswer(loader.AnswerCell{Pool: name, Server: name + "4"}, kind, []byte(payload), several, uint64(env.Now+5*time.Second)))
}

// proven is a Source query with the right challenge, which it asks for.
func (w *world) proven(t *testing.T, p netip.AddrPort, query string) packet.Packet {
	t.Helper()
	asks := query
	if asks != infoQuery {
		asks += "\xff\xff\xff\xff"
	}
	r := w.quietly(t, says(p, sourcePort, asks).Bytes())
	if r.Verdict != "tx" {
		t.Fatalf("%v asks for a challenge: %s %s", p, r.Verdict, r.Reason)
	}
	return says(p, sourcePort, query+payloadOf(t, r.Out)[5:])
}

func gateGroups() []group {
	return []group{
		{"gates", gatedPlan, strangerSizes, []row{
			{name: "no word of its game", in: is(says(player4, sourcePort, "hello there").Bytes()), want: refusedAs("gate_refused", "nat")},
			{name: "no word of its game, IPv6", in: is(says(player6, sourcePort, "hello there").Bytes()), want: refusedAs("gate_refused", "nat")},
			{name: "in the middle of play", in: is(says(player4, quakePort, "\x05\x00\x00\x00play").Bytes()), want: refusedAs("gate_refused", "open")},
			{name: "to connect", in: is(says(player4, quakePort, "\xff\xff\xff\xffgetchallenge 123456 OpenArena").Bytes()), want: outcome{verdict: "tx", service: "open"}},
			{name: "who is allowed is never asked", set: func(t *testing.T, w *world) {
				must(t, w.lists.Add(loader.Allow, []loader.Entry{{EntryKey: loader.EntryKey{Prefix: netip.PrefixFrom(player4.Addr(), 32)}}}))
			}, in: is(says(player4, sourcePort, "hello there").Bytes()), want: outcome{verdict: "tx", service: "nat"}, after: func(t *testing.T, w *world) {
				_, err := w.lists.Del(loader.Allow, []loader.EntryKey{{Prefix: netip.PrefixFrom(player4.Addr(), 32)}})
				must(t, err)
			}},
		}},
		{"several packets", gatedPlan, strangerSizes, []row{
			{name: "who asks for the rules and has proven its address", in: func(t *testing.T, w *world) []byte {
				w.answers(t, sourcePort, 2, "", true)
				return w.proven(t, player4, "\xff\xff\xff\xffV").Bytes()
			}, want: refusedAs("answer_queued", "nat")},
			{name: "more than the daemon has read", in: func(t *testing.T, w *world) []byte {
				w.answers(t, sourcePort, 2, "", true)
				ask := w.proven(t, player4, "\xff\xff\xff\xffV")
				for range 1300 { // 64 KiB of 48 bytes and 8 for each
					w.quietly(t, ask.Bytes())
				}
				return ask.Bytes()
			}, want: refusedAs("answer_busy", "nat")},
		}},
		{"a gate that is gone", gatedPlan, strangerSizes, []row{
			{name: "lets nobody in", set: func(t *testing.T, w *world) { must(t, w.edge.ForgetGates()) },
				in: is(says(player4, sourcePort, infoQuery).Bytes()), want: refusedAs("gate_missing", "nat")},
		}},
		{"queries", func() *loader.Plan {
			p := gatedPlan()
			for i := range p.Services {
				p.Services[i].Strangers.Queries = 2
			}
			return p
		}, strangerSizes, []row{
			{name: "over the source's rate", set: func(t *testing.T, w *world) {
				w.quietly(t, says(player4, sourcePort, infoQuery).Bytes(), says(player4, sourcePort, infoQuery).Bytes())
			}, in: is(says(player4, sourcePort, infoQuery).Bytes()), want: refusedAs("query_rate", "nat")},
		}},
	}
}

func TestGates(t *testing.T) {
	t.Parallel()
	for _, g := range gateGroups() {
		t.Run(g.name, g.run)
	}
}

// Who asks without a challenge gets one, no longer than the question; who echoes it has proven its address, and its query goes to
// the server where the cache has no answer, in a session that is proven from its first packet on.
func TestChallenge(t *testing.T) {
	t.Parallel()
	for _, p := range []netip.AddrPort{player4, player6} {
		w := newWorldOf(t, gatedPlan(), strangerSizes())
		must(t, w.edge.SetState(1, loader.StateAttack))
		ask := says(p, sourcePort, infoQuery)
		r := w.send(t, ask.Bytes(), outcome{verdict: "tx", service: "nat"}, nil)
		answer := payloadOf(t, r.Out)
		if len(answer) != 9 || !strings.HasPrefix(answer, "\xff\xff\xff\xffA") {
			t.Fatalf("%q", answer)
		}
		back := says(p, sourcePort, answer).With(func(q *packet.Packet) {
			q.From, q.To, q.Src, q.Dst, q.DF = q.To, q.From, q.Dst, q.Src, p.Addr().Is4()
		})
		if diff := cmp.Diff(hex.Dump(back.Bytes()), hex.Dump(r.Out)); diff != "" {
			t.Errorf("the challenge (-want +got):\n%s", diff)
		}
		w.wantSessions(t, 0)
		again := says(p, sourcePort, infoQuery+answer[5:])
		elsewhere := says(netip.AddrPortFrom(p.Addr(), p.Port()+1), sourcePort, infoQuery+answer[5:])
		if r := w.quietly(t, elsewhere.Bytes()); r.Verdict != "tx" || len(r.Out) == len(again.Bytes()) {
			t.Errorf("a challenge of another tuple: %s, %d bytes", r.Verdict, len(r.Out))
		}
		w.wantSessions(t, 0)
		r = w.send(t, again.Bytes(), outcome{verdict: "tx", service: "nat"}, nil)
		if err := packet.Check(r.Out); err != nil {
			t.Error(err)
		}
		s := w.session(t, p)
		if s.State != loader.Proven {
			t.Errorf("its session is %s", s.State)
		}
		goes := forwarded(says(p, sourcePort, infoQuery+"\xff\xff\xff\xff"), s)
		if diff := cmp.Diff(hex.Dump(goes.Bytes()), hex.Dump(r.Out)); diff != "" {
			t.Errorf("the query that goes on (-want +got):\n%s", diff)
		}
		w.pass(t, 40*time.Second)
		late := says(netip.AddrPortFrom(p.Addr(), p.Port()), sourcePort, infoQuery+answer[5:])
		w.clear(t)
		if r := w.quietly(t, late.Bytes()); len(r.Out) == 0 || len(w.sessions(t)) != 0 {
			t.Errorf("a challenge of 40 s ago: %s %s", r.Verdict, r.Reason)
		}
	}
}

// The first words of a TCP client are its gate's to judge. Who says something else is cut off, and the server hears of it.
func TestFirstWords(t *testing.T) {
	t.Parallel()
	handshake := "\x0f\x00\x2f\x09127.0.0.1\x63\xdd\x01\x01\x00"
	for _, p := range []netip.AddrPort{player4, player6} {
		connect := func(t *testing.T, w *world) (packet.Packet, loader.Session) {
			first := syn(p, rangePort)
			s := w.begin(t, first)
			w.quietly(t, reply(s, "").With(func(q *packet.Packet) { q.Flags = packet.SYN | packet.ACK }).Bytes(),
				first.With(func(q *packet.Packet) { q.Flags, q.TCPOptions = packet.ACK, nil }).Bytes())
			return first.With(func(q *packet.Packet) { q.Flags, q.TCPOptions, q.Seq = packet.ACK, nil, q.Seq+1 }), s
		}
		t.Run(p.String()+" speaks its game", func(t *testing.T) {
			w := newWorldOf(t, gatedPlan(), strangerSizes())
			says, s := connect(t, w)
			hello := says.With(func(q *packet.Packet) { q.Payload = []byte(handshake) })
			w.send(t, hello.Bytes(), outcome{verdict: "tx", service: "range"}, forwarded(hello, s).Bytes())
			w.quietly(t, reply(s, "").Bytes())
			if s := w.session(t, p); s.State != loader.Proven {
				t.Errorf("is %s", s.State)
			}
			more := says.With(func(q *packet.Packet) { q.Payload = []byte("GET / HTTP/1.0") })
			w.send(t, more.Bytes(), outcome{verdict: "tx", service: "range"}, forwarded(more, s).Bytes())
		})
		t.Run(p.String()+" speaks something else", func(t *testing.T) {
			w := newWorldOf(t, gatedPlan(), strangerSizes())
			says, s := connect(t, w)
			other := says.With(func(q *packet.Packet) { q.Payload = []byte("GET / HTTP/1.0\r\n\r\n") })
			reset := forwarded(says.With(func(q *packet.Packet) { q.Flags, q.Ack = packet.RST, 0 }), s)
			w.send(t, other.Bytes(), outcome{verdict: "tx", reason: "gate_refused", service: "range", bytes: packet.Length(reset.Bytes())}, reset.Bytes())
			w.pass(t, 6*time.Second)
			w.sweep(t)
			if s := w.session(t, p); s.State != loader.Closing {
				t.Errorf("is %s", s.State)
			}
		})
		t.Run(p.String()+" says nothing", func(t *testing.T) {
			w := newWorldOf(t, gatedPlan(), strangerSizes())
			connect(t, w)
			before := w.counts(t)
			w.pass(t, 6*time.Second)
			w.sweep(t)
			if n := w.counts(t).since(before).Services["range"].Reasons["silent"].Packets; n != 1 {
				t.Errorf("%d silent clients were counted", n)
			}
		})
	}
}

// A cached answer goes to who has proven its address; a stale one to nobody.
func TestCachedAnswer(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, gatedPlan(), strangerSizes())
	must(t, w.edge.SetState(1, loader.StateAttack))
	for _, n := range []int{1, 20, 93, 250, 251, 1400} {
		want := strings.Repeat("\xff\xff\xff\xffI a server's answer, ", 80)[:n]
		w.answers(t, sourcePort, 0, want, false)
		r := w.send(t, w.proven(t, player4, infoQuery).Bytes(), outcome{verdict: "tx", service: "nat"}, nil)
		if got := payloadOf(t, r.Out); got != want {
			t.Errorf("%d bytes: %q", n, got)
		}
	}
	w.wantSessions(t, 0)
	w.pass(t, 6*time.Second)
	w.quietly(t, w.proven(t, player4, infoQuery).Bytes())
	w.wantSessions(t, 1)
}

// What has no challenge is answered within the budget of its prefix; under attack, to who asks again.
func TestUnprovenAnswers(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, gatedPlan(), strangerSizes())
	answer := "\xff\xff\xff\xffinfoResponse\n\\hostname\\" + strings.Repeat("x", 900)
	w.answers(t, quakePort, 0, answer, false)
	ask := func(i int) packet.Packet {
		return says(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(30000+i)), quakePort, getinfo)
	}
	given := 0
	for i := range 500 { // of one /24, within 10 s
		if r := w.quietly(t, ask(i).Bytes()); r.Verdict == "tx" {
			given += packet.Length(r.Out) - packet.Length(ask(i).Bytes())
		} else if r.Reason != "greylisted" { // over its budget, it may come again
			t.Fatalf("question %d: %s %s", i, r.Verdict, r.Reason)
		}
		w.pass(t, 20*time.Millisecond)
		w.answers(t, quakePort, 0, answer, false)
	}
	if given > 80_000+2000 || given < 75_000 {
		t.Errorf("%d bytes more came out than in, within 10 s at 64 kbit/s", given)
	}
	must(t, w.edge.SetState(2, loader.StateAttack))
	p := says(other4, quakePort, getinfo)
	w.pass(t, time.Second)
	w.send(t, p.Bytes(), refusedAs("greylisted", "open"), nil)
	w.pass(t, time.Second)
	w.answers(t, quakePort, 0, answer, false)
	w.send(t, p.Bytes(), outcome{verdict: "tx", service: "open"}, nil)
	w.wantSessions(t, 0)
}

// What plays when the edge comes is taken up in the middle, where the server knows its client's own address; for a while.
func TestGrace(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, gatedPlan(), strangerSizes())
	must(t, w.edge.SetGrace(2, 10*time.Second))
	must(t, w.edge.SetGrace(1, 10*time.Second))
	play := "\x05\x00\x00\x00play"
	w.send(t, says(player4, quakePort, play).Bytes(), outcome{verdict: "tx", service: "open"}, nil)
	w.send(t, says(player4, sourcePort, play).Bytes(), refusedAs("gate_refused", "nat"), nil)
	w.pass(t, 11*time.Second)
	w.send(t, says(other4, quakePort, play).Bytes(), refusedAs("gate_refused", "open"), nil)
}

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
	for _, g := range gateGroups() {
		t.Run(g.name, g.run)
	}
}

// Who asks without a challenge gets one, no longer than the question; who echoes it has proven its address, and its query goes to
// the server where the cache has no answer, in a session that is proven from its first packet on.
func TestChallenge(t *testing.T) {
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

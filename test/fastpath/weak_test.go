// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"strings"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// Play of somebody who is proven weakly flows, though a server says twelve times as much as its client, and the budget of answers would
// not do for a second of it. Once it has lasted nothing holds it.
func TestWeakPlayFlows(t *testing.T) {
	t.Parallel()
	p := strangerPlan(func(s *loader.Strangers) { s.WeakGain = 32 })()
	p.Answers = loader.AnswerBudget{Prefix: perPrefix, Total: perAll}
	w := newWorldOf(t, p, strangerSizes())
	w.play(t, hello(player4, natPort), time.Second)
	s := w.session(t, player4)
	up, down := says(player4, natPort, strings.Repeat("u", 222)).Bytes(), reply(s, strings.Repeat("d", 1472)).Bytes()
	for range 34 * 20 { // 5 KB/s and 60 KB/s
		w.wantPass(t, up)
		w.wantPass(t, down)
		w.wantPass(t, down)
		w.pass(t, 50*time.Millisecond)
	}
	for range 1000 { // and nothing but down
		w.wantPass(t, down)
	}
	if n := w.lost(t); n != 0 {
		t.Errorf("%d packets of a player's are counted as lost", n)
	}
}

func (w *world) wantPass(t *testing.T, frame []byte) {
	t.Helper()
	if r := w.quietly(t, frame); r.Reason != "" {
		t.Fatalf("%s %s", r.Verdict, r.Reason)
	}
}

// lost is how many packets of players' are counted as lost, of the service on natPort.
func (w *world) lost(t *testing.T) uint64 {
	t.Helper()
	n, err := w.edge.StrangerCounts()
	must(t, err)
	return n[1].Lost
}

// What the edge takes from a player is counted, but for what is its source's own doing, and for queries.
func TestLossesOfPlayers(t *testing.T) {
	t.Parallel()
	p := strangerPlan(func(s *loader.Strangers) { s.WeakGain, s.Queries = 1, 1 })()
	p.Answers = loader.AnswerBudget{Prefix: perPrefix, Total: perAll}
	w := newWorldOf(t, p, strangerSizes())
	want := func(reason string, frame []byte, lost uint64) {
		t.Helper()
		if r := w.quietly(t, frame); r.Reason != reason {
			t.Errorf("%s %s, not %s", r.Verdict, r.Reason, reason)
		}
		if n := w.lost(t); n != lost {
			t.Errorf("after %s, %d are lost, not %d", reason, n, lost)
		}
	}
	s := w.begin(t, hello(player4, natPort))
	long := reply(s, strings.Repeat("d", 1400)).Bytes()
	want("", long, 0)
	want("answer_budget", long, 0) // of one that has proven nothing
	w.pass(t, time.Second)
	want("", hello(player4, natPort).Bytes(), 0)
	want("", long, 0)
	want("answer_budget", long, 1)
	w.list(t, deny(player4.Addr().String()+"/32"))
	want("denied", hello(player4, natPort).Bytes(), 1)
	want("denied", long, 1)
}

// A reflection is counted by whose answer it is.
func TestReflectionsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, strangerPlan(nil)(), strangerSizes())
	for _, row := range reflectionRows() {
		w.quietly(t, row.in(t, w))
	}
	n, err := w.edge.StrangerCounts()
	must(t, err)
	got := map[string]uint64{}
	for i, packets := range n[1].Reflected {
		if packets > 0 {
			got[loader.Reflectors[i]] = packets
		}
	}
	for name, packets := range map[string]uint64{"dns": 1, "ntp": 2, "cldap": 1, "ssdp": 1, "memcached": 1, "chargen": 1, "snmp": 1, "dvr": 1, "game": 1} {
		if got[name] != packets {
			t.Errorf("%s %d times, not %d, of %v", name, got[name], packets, got)
		}
	}
}

// A budget of a byte a second is one.
func TestTheLeastBudget(t *testing.T) {
	t.Parallel()
	p := strangerPlan(nil)()
	p.Answers = loader.AnswerBudget{Total: 1}
	w := newWorldOf(t, p, strangerSizes())
	s := w.begin(t, hello(player4, natPort))
	for n := range 3 {
		if r := w.quietly(t, reply(s, strings.Repeat("d", 1400)).Bytes()); (r.Reason == "answer_budget") != (n > 0) {
			t.Errorf("answer %d: %s %s", n, r.Verdict, r.Reason)
		}
	}
}

// Who connects again by a SYN while its old session is yet to go is heard by its gate as anybody else.
func TestARevivedConnectionIsGated(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, gatedPlan(), strangerSizes())
	p := packet.NewTCP(player4, vip(player4, rangePort), packet.SYN, "")
	say := func(payload string) loader.Result {
		return w.quietly(t, p.With(func(q *packet.Packet) { q.Flags, q.Payload = packet.ACK|packet.PSH, []byte(payload) }).Bytes())
	}
	login := "\x10\x00\xf9\x05\x09localhost\x63\xdd\x02"
	s := w.begin(t, p)
	w.quietly(t, reply(s, "").With(func(q *packet.Packet) { q.Flags = packet.SYN | packet.ACK }).Bytes())
	if r := say(login); r.Reason != "" {
		t.Fatalf("the first words: %s", r.Reason)
	}
	w.quietly(t, reply(s, "").Bytes(), p.With(func(q *packet.Packet) { q.Flags = packet.RST }).Bytes())
	w.pass(t, 6*time.Second)
	w.sweep(t)
	if state := w.session(t, player4).State; state != loader.Closing {
		t.Fatalf("it is %s", state)
	}
	w.quietly(t, p.Bytes(), reply(s, "").With(func(q *packet.Packet) { q.Flags = packet.SYN | packet.ACK }).Bytes())
	if r := say("no word of its game, and long enough for one"); r.Reason != "gate_refused" {
		t.Errorf("by the same port again: %s %s", r.Verdict, r.Reason)
	}
}

// SPDX-License-Identifier: Apache-2.0

package naming_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"parry/pkg/naming"
	"parry/test/firsts"
)

// feed shows a flow what it begins with.
func feed(n *naming.Namer, f *naming.Flow, s *firsts.Flow) {
	for _, p := range s.Packets {
		n.Feed(f, p.Up, p.Payload, len(p.Payload))
	}
}

func begin(s *firsts.Flow) naming.Flow {
	if s.TCP {
		return naming.Begin(naming.TCP, s.Port, true)
	}
	return naming.Begin(naming.UDP, s.Port, true)
}

// What is written from the protocols' descriptions is named; what is none of them is named after no game.
func TestMadeUpSessions(t *testing.T) {
	namer := new(naming.Namer)
	wrong := map[string]int{}
	flows := firsts.Flows(1, 100)
	for i := range flows {
		s := &flows[i]
		f := begin(s)
		feed(namer, &f, s)
		n := f.Name()
		label, _ := labelOf(s.Label)
		switch {
		case label.Plays() && n.Game != label, !label.Plays() && n.Game.Plays():
			wrong[s.Label+", "+s.What+", is taken for "+n.Game.String()+": "+n.Reason]++
		case n.Game.Known() && (n.Confidence <= 0 || n.Confidence > 1 || n.Reason == ""), n.Game.Plays() != (n.Class != ""):
			t.Errorf("%s, %s: %+v", s.Label, s.What, n)
		}
	}
	for what, times := range wrong {
		t.Errorf("%d times: %s", times, what)
	}
}

func labelOf(name string) (naming.Label, bool) {
	for _, l := range naming.Labels() {
		if l.String() == name {
			return l, true
		}
	}
	return 0, false
}

func TestEveryMadeUpLabelIsOne(t *testing.T) {
	made := map[string]bool{}
	for _, s := range firsts.Flows(1, 1) {
		if _, ok := labelOf(s.Label); !ok {
			t.Errorf("%q is no label", s.Label)
		}
		made[s.Label] = true
	}
	for _, l := range naming.Labels() {
		if l.Plays() && !made[l.String()] {
			t.Errorf("no session of %v is made up", l)
		}
	}
}

func TestReasonsSayWhichRule(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range naming.Rules() {
		name := r.Says
		if name == "" || seen[name] || strings.HasSuffix(name, ".") {
			t.Errorf("reason %q is empty, there twice, or ends with a dot", name)
		}
		seen[name] = true
	}
}

// No more than the budget is read, whatever comes: what names a session must stand in its first kilobyte.
func TestNoMoreThanTheBudgetIsRead(t *testing.T) {
	namer := new(naming.Namer)
	query := []byte("\xff\xff\xff\xffTSource Engine Query\x00")
	for _, x := range []struct {
		before int
		want   naming.Label
	}{{naming.Budget - len(query), naming.Source}, {naming.Budget - len(query) + 1, naming.UnknownUDP}, {naming.Budget, naming.UnknownUDP}, {9000, naming.UnknownUDP}} {
		f := naming.Begin(naming.UDP, 27015, true)
		namer.Feed(&f, true, make([]byte, x.before), x.before)
		namer.Feed(&f, false, query, len(query))
		if n := f.Name(); n.Game != x.want {
			t.Errorf("behind %d bytes: %+v", x.before, n)
		}
		if more := namer.Feed(&f, true, []byte{0}, 1); x.before >= naming.Budget && more {
			t.Errorf("behind %d bytes more is asked for", x.before)
		}
	}
}

// Wherever a capture cuts packets, they can be read; and what is cut names the same game or none.
func TestPacketsCutShort(t *testing.T) {
	namer := new(naming.Namer)
	for _, s := range firsts.Flows(13, 2) {
		for snap := range 80 {
			f := begin(&s)
			for _, p := range s.Packets {
				namer.Feed(&f, p.Up, p.Payload[:min(snap, len(p.Payload))], len(p.Payload))
			}
			if n := f.Name(); n.Game.Plays() && n.Game.String() != s.Label {
				t.Errorf("%s, %s, cut at %d: %+v", s.Label, s.What, snap, n)
			}
		}
	}
}

// A game that both sides speak is surer than one that one side does.
func TestAnAnswerInKindMakesSurer(t *testing.T) {
	namer := new(naming.Namer)
	ask, answer := []byte("\xff\xff\xff\xffgetstatus\n"), []byte("\xff\xff\xff\xffstatusResponse\n\\a\\b")
	f := naming.Begin(naming.UDP, 1, true)
	namer.Feed(&f, true, ask, len(ask))
	one := f.Name()
	f = naming.Begin(naming.UDP, 1, true)
	namer.Feed(&f, true, []byte("\xff\xff\xff\xff\x55\xff\xff\xff\xff"), 9)
	namer.Feed(&f, false, answer, len(answer))
	if n := f.Name(); n.Game != naming.Source {
		t.Errorf("the surer of two is %+v", n)
	}
	rtcp := []byte("\x80\xc8\x00\x06" + strings.Repeat("x", 24))
	discovery := append([]byte("\x00\x01\x00\x46abcd"), make([]byte, 66)...)
	f = naming.Begin(naming.UDP, 1, true)
	namer.Feed(&f, true, discovery, len(discovery))
	namer.Feed(&f, true, rtcp, len(rtcp))
	if n := f.Name(); n.Game != naming.DiscordVoice || n.Confidence != 0.95 {
		t.Errorf("what is less sure changes the name: %+v", n)
	}
	ping := []byte("\x13\x37\xca\xfe\x00\x00\x00\x01")
	f = naming.Begin(naming.UDP, 1, true)
	namer.Feed(&f, true, ping, len(ping))
	before := f.Name().Confidence
	namer.Feed(&f, false, ping, len(ping))
	if n := f.Name(); n.Confidence <= before || !strings.Contains(n.Reason, "both sides") {
		t.Errorf("answered in kind: %+v, before %v", n, before)
	}
	if one.Class != "fps" || one.First.Max == 0 || one.MaxPayload == 0 {
		t.Errorf("class and bounds: %+v", one)
	}
}

// The same bytes name the same game on any port but Mumble's, whose ping alone is everybody's.
func TestPortsNameNothing(t *testing.T) {
	namer := new(naming.Namer)
	r := rand.New(rand.NewPCG(3, 3))
	for _, s := range firsts.Flows(2, 20) {
		f := begin(&s)
		feed(namer, &f, &s)
		want := f.Name()
		if s.Label == "mumble" {
			continue
		}
		s.Port = uint16(r.IntN(64000))
		f = begin(&s)
		feed(namer, &f, &s)
		if got := f.Name(); got != want {
			t.Errorf("%s, %s: %+v on port %d, else %+v", s.Label, s.What, got, s.Port, want)
		}
	}
}

func TestFeedingAllocatesNothing(t *testing.T) {
	flows, namer := firsts.Flows(4, 1), new(naming.Namer)
	if n := testing.AllocsPerRun(100, func() {
		for i := range flows {
			f := begin(&flows[i])
			feed(namer, &f, &flows[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d sessions", n, len(flows))
	}
}

func BenchmarkFeed(b *testing.B) {
	var udp []firsts.Flow
	for _, s := range firsts.Flows(5, 4) {
		if !s.TCP {
			udp = append(udp, s)
		}
	}
	namer := new(naming.Namer)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := &udp[i%len(udp)].Packets[0]
		f := naming.Begin(naming.UDP, 1, true)
		namer.Feed(&f, true, p.Payload, len(p.Payload))
	}
}

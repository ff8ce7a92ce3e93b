// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"parry/loader"
	"parry/pkg/sample"
	"parry/test/packet"
)

// toldPlan is basePlan, told of.
func toldPlan() *loader.Plan {
	p := basePlan()
	p.Samples, p.Told = loader.SamplesAlways, true
	return p
}

// steps are the words of a step's bits.
var steps = []string{"began", "strong", "lasting", "lasts", "query", "refused"}

// stepped says what a sample tells beside its packet.
func stepped(p *sample.Packet) (text string) {
	for i, word := range steps {
		if p.Step>>i&1 != 0 {
			text += " " + word
		}
	}
	return text
}

// told says of packets what an analyser gets, but for steps.
func told(all []sample.Sample) []string {
	var lines []string
	for i := range all {
		p := all[i].Packet()
		if p.Kind >= sample.KindStep {
			continue
		}
		text := fmt.Sprintf("%s %d %q", [...]string{"drop", "first", "turn"}[p.Kind], p.Packets, p.Payload)
		if p.Down {
			text += " down"
		}
		if p.First {
			text += " begins"
		}
		lines = append(lines, text)
	}
	return lines
}

// talk is a session of n packets each way, and what came in by them.
func (w *world) talk(t *testing.T, player netip.AddrPort, port uint16, n int) (frames [][]byte) {
	t.Helper()
	for i := range n {
		in := packet.NewUDP(player, vip(player, port), fmt.Sprintf("up %d", i)).Bytes()
		w.quietly(t, in)
		back := reply(w.session(t, player), fmt.Sprintf("down %d", i)).Bytes()
		if port == localPort {
			back = hosted(player, fmt.Sprintf("down %d", i)).Bytes()
			_, err := w.edge.Reply(back, 1)
			must(t, err)
		} else {
			w.quietly(t, back)
		}
		frames = append(frames, in, back)
	}
	return frames
}

// The first four packets of a session are told each way as they came in, none of the next, and one each way after two seconds.
func TestToldFirstPackets(t *testing.T) {
	t.Parallel()
	for _, level := range []loader.SampleLevel{loader.SamplesAlways, loader.SamplesAll} {
		plan := toldPlan()
		plan.Samples = level
		w := newWorld(t, plan)
		for _, player := range []netip.AddrPort{player4, player6} {
			for _, port := range []uint16{natPort, openPort, localPort} {
				t.Run(fmt.Sprintf("level %d/%v/%d", level, player.Addr(), port), func(t *testing.T) {
					w.pass(t, 10*time.Second)
					frames := w.talk(t, player, port, 8)
					all := w.samples(t)
					want := []string{`first 0 "up 0" begins`, `first 0 "down 0" down`}
					for i := 1; i < 4; i++ {
						want = append(want, fmt.Sprintf(`first %d "up %d"`, i, i), fmt.Sprintf(`first %d "down %d" down`, i, i))
					}
					if diff := cmp.Diff(want, told(all)); diff != "" {
						t.Fatal(diff)
					}
					for i, s := range all {
						p := s.Packet()
						if !bytes.Equal(s.Frame, frames[i]) || int(s.Length) != len(frames[i]) {
							t.Errorf("packet %d: %d bytes %x, want %x", i, s.Length, s.Frame, frames[i])
						}
						if p.Client != player || p.Front != vip(player, port) || p.Proto != packet.UDP || w.edge.ServiceNames()[p.Service] == "" {
							t.Errorf("packet %d is of %v with %v by %d to service %d", i, p.Client, p.Front, p.Proto, p.Service)
						}
					}
					w.pass(t, 2100*time.Millisecond)
					w.talk(t, player, port, 3)
					want = []string{`turn 8 "up 0"`, `turn 8 "down 0" down`}
					if diff := cmp.Diff(want, told(w.samples(t))); diff != "" {
						t.Error(diff)
					}
					w.clear(t)
					w.samples(t)
				})
			}
		}
	}
}

// Of TCP seven are looked at each way: the one that begins is told, and those that say something.
func TestToldFirstSegments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toldPlan())
	for _, player := range []netip.AddrPort{player4, player6} {
		for _, port := range []uint16{natPort, openPort} {
			t.Run(fmt.Sprintf("%v/%d", player.Addr(), port), func(t *testing.T) {
				w.pass(t, 10*time.Second)
				up := func(flags uint8, say string) {
					p := packet.NewTCP(player, vip(player, port), flags, say)
					p.TCPOptions = make([]byte, 12)
					w.quietly(t, p.Bytes())
				}
				down := func(flags uint8, say string) {
					s := w.session(t, player)
					w.quietly(t, packet.NewTCP(s.Server, s.Face, flags, say).Bytes())
				}
				up(packet.SYN, "")
				down(packet.SYN|packet.ACK, "")
				up(packet.ACK, "")
				for i := range 8 {
					up(packet.ACK, fmt.Sprintf("up %d", i))
					down(packet.ACK, "")
					down(packet.ACK, fmt.Sprintf("down %d", i))
				}
				want := []string{
					`first 0 "" begins`, `first 2 "up 0"`, `first 2 "down 0" down`, `first 3 "up 1"`, `first 4 "down 1" down`, `first 4 "up 2"`,
					`first 6 "down 2" down`, `first 5 "up 3"`, `first 6 "up 4"`,
				}
				if diff := cmp.Diff(want, told(w.samples(t))); diff != "" {
					t.Error(diff)
				}
				w.clear(t)
				w.samples(t)
			})
		}
	}
}

// What a server says first begins a session, too.
func TestToldWhatServersSayFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toldPlan())
	_, err := w.edge.Reply(hosted(player4, "heartbeat").Bytes(), 1)
	must(t, err)
	w.quietly(t, packet.NewUDP(at(open4, gamePort), player4, "beat").Bytes())
	want := []string{`first 0 "heartbeat" down begins`, `first 0 "beat" down begins`}
	got := w.samples(t)
	if diff := cmp.Diff(want, told(got)); diff != "" {
		t.Fatal(diff)
	}
	if p := got[1].Packet(); p.Client != player4 || p.Front != at(vip4, openPort) {
		t.Errorf("of %v with %v", p.Client, p.Front)
	}
}

// At most a KiB of a frame is kept.
func TestToldFramesAreCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toldPlan())
	in := packet.NewUDP(player4, vip(player4, natPort), strings.Repeat("x", 1400)).Bytes()
	w.quietly(t, in)
	got := w.samples(t)
	if len(got) != 1 || len(got[0].Frame) != loader.SamplePayload || int(got[0].Length) != len(in) || got[0].Packet().Length != 1400 {
		t.Errorf("told %v", told(got))
	}
}

// A refused attempt at a session is told as one; what is refused of a session, and a stray segment, is none.
func TestToldRefusedAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toldPlan())
	w.talk(t, player4, natPort, 4)
	w.samples(t)
	w.list(t, deny("192.0.2.0/24"))
	w.list(t, deny("2001:db8:c::/48"))
	n := func(i int) netip.AddrPort { return at(netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}), 40000) }
	w.quietly(t, hello(player4, natPort).Bytes())
	w.quietly(t, hello(n(1), natPort).Bytes())
	w.quietly(t, hello(player6, openPort).Bytes())
	w.quietly(t, packet.NewTCP(n(3), vip4Port(natPort), packet.ACK, "").Bytes())
	w.quietly(t, packet.NewTCP(n(4), vip4Port(natPort), packet.SYN, "").Bytes())
	want := []string{`drop 0 "hello there"`, `drop 0 "hello there" begins`, `drop 0 "hello there" begins`, `drop 0 ""`, `drop 0 "" begins`}
	got := w.samples(t)
	if diff := cmp.Diff(want, told(got)); diff != "" {
		t.Fatal(diff)
	}
	for _, s := range got {
		if p := s.Packet(); w.edge.Names().Reasons[p.Reason] != "denied" || p.Shadow || !p.Client.IsValid() || p.Front.Port() == 0 {
			t.Errorf("told %+v", p)
		}
	}
}

func vip4Port(port uint16) netip.AddrPort { return netip.AddrPortFrom(vip4, port) }

// oneCPU has the rest of the test on one, for rates and turns are each CPU's.
func oneCPU(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread's affinity ends with it
	var all, one unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	for i := range len(all) * 64 {
		if all.IsSet(i) {
			one.Set(i)
			break
		}
	}
	must(t, unix.SchedSetaffinity(0, &one))
}

// A session that begins when the second's are used up is not told at all, and counted; the others are told whole.
func TestToldSessionsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	oneCPU(t)
	w := newWorld(t, toldPlan())
	must(t, w.edge.SetSampleRate(loader.SampleFirst, 3*2*loader.SampleFirsts+1))
	before, err := w.edge.SampleCounts()
	must(t, err)
	w.pass(t, (1<<30)-w.env.Now%(1<<30)) // all in one of the fast path's seconds
	const sessions = 5
	for range 6 {
		for i := range sessions {
			w.quietly(t, packet.NewUDP(client(i), vip4Port(openPort), "up").Bytes())
			w.quietly(t, reply(w.session(t, client(i)), "down").Bytes())
		}
	}
	of := map[netip.AddrPort]int{}
	for _, s := range w.samples(t) {
		if s.Kind < sample.KindStep {
			of[s.Packet().Client]++
		}
	}
	if want := (map[netip.AddrPort]int{client(0): 8, client(1): 8, client(2): 8}); !cmp.Equal(want, of, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
		t.Errorf("told %v", of)
	}
	after, err := w.edge.SampleCounts()
	must(t, err)
	k := loader.SampleSlots + int(loader.SampleFirst)
	if n := after[k]; n.Taken-before[k].Taken != 24 || n.Over-before[k].Over != 2 || n.Full != 0 {
		t.Errorf("counted %+v", n)
	}
}

// Where there are more turns than their rate, one in so many is told in the next second, and says so.
func TestToldTurnsAreThinnedOut(t *testing.T) {
	t.Parallel()
	oneCPU(t)
	w := newWorld(t, toldPlan())
	must(t, w.edge.SetSampleRate(loader.SampleFirst, 0))
	must(t, w.edge.SetSampleRate(loader.SampleTurn, 10))
	w.pass(t, (1<<30)-w.env.Now%(1<<30))
	const sessions = 40
	say := func() {
		for i := range sessions {
			w.quietly(t, packet.NewUDP(client(i), vip4Port(openPort), "up").Bytes())
		}
	}
	say()
	if got := told(w.samples(t)); len(got) != 0 {
		t.Fatalf("at a rate of 0: %v", got)
	}
	for second, want := range []string{"10 of 1", "8 of 5", "8 of 5"} { // 40 turns and 10 each second: every fifth
		must(t, w.lists.Bump())
		w.pass(t, 1<<30)
		say()
		got := w.samples(t)
		every := uint32(0)
		for _, s := range got {
			every = s.Packet().Every
			if s.Kind != sample.KindTurn {
				t.Errorf("told %v", told(got))
			}
		}
		if text := fmt.Sprintf("%d of %d", len(got), every); text != want {
			t.Errorf("second %d: %s, want %s", second, text, want)
		}
	}
}

// What the ring has no room for is counted, and every packet passes.
func TestToldThatDoNotFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toldPlan())
	const n = 150 // of some 1100 bytes: the ring has 64 KiB
	for i := range n {
		in := packet.NewUDP(client(i), vip4Port(openPort), strings.Repeat("x", 1200)).Bytes()
		if r := w.quietly(t, in); r.Verdict != "tx" {
			t.Fatalf("packet %d: %s %s", i, r.Verdict, r.Reason)
		}
	}
	all, err := w.edge.SampleCounts()
	must(t, err)
	got := w.samples(t)
	if c := all[loader.SampleSlots+int(loader.SampleFirst)]; c.Taken+c.Full != n || c.Full == 0 || int(c.Taken) != len(got) {
		t.Errorf("%d samples in the ring, counted %+v", len(got), c)
	}
	w.wantSessions(t, n)
}

// Where sessions are not told of, nothing is told of them; a mark of a configuration before goes with the next look at its session.
func TestToldOff(t *testing.T) {
	t.Parallel()
	off := toldPlan()
	off.Told = false
	w := newWorld(t, off)
	w.talk(t, player4, natPort, 2)
	if got := w.samples(t); len(got) != 0 {
		t.Errorf("told %v", told(got))
	}
	w.load(t, toldPlan())
	w.talk(t, other4, natPort, 2) // leaves a mark
	w.load(t, off)
	w.pass(t, 3*time.Second)
	w.samples(t)
	w.talk(t, other4, natPort, 1)
	w.load(t, toldPlan())
	w.talk(t, other4, natPort, 1)
	if got := w.samples(t); len(got) != 0 {
		t.Errorf("told %v", told(got))
	}
}

// A capture beside it gets its packets as it asked for them, and what is told is told.
func TestToldBesideACapture(t *testing.T) {
	t.Parallel()
	oneCPU(t) // turns are each CPU's: an odd number on each of two would be one sample less
	plan := toldPlan()
	plan.Samples = loader.SamplesAll
	w := newWorld(t, plan)
	must(t, w.edge.SetSample(2, &loader.SampleFilter{Passes: true, Rate: 100, Every: 2, Snap: 50}))
	w.talk(t, player4, natPort, 6)
	got := w.samples(t)
	slots, kinds := 0, 0
	for _, s := range got {
		if s.Slots == 4 {
			slots++
		}
		if s.Kind == sample.KindFirst {
			kinds++
		}
	}
	if slots != 6 || kinds != 8 {
		t.Errorf("%d for the capture, %d of the session: %v", slots, kinds, told(got))
	}
}

// Why each session ended, and what it carried, by the sweep that deletes it.
func TestSessionsEndForAReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toldPlan())
	tcp := func(p netip.AddrPort, up, down uint8) {
		w.quietly(t, syn(p, openPort).Bytes())
		s := w.session(t, p)
		w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.SYN|packet.ACK, "").Bytes())
		w.quietly(t, packet.NewTCP(p, vip4Port(openPort), packet.ACK|up, "").Bytes())
		if down != 0 {
			w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.ACK|down, "").Bytes())
		}
	}
	w.talk(t, client(0), natPort, 3)
	tcp(client(1), packet.FIN, packet.FIN) // the client first
	tcp(client(2), packet.RST, 0)
	tcp(client(3), 0, packet.RST)
	tcp(client(5), 0, packet.FIN) // the server first; each repeats itself, which changes nothing
	for range 2 {
		s := w.session(t, client(5))
		w.quietly(t, packet.NewTCP(client(5), vip4Port(openPort), packet.ACK|packet.FIN, "").Bytes())
		w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.ACK|packet.FIN, "").Bytes())
	}
	w.talk(t, client(4), openPort, 1)
	_, err := w.edge.EndSessions([]loader.Session{w.session(t, client(4))})
	must(t, err)
	got := map[netip.AddrPort]loader.Session{}
	for range 3 {
		w.pass(t, 20*time.Minute)
		_, err := w.edge.Sweep(func(s *loader.Session) { got[s.Client] = *s })
		must(t, err)
	}
	for i, want := range []loader.SessionEnd{loader.EndIdle, loader.EndClient, loader.EndClient, loader.EndServer, loader.EndKilled, loader.EndServer} {
		if s, ok := got[client(i)]; !ok || s.End != want {
			t.Errorf("session %d ended by %s (%v), want %s", i, s.End, ok, want)
		}
	}
	if s := got[client(0)]; s.Up != (loader.Direction{Packets: 3, Bytes: 3 * 32}) || s.Down != (loader.Direction{Packets: 3, Bytes: 3 * 34}) {
		t.Errorf("carried %+v and %+v", s.Up, s.Down)
	}
	if len(got) != 6 {
		t.Errorf("%d sessions ended", len(got))
	}
}

// Who had the last word tells who closed first, and a session that only asked is told as one.
func TestEndsTellWhoHadTheLastWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toldPlan())
	up := func(p netip.AddrPort, flags uint8) {
		w.pass(t, 50*time.Millisecond)
		w.quietly(t, packet.NewTCP(p, vip4Port(openPort), flags, "").Bytes())
	}
	down := func(p netip.AddrPort, flags uint8) {
		w.pass(t, 50*time.Millisecond)
		s := w.session(t, p)
		w.quietly(t, packet.NewTCP(s.Server, s.Face, flags, "").Bytes())
	}
	const ack, fin = packet.ACK, packet.ACK | packet.FIN
	for i := range 2 {
		p := client(i)
		first, then := up, down
		if i == 1 {
			first, then = down, up
		}
		w.quietly(t, syn(p, openPort).Bytes())
		down(p, packet.SYN|packet.ACK)
		up(p, ack)
		first(p, fin)
		then(p, fin)
		first(p, ack)
	}
	got := map[netip.AddrPort]loader.Session{}
	for range 3 {
		w.pass(t, 20*time.Minute)
		_, err := w.edge.Sweep(func(s *loader.Session) { got[s.Client] = *s })
		must(t, err)
	}
	for i, want := range []bool{true, false} {
		end := map[bool]loader.SessionEnd{true: loader.EndClient, false: loader.EndServer}[want]
		if s, ok := got[client(i)]; !ok || s.End != end || s.ClientLast != want || s.Query {
			t.Errorf("session %d: %v, ended by %s, its client had the last word: %v, want %v", i, ok, s.End, s.ClientLast, want)
		}
	}
}

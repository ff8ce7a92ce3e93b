// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/test/packet"
)

// watchPlan is basePlan, whose sessions may be watched.
func watchPlan(numbers loader.Sequence, level loader.SampleLevel) *loader.Plan {
	p := basePlan()
	p.Watch, p.Samples = true, level
	for i := range p.Services {
		p.Services[i].Sequence = numbers
	}
	return p
}

func watchWorld(t *testing.T, p *loader.Plan, sessions uint32) *world {
	t.Helper()
	s := smallSizes()
	s.Watched = sessions
	w := newWorldOf(t, p, s)
	must(t, w.edge.Watch(1, 1))
	return w
}

// watched is the session of the client with what was timed.
func (w *world) watched(t *testing.T, client netip.AddrPort) (found loader.Session) {
	t.Helper()
	must(t, w.edge.WatchedSessions(func(s *loader.Session) bool {
		if s.Client == client {
			found = *s
		}
		return true
	}))
	return found
}

// wantCells fails unless so many cells are somebody's: as many as halves are watched.
func (w *world) wantCells(t *testing.T, want int) {
	t.Helper()
	n, err := w.edge.WatchedHalves()
	must(t, err)
	if n != want {
		t.Errorf("%d cells are taken, not %d", n, want)
	}
}

// say sends one packet of a session either way.
func (w *world) say(t *testing.T, s loader.Session, port uint16, down bool, payload string) {
	t.Helper()
	switch {
	case down && port == localPort:
		_, err := w.edge.Reply(hosted(s.Client, payload).Bytes(), 1)
		must(t, err)
	case down:
		w.quietly(t, reply(s, payload).Bytes())
	case s.Proto == packet.TCP:
		w.quietly(t, packet.NewTCP(s.Client, s.Front, packet.ACK, payload).Bytes())
	default:
		w.quietly(t, packet.NewUDP(s.Client, s.Front, payload).Bytes())
	}
}

// playWatched is a proven session both halves of which are watched from now on.
func (w *world) playWatched(t *testing.T, client netip.AddrPort, port uint16, proto uint8) loader.Session {
	t.Helper()
	var s loader.Session
	switch {
	case port == localPort:
		w.talk(t, client, port, 2)
		s = w.session(t, client)
	case proto == packet.TCP:
		s = w.prove(t, syn(client, port))
	default:
		s = w.prove(t, hello(client, port))
	}
	w.pass(t, 2100*time.Millisecond)
	w.say(t, s, port, false, "turn")
	w.say(t, s, port, true, "turn")
	return s
}

// timed is the same by a reference that knows nothing of cells: all packets at once, in floating point.
type timed struct {
	at    []time.Duration
	bytes []int
}

func (x *timed) timing() (want loader.Timing) {
	want.Packets = uint64(len(x.at))
	jitter, before, run := 0.0, time.Duration(-1), 1
	for i, at := range x.at {
		want.Sizes[min(max(bits.Len(uint(x.bytes[i]))-6, 0), loader.TimingSizes-1)]++
		want.Last = uint64(at)
		if i == 0 {
			continue
		}
		d := at - x.at[i-1]
		want.Gap = max(want.Gap, d)
		want.Spacings[min(bits.Len64(uint64(d)>>17), loader.TimingSpacings-1)]++
		if before >= 0 {
			jitter += (math.Abs(float64(d-before)) - jitter) / 16
		}
		before = d
		if run++; d >= time.Millisecond {
			run = 1
		}
		if run == 3 {
			want.Bursts++
		}
		if run >= 3 {
			want.LongestBurst = max(want.LongestBurst, uint32(run))
		}
	}
	want.Jitter = time.Duration(jitter)
	return want
}

func near(a, b time.Duration) bool { return (a - b).Abs() < 1100*time.Nanosecond }

// What is timed of a watched session is exact, each way, in every mode, on the short cut and on the common way.
func TestWatchedTiming(t *testing.T) {
	t.Parallel()
	for _, level := range []loader.SampleLevel{loader.SamplesAlways, loader.SamplesAll} {
		w := watchWorld(t, watchPlan(loader.SequenceNone, level), 64)
		for _, proto := range []uint8{packet.UDP, packet.TCP} {
			for _, client := range []netip.AddrPort{player4, player6} {
				for _, port := range []uint16{natPort, openPort, localPort} {
					if port == localPort && proto == packet.TCP {
						continue
					}
					t.Run(fmt.Sprintf("level %d/%d/%v/%d", level, proto, client.Addr(), port), func(t *testing.T) {
						w.timesBothWays(t, w.playWatched(t, client, port, proto), port)
						w.clear(t)
						w.wantCells(t, 0)
					})
				}
			}
		}
	}
}

func (w *world) timesBothWays(t *testing.T, s loader.Session, port uint16) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(port), 7))
	var ways [2]timed
	for range 400 {
		w.pass(t, []time.Duration{0, 50 * time.Microsecond, 700 * time.Microsecond, 15 * time.Millisecond, 16 * time.Millisecond, 40 * time.Millisecond,
			time.Duration(rng.Int64N(int64(3 * time.Second)))}[min(rng.IntN(60), 6*rng.IntN(2)+rng.IntN(6), 6)])
		down := rng.IntN(3) == 0
		payload := string(make([]byte, []int{0, 1, 30, 100, 300, 600, 1200}[rng.IntN(7)]))
		w.say(t, s, port, down, payload)
		x, headers := &ways[0], 20
		if down {
			x = &ways[1]
		}
		if s.Client.Addr().Is6() {
			headers = 40
		}
		if headers += 8; s.Proto == packet.TCP {
			headers += 12
		}
		x.at, x.bytes = append(x.at, w.env.Now), append(x.bytes, headers+len(payload))
	}
	got := w.watched(t, s.Client)
	for i, g := range []*loader.Timing{got.UpTiming, got.DownTiming} {
		if g == nil {
			t.Fatalf("way %d is not watched", i)
		}
		want := ways[i].timing()
		if !near(g.Jitter, want.Jitter) {
			t.Errorf("way %d: jitter %v, not %v", i, g.Jitter, want.Jitter)
		}
		want.Jitter, want.Began, want.RecentGap = g.Jitter, g.Began, g.RecentGap
		if diff := cmp.Diff(want, *g); diff != "" {
			t.Errorf("way %d (-want +got):\n%s", i, diff)
		}
		if want.Bursts == 0 || want.Gap < time.Second {
			t.Errorf("the test has %d bursts, and a gap of %v", want.Bursts, want.Gap)
		}
	}
}

// What is told of the end is of the last half minute, not of all that was.
func TestWatchedRecently(t *testing.T) {
	t.Parallel()
	w := watchWorld(t, watchPlan(loader.SequenceQuake3, loader.SamplesAlways), 64)
	s := w.playWatched(t, player4, natPort, packet.UDP)
	number := uint32(100)
	for i := range 120 { // a second each
		number++
		switch i {
		case 10:
			w.pass(t, 5*time.Second)
			number += 50
		case 100:
			w.pass(t, 2*time.Second)
			number += 3
		}
		w.pass(t, time.Second)
		w.say(t, s, natPort, false, quakeNumber(number, false))
	}
	g := w.watched(t, player4).UpTiming
	if g.Gap != 6*time.Second || !near(g.RecentGap, 3*time.Second) || g.Lost != 53 || g.RecentLost != 3 || g.RecentNumbers < 24 || g.RecentNumbers > 33 {
		t.Errorf("gap %v, recently %v; lost %d, recently %d of %d", g.Gap, g.RecentGap, g.Lost, g.RecentLost, g.RecentNumbers)
	}
}

func quakeNumber(number uint32, fragment bool) string {
	if fragment {
		number |= 1 << 31
	}
	return string(binary.LittleEndian.AppendUint32(nil, number)) + "qport and more"
}

func raknetNumber(number uint32) string {
	return "\x84" + string(binary.LittleEndian.AppendUint32(nil, number)[:3]) + "\x60\x00\x08"
}

func sourceNumber(number uint32, choked byte) string {
	flags := byte(0)
	if choked > 0 {
		flags = 0x10
	}
	return string(binary.LittleEndian.AppendUint32(nil, number)) + "ack." + string([]byte{flags}) + "cs" + "r" + string([]byte{choked}) + "rest"
}

// sequences are the ways in which games number datagrams.
var sequences = []struct {
	name   string
	kind   loader.Sequence
	bits   int
	begins uint32 // so many before the end of all numbers; 32 bits are never used up, and the highest mean something else
	number func(uint32) string
	others []string // datagrams that have no number
}{
	{"raknet", loader.SequenceRakNet, 24, 300, raknetNumber, []string{"\xc0\x00\x01\x01\x00\x00\x00", "\xa0\x00\x01\x01\x00\x00\x00", "\x01ping", "\x84\x01"}},
	{"source", loader.SequenceSource, 32, 1<<31 + 300, func(n uint32) string { return sourceNumber(n, 0) }, []string{"\xff\xff\xff\xffTSource", "\xfe\xff\xff\xff split", "\x01\x00"}},
	{"quake3", loader.SequenceQuake3, 31, 300, func(n uint32) string { return quakeNumber(n, false) }, []string{"\xff\xff\xff\xffgetstatus", "", "\x01\x02\x03"}},
}

// Loss, order and repetition of numbers, each way, over the end of all numbers, against sets of those that were sent.
func TestWatchedNumbers(t *testing.T) {
	t.Parallel()
	for _, x := range sequences {
		w := watchWorld(t, watchPlan(x.kind, loader.SamplesAlways), 64)
		for _, port := range []uint16{natPort, openPort, localPort} {
			for _, client := range []netip.AddrPort{player4, player6} {
				for _, down := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%d/%v/down %v", x.name, port, client.Addr(), down), func(t *testing.T) {
						s := w.playWatched(t, client, port, packet.UDP)
						rng := rand.New(rand.NewPCG(uint64(port), 3))
						sent := numbersSent(rng)
						for i, n := range sent {
							w.pass(t, 10*time.Millisecond)
							w.say(t, s, port, down, x.number((uint32(n)-x.begins)&uint32(1<<x.bits-1)))
							if i%7 == 0 {
								w.say(t, s, port, down, x.others[i%len(x.others)])
							}
						}
						g := w.watched(t, client).UpTiming
						if down {
							g = w.watched(t, client).DownTiming
						}
						got := numbered{true, g.Numbers, g.Lost, g.Reordered, g.Duplicates}
						got.readable = g.Numbered
						if want := countNumbers(sent); got != want {
							t.Errorf("%+v, want %+v", got, want)
						}
						w.clear(t)
					})
				}
			}
		}
	}
}

type numbered struct {
	readable                             bool
	numbers, lost, reordered, duplicates uint32
}

// numbersSent are 600 numbers from 0 on, some of them lost, late or twice.
func numbersSent(rng *rand.Rand) (all []int) {
	late := map[int][]int{}
	for n := range 600 {
		switch rng.IntN(20) {
		case 0: // lost
		case 1:
			at := n + 1 + rng.IntN(60)
			late[at] = append(late[at], n)
		case 2:
			all = append(all, n, n)
		default:
			all = append(all, n)
		}
		all = append(all, late[n]...)
	}
	return all
}

// countNumbers knows all at once.
func countNumbers(sent []int) numbered {
	x := numbered{readable: true, numbers: uint32(len(sent))}
	seen, highest := map[int]bool{}, sent[0]
	for _, n := range sent {
		switch {
		case seen[n]:
			x.duplicates++
		case n < highest:
			x.reordered++
		}
		seen[n], highest = true, max(highest, n)
	}
	for n := sent[0]; n <= highest; n++ {
		if !seen[n] {
			x.lost++
		}
	}
	return x
}

// What else numbers may do.
func TestWatchedNumbersInDetail(t *testing.T) {
	t.Parallel()
	run := func(first, n uint32, number func(uint32) string) (all []string) {
		for i := range n {
			all = append(all, number(first+i))
		}
		return all
	}
	plain := func(n uint32) string { return quakeNumber(n, false) }
	for _, row := range []struct {
		name  string
		kind  loader.Sequence
		says  []string
		wants numbered
	}{
		{"a packet in three fragments", loader.SequenceQuake3, append(run(1, 20, plain), quakeNumber(21, true), quakeNumber(21, true), quakeNumber(21, true), plain(22)), numbered{true, 24, 0, 0, 0}},
		{"another one twice", loader.SequenceQuake3, append(run(1, 20, plain), plain(20)), numbered{true, 21, 0, 0, 1}},
		{"a late fragment of a packet that had others", loader.SequenceQuake3, append(run(1, 20, plain), quakeNumber(21, true), plain(22), quakeNumber(21, true)), numbered{true, 23, 0, 0, 0}},
		{"one that was sent before all", loader.SequenceQuake3, append(run(10, 20, plain), plain(31), plain(9)), numbered{true, 22, 1, 1, 0}},
		{"a forged jump", loader.SequenceQuake3, append(append(run(1, 40, plain), plain(70000)), run(41, 20, plain)...), numbered{true, 60, 0, 0, 0}},
		{"far behind", loader.SequenceQuake3, append(append(run(1001, 40, plain), plain(5)), run(1041, 20, plain)...), numbered{true, 60, 0, 0, 0}},
		{"a connection that begins anew", loader.SequenceQuake3, append(run(5000, 40, plain), run(1, 40, plain)...), numbered{true, 79, 0, 0, 0}},
		{"1024 at once", loader.SequenceQuake3, append(run(1, 40, plain), plain(1064)), numbered{true, 41, 1023, 0, 0}},
		{"1025 are no loss, but strange", loader.SequenceQuake3, append(run(1, 40, plain), plain(1065)), numbered{true, 40, 0, 0, 0}},
		{"no numbers at all", loader.SequenceQuake3, run(1, 100, func(i uint32) string { return quakeNumber(i*2654435761, false) }), numbered{}},
		{"too few to tell", loader.SequenceQuake3, run(1, 7, plain), numbered{}},
		{"choked ticks are not lost", loader.SequenceSource, append(run(1, 20, func(n uint32) string { return sourceNumber(n, 0) }), sourceNumber(24, 3), sourceNumber(25, 0)), numbered{true, 22, 0, 0, 0}},
		{"but others are", loader.SequenceSource, append(run(1, 20, func(n uint32) string { return sourceNumber(n, 0) }), sourceNumber(24, 2), sourceNumber(25, 200)), numbered{true, 22, 1, 0, 0}},
		{"RakNet's with other flags", loader.SequenceRakNet, append(run(1, 20, raknetNumber), "\x8c\x15\x00\x00", "\x80\x16\x00\x00"), numbered{true, 22, 0, 0, 0}},
		{"of no game", loader.SequenceNone, run(1, 20, plain), numbered{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := watchWorld(t, watchPlan(row.kind, loader.SamplesAlways), 64)
			s := w.playWatched(t, player4, natPort, packet.UDP)
			for _, payload := range row.says {
				w.pass(t, time.Millisecond)
				w.say(t, s, natPort, false, payload)
			}
			g := w.watched(t, player4).UpTiming
			if got := (numbered{g.Numbered, g.Numbers, g.Lost, g.Reordered, g.Duplicates}); got != row.wants {
				t.Errorf("%+v, want %+v", got, row.wants)
			}
		})
	}
}

// A datagram's number is not read from behind its end.
func TestWatchedNumbersEndWithTheirDatagram(t *testing.T) {
	t.Parallel()
	w := watchWorld(t, watchPlan(loader.SequenceQuake3, loader.SamplesAlways), 64)
	s := w.playWatched(t, player4, natPort, packet.UDP)
	for i := range uint32(20) {
		p := packet.NewUDP(s.Client, s.Front, "abc")
		p.Trailer = binary.LittleEndian.AppendUint32(nil, i<<8)
		w.quietly(t, p.Bytes())
	}
	if g := w.watched(t, player4).UpTiming; g.Numbered || g.Packets != 20 {
		t.Errorf("%d packets, numbered: %v", g.Packets, g.Numbered)
	}
}

// What the edge drops of a session's packets is told by reason, beside what came.
func TestWatchedDrops(t *testing.T) {
	t.Parallel()
	for _, level := range []loader.SampleLevel{loader.SamplesAlways, loader.SamplesAll} {
		p := watchPlan(loader.SequenceQuake3, level)
		with(p, "nat", func(s *loader.Service) { s.MaxPacket = 200 })
		with(p, "local", func(s *loader.Service) {
			s.MaxPacket = 200
			s.Limits = loader.Limits{Packets: 50, PacketBurst: 20, Prefix4: 32, Prefix6: 64}
		})
		w := watchWorld(t, p, 64)
		for _, port := range []uint16{natPort, localPort} {
			s := w.playWatched(t, player4, port, packet.UDP)
			w.pass(t, time.Second)
			for i := range uint32(30) {
				w.pass(t, 200*time.Microsecond)
				payload := quakeNumber(i, false)
				if i%3 == 0 {
					payload += string(make([]byte, 300))
				}
				w.say(t, s, port, false, payload)
			}
			w.quietly(t, packet.NewUDP(s.Client, s.Front, quakeNumber(30, false)).With(func(p *packet.Packet) { p.TTL = 1 }).Bytes())
			g := w.watched(t, player4).UpTiming
			want := map[string]uint32{"packet_size": 10, "ttl": 1}
			if port == localPort {
				delete(want, "ttl")
				want["rate_packets"] = g.Drops["rate_packets"]
				if want["rate_packets"] == 0 {
					t.Error("nothing was dropped for its rate")
				}
			}
			if diff := cmp.Diff(want, g.Drops); diff != "" {
				t.Error(diff)
			}
			if g.Packets != 31 || g.Lost != 0 || g.Numbers != 31 {
				t.Errorf("%d packets, %d numbers, %d lost: what the edge drops came to it", g.Packets, g.Numbers, g.Lost)
			}
			w.clear(t)
		}
	}
}

// More reasons than a cell has room for.
func TestWatchedDropsOfManyReasons(t *testing.T) {
	t.Parallel()
	p := watchPlan(loader.SequenceNone, loader.SamplesAlways)
	w := watchWorld(t, p, 64)
	s := w.playWatched(t, player4, natPort, packet.UDP)
	key := make([]byte, 4)
	found := false
	for i := range uint32(w.edge.WatchCells() + 1) {
		binary.NativeEndian.PutUint32(key, i)
		v, err := w.edge.Peek("watch", key)
		must(t, err)
		if v[0] == 0 {
			continue
		}
		copy(v[132-4:], []byte{10, 11, 14, 15}) // reason[], behind two cache lines
		must(t, w.edge.Poke("watch", key, v))
		found = true
	}
	if !found {
		t.Fatal("no cell is taken")
	}
	w.quietly(t, packet.NewUDP(s.Client, s.Front, "x").With(func(p *packet.Packet) { p.TTL = 1 }).Bytes())
	if diff := cmp.Diff(map[string]uint32{"other": 1}, w.watched(t, player4).UpTiming.Drops); diff != "" {
		t.Error(diff)
	}
}

// A share of all sessions is watched, both halves of each, and another one in another period; nobody else.
func TestWatchedInRotation(t *testing.T) {
	t.Parallel()
	w := watchWorld(t, watchPlan(loader.SequenceNone, loader.SamplesAlways), 1024)
	must(t, w.edge.Watch(0, 0))
	const n = 300
	all := map[netip.AddrPort]loader.Session{}
	for i := range n {
		all[client(i)] = w.prove(t, hello(client(i), openPort))
	}
	watching := func(share float64, period uint32) map[netip.AddrPort]bool {
		must(t, w.edge.Watch(share, period))
		w.pass(t, 2100*time.Millisecond)
		for _, s := range all {
			w.say(t, s, openPort, false, "up")
			w.say(t, s, openPort, true, "down")
		}
		is := map[netip.AddrPort]bool{}
		must(t, w.edge.WatchedSessions(func(s *loader.Session) bool {
			if s.UpTiming == nil || s.DownTiming == nil {
				t.Errorf("of %v one half is watched alone", s.Client)
			}
			is[s.Client] = true
			return true
		}))
		w.wantCells(t, 2*len(is))
		return is
	}
	if is := watching(0, 1); len(is) != 0 {
		t.Errorf("%d of none", len(is))
	}
	first, second := watching(0.5, 2), watching(0.5, 3)
	both := 0
	for c := range first {
		if second[c] {
			both++
		}
	}
	for _, x := range []struct {
		what   string
		n, aim int
	}{{"half", len(first), n / 2}, {"another half", len(second), n / 2}, {"both", both, n / 4}} {
		if x.n < x.aim*3/4 || x.n > x.aim*5/4 {
			t.Errorf("%s: %d sessions, not about %d", x.what, x.n, x.aim)
		}
	}
	if is := watching(1, 4); len(is) != n {
		t.Errorf("%d of all %d", len(is), n)
	}
	must(t, w.edge.Flag(client(7), true))
	must(t, w.edge.Flag(netip.AddrPortFrom(client(9).Addr(), 0), true))
	must(t, w.edge.Flag(netip.AddrPortFrom(client(11).Addr(), 1), true)) // another port of his
	if diff := cmp.Diff(map[netip.AddrPort]bool{client(7): true, client(9): true}, watching(0, 5), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("flagged ones: %s", diff)
	}
	must(t, w.edge.Flag(client(7), false))
	if is := watching(0, 6); len(is) != 1 {
		t.Errorf("%d of one", len(is))
	}
}

// While all cells are taken others are not watched, which is counted, and play on; a cell that is given back rests for a second.
func TestWatchedFull(t *testing.T) {
	t.Parallel()
	w := watchWorld(t, watchPlan(loader.SequenceNone, loader.SamplesAlways), 2) // four cells, one of which is nobody's
	for i := range 2 {
		w.playWatched(t, client(i), natPort, packet.UDP)
	}
	w.wantCells(t, 3)
	if n := w.counts(t).Faults["watch_full"]; n != 1 {
		t.Errorf("%d halves found no cell, not one", n)
	}
	s := w.watched(t, client(1))
	if (s.UpTiming == nil) == (s.DownTiming == nil) {
		t.Errorf("of the second one half is to be watched: %v, %v", s.UpTiming, s.DownTiming)
	}
	w.say(t, s, natPort, true, "plays on")
	if got := w.session(t, client(1)); got.Down.Packets != 3 {
		t.Errorf("%d packets down", got.Down.Packets)
	}
	w.kill(t, w.session(t, client(0)))
	w.pass(t, 1200*time.Millisecond)
	w.sweep(t)
	w.wantCells(t, 1)
	w.pass(t, 900*time.Millisecond)
	w.say(t, s, natPort, true, "turn")
	w.wantCells(t, 1)
	w.pass(t, 2100*time.Millisecond)
	w.say(t, s, natPort, true, "turn")
	w.wantCells(t, 2)
	w.clear(t)
	w.wantCells(t, 0)
}

// The sweep that deletes a session tells what was timed of it, and gives its cells back.
func TestWatchedEnd(t *testing.T) {
	t.Parallel()
	w := watchWorld(t, watchPlan(loader.SequenceRakNet, loader.SamplesAlways), 64)
	for _, client := range []netip.AddrPort{player4, player6} {
		for _, port := range []uint16{natPort, openPort, localPort} {
			t.Run(fmt.Sprintf("%v/%d", client.Addr(), port), func(t *testing.T) {
				s := w.playWatched(t, client, port, packet.UDP)
				for i := range uint32(20) {
					w.pass(t, 20*time.Millisecond)
					w.say(t, s, port, false, raknetNumber(i))
					w.say(t, s, port, true, raknetNumber(i*2))
				}
				w.wantCells(t, 2)
				w.pass(t, 2*time.Minute)
				w.sweep(t)
				w.wantCells(t, 2)
				w.pass(t, 1100*time.Millisecond)
				var gone []loader.Session
				_, err := w.edge.SweepSessions(func(s *loader.Session) { gone = append(gone, *s) })
				must(t, err)
				if len(gone) != 1 || gone[0].UpTiming == nil || gone[0].DownTiming == nil {
					t.Fatalf("gone: %+v", gone)
				}
				up, down := gone[0].UpTiming, gone[0].DownTiming
				if up.Packets != 20 || up.Lost != 0 || !up.Numbered || up.Gap != 20*time.Millisecond || up.Jitter != 0 {
					t.Errorf("up: %+v", up)
				}
				if down.RecentNumbers != 20 || down.RecentLost != 19 || !near(down.RecentGap, 20*time.Millisecond) {
					t.Errorf("down: %+v", down)
				}
				w.wantCells(t, 0)
				w.clear(t)
			})
		}
	}
}

// A reload that watches nobody gives all cells back, and its sessions go the short cut again.
func TestWatchedNoMore(t *testing.T) {
	t.Parallel()
	w := watchWorld(t, watchPlan(loader.SequenceNone, loader.SamplesAlways), 64)
	s := w.playWatched(t, player4, natPort, packet.UDP)
	l := w.playWatched(t, player6, localPort, packet.UDP)
	w.wantCells(t, 4)
	plan := watchPlan(loader.SequenceNone, loader.SamplesAlways)
	plan.Watch = false
	w.load(t, plan)
	w.pass(t, 2100*time.Millisecond)
	for _, down := range []bool{false, true} {
		w.say(t, s, natPort, down, "turn")
		w.say(t, l, localPort, down, "turn")
	}
	w.wantCells(t, 0)
}

// A session whose service is another game's since a reload has its numbers read as that one's.
func TestWatchedGameChanges(t *testing.T) {
	t.Parallel()
	w := watchWorld(t, watchPlan(loader.SequenceQuake3, loader.SamplesAlways), 64)
	s := w.playWatched(t, player4, natPort, packet.UDP)
	for i := range uint32(20) {
		w.say(t, s, natPort, false, quakeNumber(i*7, false))
	}
	w.load(t, watchPlan(loader.SequenceRakNet, loader.SamplesAlways))
	w.pass(t, 2100*time.Millisecond)
	w.say(t, s, natPort, false, "turn")
	for i := range uint32(20) {
		w.say(t, s, natPort, false, raknetNumber(i))
	}
	if g := w.watched(t, player4).UpTiming; !g.Numbered || g.Numbers != 20 || g.Lost != 0 || g.Packets != 41 {
		t.Errorf("%d packets, %d numbers, %d lost", g.Packets, g.Numbers, g.Lost)
	}
}

// Strangers take no cells: who is not proven is not watched, and who begins anew is not until he is proven again.
func TestWatchedOnceProven(t *testing.T) {
	t.Parallel()
	w := watchWorld(t, watchPlan(loader.SequenceNone, loader.SamplesAlways), 64)
	w.begin(t, hello(player4, natPort))
	for range 3 {
		w.pass(t, 2100*time.Millisecond)
		w.quietly(t, hello(player4, natPort).Bytes())
	}
	w.wantCells(t, 0)
}

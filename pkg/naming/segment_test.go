// SPDX-License-Identifier: Apache-2.0

package naming_test

import (
	"testing"

	"parry/pkg/naming"
)

// A connection's first segments count in the order of their numbers: what comes twice is read once, and what is ahead of a gap
// waits a little.
func TestSegmentsInOrder(t *testing.T) {
	const handshake = "\x10\x00\xfa\x05\x0910.77.0.1\x63\xdd\x02"
	syn := naming.Segment{Up: true, Seq: 99, Flags: naming.SYN, Options: true}
	data := func(seq uint32, text string) naming.Segment {
		return naming.Segment{Up: true, Seq: seq, Flags: naming.ACK, Payload: []byte(text), Length: len(text)}
	}
	for _, x := range []struct {
		name     string
		segments []naming.Segment
		want     naming.Label
	}{
		{"in order", []naming.Segment{syn, data(100, handshake)}, naming.MinecraftJava},
		{"what is ahead of a gap waits", []naming.Segment{syn, data(118, "zz"), data(100, handshake)}, naming.MinecraftJava},
		{"but not for ever", []naming.Segment{syn, data(200, "x"), data(201, "x"), data(202, "x"), data(203, handshake)}, naming.MinecraftJava},
		{"a later one is a legacy ping by accident", []naming.Segment{syn, data(100, "abc"), data(103, "\xfe\x01")}, naming.UnknownTCP},
		{"a legacy ping, twice", []naming.Segment{syn, data(100, "\xfe\x01"), data(100, "\xfe\x01")}, naming.MinecraftJava},
		{"sent again with more", []naming.Segment{syn, data(100, "abc"), data(100, "abc"+handshake)}, naming.MinecraftJava},
		{"sent again with less is passed over", []naming.Segment{syn, data(100, "abc"+handshake[:1]), data(100, "\x01"), data(101, "\x00")}, naming.UnknownTCP},
		{"sent again in part, and then on", []naming.Segment{syn, data(100, "abcdef"), data(100, "ab"), data(106, handshake)}, naming.MinecraftJava},
		{"numbers wrap", []naming.Segment{{Up: true, Seq: 1<<32 - 4, Flags: naming.SYN}, data(1<<32-3, "abcde"), data(2, handshake)}, naming.MinecraftJava},
		{"its beginning was not seen", []naming.Segment{data(7000, handshake)}, naming.MinecraftJava},
		{"and no legacy ping is believed then", []naming.Segment{data(7000, "\xfe\x01")}, naming.UnknownTCP},
		{"data in a SYN is not read", []naming.Segment{{Up: true, Seq: 99, Flags: naming.SYN, Payload: []byte(handshake), Length: len(handshake)}, data(100, "zz")}, naming.UnknownTCP},
	} {
		namer, f := new(naming.Namer), naming.Begin(naming.TCP, 25565, false)
		for i := range x.segments {
			namer.Segment(&f, &x.segments[i])
		}
		if n := f.Name(); n.Game != x.want {
			t.Errorf("%s: %+v", x.name, n)
		}
	}
}

// What was read of a segment that comes again is not read again: the budget shows it.
func TestWhatComesAgainCostsNothing(t *testing.T) {
	namer, f := new(naming.Namer), naming.Begin(naming.TCP, 1, false)
	again := naming.Segment{Up: true, Seq: 100, Flags: naming.ACK, Payload: make([]byte, 400), Length: 400}
	for range 5 {
		namer.Segment(&f, &again)
	}
	if f.Done() {
		t.Error("400 bytes, five times, are taken for more than the budget")
	}
}

// A connection that carries nothing is named by how it began.
func TestSilentConnections(t *testing.T) {
	syn := naming.Segment{Up: true, Seq: 1, Flags: naming.SYN, Options: true}
	bare := naming.Segment{Up: true, Seq: 1, Flags: naming.SYN}
	synack := naming.Segment{Seq: 1, Flags: naming.SYN | naming.ACK, Options: true}
	reset := naming.Segment{Seq: 1, Flags: naming.RST | naming.ACK}
	ack := naming.Segment{Up: true, Seq: 2, Flags: naming.ACK}
	up := func(s naming.Segment) naming.Segment { s.Up = true; return s }
	for _, x := range []struct {
		name     string
		segments []naming.Segment
		want     naming.Label
	}{
		{"nothing", nil, naming.UnknownTCP},
		{"a bare SYN", []naming.Segment{bare, bare}, naming.TCPSynFlood},
		{"a SYN", []naming.Segment{syn}, naming.Scan},
		{"a SYN that is refused", []naming.Segment{syn, reset}, naming.Scan},
		{"a bare SYN that is refused", []naming.Segment{bare, reset}, naming.Scan},
		{"a handshake", []naming.Segment{bare, synack, ack}, naming.UnknownTCP},
		{"an answer that nobody asked for", []naming.Segment{up(synack)}, naming.TCPReflection},
		{"a refusal that nobody asked for", []naming.Segment{up(reset)}, naming.TCPReflection},
		{"an ACK", []naming.Segment{ack}, naming.UnknownTCP},
	} {
		namer, f := new(naming.Namer), naming.Begin(naming.TCP, 1, false)
		for i := range x.segments {
			namer.Segment(&f, &x.segments[i])
		}
		if n := f.Name(); n.Game != x.want || n.Game.Known() && (n.Confidence > 0.7 || n.Reason == "") {
			t.Errorf("%s: %+v", x.name, n)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"testing"

	"parry/loader"
	"parry/test/packet"
)

// check fails unless the frame is a right one of the tuple.
func (t tuple) check(tb testing.TB, frame []byte) {
	tb.Helper()
	if err := packet.Check(frame); err != nil {
		tb.Errorf("%v: %v", t, err)
	}
	v, err := packet.Look(frame)
	if err != nil {
		tb.Fatalf("%v: %v", t, err)
	}
	ends := append(t.addrs(), t.ports()...) // addresses stand in front of the ports
	got := frame[v.L4+4-len(ends) : v.L4+4]
	if v.Proto != t.proto || !bytes.Equal(got, ends) {
		tb.Errorf("a frame of protocol %d with % x, not of %v", v.Proto, got, t)
	}
}

func TestFramesAreWhatTheirTuplesSay(t *testing.T) {
	x4, x6 := natPair4(), natPair6()
	for _, tu := range []tuple{
		x4.up(loader.ProtoUDP).from, x4.down(loader.ProtoTCP).from, x6.up(loader.ProtoUDP).from, x6.down(loader.ProtoTCP).from,
		stranger(7, crowdVIP()), localTuple(),
	} {
		frame := tu.frame(tcpACK)
		if len(frame) < frameLen {
			t.Errorf("%v: %d bytes", tu, len(frame))
		}
		tu.check(t, frame)
	}
}

func TestDatagramsEndWithTheirPayload(t *testing.T) {
	for _, tu := range []tuple{stranger(7, crowdVIP()), natPair6().up(loader.ProtoUDP).from} {
		for _, payload := range []string{"odd", "even"} {
			frame := tu.datagram([]byte(payload))
			tu.check(t, frame)
			if string(frame[tu.l4At()+udpLen:]) != payload {
				t.Errorf("%v: %q ends otherwise than %q", tu, frame, payload)
			}
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	wire "parry/test/packet"
)

// hello is a frame that says "hello".
func hello() []byte {
	return wire.NewUDP(netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("203.0.113.10:27960"), "hello").Bytes()
}

// record is one with a frame of n bytes.
func record(family byte, taken int, frame []byte) []byte {
	b := make([]byte, headerLen, headerLen+len(frame))
	binary.NativeEndian.PutUint64(b, 123_456_789)
	copy(b[8:], []byte{198, 51, 100, 7, 5: 1, 15: 9})
	copy(b[24:], []byte{203, 0, 113, 10, 15: 1})
	for at, v := range map[int]uint32{40: 3, 44: 1200, 48: 17, 52: 100, 76: 3} {
		binary.NativeEndian.PutUint32(b[at:], v)
	}
	binary.NativeEndian.PutUint16(b[56:], 2)
	binary.NativeEndian.PutUint16(b[58:], uint16(taken))
	copy(b[60:], []byte{13, 14, Drop, Down | First, 5, family})
	binary.NativeEndian.PutUint16(b[66:], 6)
	binary.BigEndian.PutUint16(b[68:], 40000)
	binary.BigEndian.PutUint16(b[70:], 27960)
	copy(b[72:], []byte{17, byte(KindFirst)})
	return append(b, frame...)
}

func TestDecode(t *testing.T) {
	whole := Sample{
		Time: 123_456_789, Client: netip.MustParseAddr("198.51.100.7"), Front: netip.MustParseAddr("203.0.113.10"), Ifindex: 3, Length: 1200, Rule: 17, Every: 100, Service: 2, CPU: 6,
		Reason: 13, Shadow: 14, Verdict: Drop, Flags: Down | First, Slots: 5, Frame: []byte{1, 2, 3},
		Ports: Ports{40000, 27960}, Proto: 17, Kind: KindFirst, Packets: 3,
	}
	six, nobody, none := whole, whole, whole
	six.Client, six.Front = netip.MustParseAddr("c633:6407:1::9"), netip.MustParseAddr("cb00:710a::1")
	nobody.Client, nobody.Front = netip.Addr{}, netip.Addr{}
	none.Frame = []byte{}
	for _, x := range []struct {
		name string
		in   []byte
		want Sample
		err  error
	}{
		{"IPv4", record(4, 3, []byte{1, 2, 3, 0, 0}), whole, nil},
		{"IPv6", record(6, 3, []byte{1, 2, 3}), six, nil},
		{"nobody's", record(0, 3, []byte{1, 2, 3}), nobody, nil},
		{"without a frame", record(4, 0, nil), none, nil},
		{"a frame cut short", record(4, 4, []byte{1, 2, 3}), Sample{}, ErrShort},
		{"a header cut short", record(4, 0, nil)[:headerLen-1], Sample{}, ErrShort},
		{"nothing", nil, Sample{}, ErrShort},
	} {
		t.Run(x.name, func(t *testing.T) {
			var got Sample
			if err := got.Decode(x.in); !errors.Is(err, x.err) {
				t.Fatalf("Decode = %v, want %v", err, x.err)
			}
			if diff := cmp.Diff(x.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	in := record(6, 3, []byte{1, 2, 3})
	var s Sample
	var p Packet
	if n := testing.AllocsPerRun(100, func() { _ = s.Decode(in); p = s.Packet() }); n != 0 || p.Service != 2 {
		t.Errorf("%v allocations a record", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record(4, 3, []byte{1, 2, 3, 0, 0}))
	f.Add(record(6, 60000, []byte{1}))
	f.Add(record(4, len(hello()), hello()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		var s Sample
		err := s.Decode(in)
		if err == nil && (len(s.Frame) > len(in)-headerLen || cap(s.Frame) > cap(in)) {
			t.Errorf("a frame of %d bytes from a record of %d", len(s.Frame), len(in))
		}
		if err != nil && s.Frame != nil {
			t.Error("a refused record left a frame")
		}
		p := s.Packet()
		if len(p.Payload) > p.Length || len(p.Payload) > len(s.Frame) || p.Length < 0 {
			t.Errorf("%d of %d bytes said, in a frame of %d", len(p.Payload), p.Length, len(s.Frame))
		}
	})
}

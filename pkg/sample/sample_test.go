// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// record is one with a frame of n bytes.
func record(family byte, taken int, frame []byte) []byte {
	b := make([]byte, headerLen, headerLen+len(frame))
	binary.NativeEndian.PutUint64(b, 123_456_789)
	copy(b[8:], []byte{198, 51, 100, 7, 5: 1, 15: 9})
	for at, v := range map[int]uint32{24: 3, 28: 1200, 32: 17, 36: 100} {
		binary.NativeEndian.PutUint32(b[at:], v)
	}
	binary.NativeEndian.PutUint16(b[40:], 2)
	binary.NativeEndian.PutUint16(b[42:], uint16(taken))
	copy(b[44:], []byte{13, 14, Drop, Down | First, 5, family})
	binary.NativeEndian.PutUint16(b[50:], 6)
	return append(b, frame...)
}

func TestDecode(t *testing.T) {
	whole := Sample{
		Time: 123_456_789, Client: netip.MustParseAddr("198.51.100.7"), Ifindex: 3, Length: 1200, Rule: 17, Every: 100, Service: 2, CPU: 6,
		Reason: 13, Shadow: 14, Verdict: Drop, Flags: Down | First, Slots: 5, Frame: []byte{1, 2, 3},
	}
	six, nobody, none := whole, whole, whole
	six.Client = netip.MustParseAddr("c633:6407:1::9")
	nobody.Client = netip.Addr{}
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
	if n := testing.AllocsPerRun(100, func() { _ = s.Decode(in) }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record(4, 3, []byte{1, 2, 3, 0, 0}))
	f.Add(record(6, 60000, []byte{1}))
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
		_ = s.Dropped()
	})
}

// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func dropped(client string, at float64, reason uint8) *Sample {
	return &Sample{Time: uint64(at * second), Client: netip.MustParseAddr(client), Service: 1, Reason: reason, Verdict: Drop, Frame: []byte{byte(at)}}
}

func TestMemoryRemembers(t *testing.T) {
	m := NewMemory()
	for i := range 6 {
		m.Note(dropped("198.51.100.7", float64(i), 10))
	}
	m.Note(dropped("198.51.100.7", 6, 13))
	would := dropped("198.51.100.7", 7, 0)
	would.Shadow, would.Rule = 13, 4
	m.Note(would)
	m.Note(dropped("198.51.100.8", 8, 13)) // another's
	m.Note(&Sample{Client: netip.MustParseAddr("198.51.100.9"), Verdict: Pass})
	m.Note(&Sample{Reason: 1, Verdict: Drop}) // nobody's
	got, ok := m.Of(netip.MustParseAddr("::ffff:198.51.100.7"))
	if !ok {
		t.Fatal("nothing is remembered")
	}
	want := []Why{
		{Service: 1, Reason: 13, Shadow: true, Rule: 4, Samples: 1, First: 7 * second, Last: 7 * second},
		{Service: 1, Reason: 13, Samples: 1, First: 6 * second, Last: 6 * second},
		{Service: 1, Reason: 10, Samples: 6, First: 0, Last: 5 * second},
	}
	if diff := cmp.Diff(want, got.Whys); diff != "" {
		t.Error(diff)
	}
	var frames [][]byte
	for _, p := range got.Last {
		frames = append(frames, p.Frame)
	}
	if diff := cmp.Diff([][]byte{{7}, {6}, {5}, {4}}, frames, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	for _, a := range []string{"198.51.100.9", "203.0.113.1"} {
		if _, ok := m.Of(netip.MustParseAddr(a)); ok {
			t.Errorf("something is remembered of %s", a)
		}
	}
}

func TestMemoryOfIPv6IsByNetwork(t *testing.T) {
	m := NewMemory()
	m.Note(dropped("2001:db8:1:2::5", 1, 10))
	if _, ok := m.Of(netip.MustParseAddr("2001:db8:1:2:3::9")); !ok {
		t.Error("nothing is remembered of another address in the same /64")
	}
	if _, ok := m.Of(netip.MustParseAddr("2001:db8:1:3::5")); ok {
		t.Error("something is remembered of another /64")
	}
}

// Who was dropped in two different seconds is still known after a flood of random sources, and the room is bounded.
func TestMemoryOutlivesAFlood(t *testing.T) {
	m := NewMemory()
	m.Note(dropped("198.51.100.7", 1, 10))
	m.Note(dropped("198.51.100.7", 2.5, 10))
	m.Note(dropped("198.51.100.8", 3, 10))
	m.Note(dropped("198.51.100.8", 3.5, 10)) // not a second later
	random := func(n, times int) {
		for i := range n {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], uint32(i)|1<<28)
			for j := range times {
				m.Note(&Sample{Time: uint64(i+100*j) * second, Client: netip.AddrFrom4(b), Reason: 40})
			}
		}
	}
	random(3*memoryNew, 1)
	if _, ok := m.Of(netip.MustParseAddr("198.51.100.7")); !ok {
		t.Error("who was dropped twice is forgotten")
	}
	if _, ok := m.Of(netip.MustParseAddr("198.51.100.8")); ok {
		t.Error("who was dropped once is remembered for ever")
	}
	random(3*memoryOften, 2)
	if n := len(m.sources); n > memoryNew+memoryOften || n != m.young.n+m.old.n {
		t.Errorf("%d sources are remembered, %d and %d in the queues", n, m.young.n, m.old.n)
	}
	if _, ok := m.Of(netip.MustParseAddr("198.51.100.7")); ok {
		t.Error("whom thousands of others followed, twice each, is not forgotten")
	}
}

func TestMemoryOfAKnownSourceAllocatesNothing(t *testing.T) {
	m := NewMemory()
	s := dropped("198.51.100.7", 1, 10)
	m.Note(s)
	if n := testing.AllocsPerRun(100, func() { s.Time += second; m.Note(s) }); n != 0 {
		t.Errorf("%v allocations a sample", n)
	}
}

func TestDescribe(t *testing.T) {
	udp := append([]byte{12: 8, 13: 0}, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 198, 51, 100, 7, 203, 0, 113, 10, 0x9c, 0x40, 0x6d, 0x38)
	tagged := append(append([]byte{12: 0x81, 13: 0, 14: 0, 15: 5}, 8, 0), udp[14:]...)
	tcp := append(append([]byte{}, udp...), 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12)
	tcp[23] = 6
	later := append([]byte{}, udp...)
	later[21] = 9
	icmp := append([]byte{}, udp...)
	icmp[23] = 1
	other := append([]byte{}, udp...)
	other[23] = 200
	six := append([]byte{12: 0x86, 13: 0xdd, 14: 0x60, 20: 17, 22: 0x20, 23: 0x01, 37: 1, 38: 0x20, 53: 2}, 0, 1, 0, 2)
	for want, in := range map[string][]byte{
		"udp 198.51.100.7:40000 > 203.0.113.10:27960":         udp,
		"udp 198.51.100.7:40000 > 203.0.113.10:27960 ":        tagged,
		"tcp 198.51.100.7:40000 > 203.0.113.10:27960 SYN ACK": tcp,
		"a later fragment 198.51.100.7 > 203.0.113.10":        later,
		"icmp 198.51.100.7 > 203.0.113.10":                    icmp,
		"protocol 200 198.51.100.7 > 203.0.113.10":            other,
		"udp [2001::1]:1 > [2000::2]:2":                       six,
		"cut or damaged IP":                                   udp[:33],
		"ethertype 0x0806":                                    {12: 8, 13: 6},
		"a cut frame":                                         {1, 2, 3},
	} {
		if got := Describe(in); got != want && got+" " != want {
			t.Errorf("Describe = %q, want %q", got, want)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte{12: 0x86, 13: 0xdd, 14: 0x60, 20: 6})
	f.Fuzz(func(t *testing.T, in []byte) {
		if Describe(in) == "" {
			t.Error("nothing is said")
		}
	})
}

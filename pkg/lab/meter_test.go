// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/netns"
)

func TestMeterWeighsAnswersToStrangers(t *testing.T) {
	out, in := pairOf(t, "meter", netns.LinkOptions{})
	m, err := NewMeter(in)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	must(t, m.Expect(map[uint16]int{27015: 53, 19132: 61}))
	from := func(port uint16) []Source {
		return []Source{{Prefix: prefix("203.0.113.10/32"), FirstPort: port, LastPort: port}}
	}
	victim, other := netip.AddrPortFrom(victims.Addr().Next(), 4000), target("192.0.2.9:4000")
	ours := packet{cell: 3, kind: kindState}.bytes()
	for _, s := range []Stream{
		{Sources: from(27015), Target: victim, Payload: make([]byte, 100)}, // 128 bytes for 53
		{Sources: from(27015), Target: other, Payload: make([]byte, 9)},    // shorter than what was asked
		{Sources: from(19132), Target: other, Payload: make([]byte, 34)},   // 62 for 61
		{Sources: from(5000), Target: victim, Payload: make([]byte, 500)},  // nobody asked
		{Sources: from(27015), Target: victim, Payload: append(make([]byte, gameHead), ours...)},
		{Sources: from(5000), Target: victim, Payload: ours},
	} {
		s.Protocol = UDP
		g, err := NewGenerator(out, in.MAC, []Stream{s})
		must(t, err)
		_, err = g.Run(t.Context(), Load{Packets: 10})
		must(t, err, g.Close())
	}
	got, err := m.Answers()
	must(t, err)
	want := Answers{Frames: 40, Bytes: 10 * (128 + 37 + 62 + 528), Excess: 10 * (75 + 1), ExcessVictims: 750}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cells, err := m.Cells()
	must(t, err)
	if cells[3] != 20 {
		t.Errorf("%d of 20 packets of players", cells[3])
	}
}

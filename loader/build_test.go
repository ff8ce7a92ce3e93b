// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each port has one front that is asked first, the same one whenever a plan is built.
func TestFrontPorts(t *testing.T) {
	const tcp, udp = 6, 17
	low, high, six := netip.MustParseAddr("9.0.0.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	b := builder{services: []bpfService{2: {Gate: 1}, 5: {}, 6: {}}, fronts: map[frontKey]bpfFront{
		{low, 1, udp}: {Service: 1}, {low, 1, tcp}: {Service: 1}, // both protocols are one service's
		{low, 2, udp}: {Service: 2}, {low, 2, tcp}: {Service: 3}, // each has one of its own
		{high, 3, udp}: {Service: 4}, {low, 3, tcp}: {Service: 5, Offset: 1}, // on two addresses
		{six, 4, udp}: {Service: 6},
	}}
	want := map[uint16]bpfFrontPort{
		be16(1): {Addr: be32(low), Service: 1, Proto: [2]uint8{udp, tcp}},
		be16(2): {Addr: be32(low), Service: 2, Proto: [2]uint8{udp}, Gated: 1},
		be16(3): {Addr: be32(low), Service: 5, Offset: 1, Proto: [2]uint8{tcp}},
	}
	for range 50 { // a map is walked in another order each time
		if diff := cmp.Diff(want, b.frontPorts()); diff != "" {
			t.Fatalf("front ports (-want +got):\n%s", diff)
		}
	}
}

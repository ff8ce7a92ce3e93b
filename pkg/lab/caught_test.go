// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDetectedOf(t *testing.T) {
	began := time.Unix(1000, 0)
	a := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 0, n}) }
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	machines, others := []netip.Addr{a(1), a(2), a(3), a(4)}, map[netip.Addr]bool{a(5): true, a(6): true}
	got := detectedOf(map[netip.Addr]time.Time{a(1): at(30), a(2): at(10), a(3): at(-5), a(4): {}, a(5): at(1), a(6): {}}, machines, others, began)
	want := &Detected{
		Attackers: 4, Caught: 3, Innocent: 1, Precision: 0.75, Recall: 0.75, FirstMS: 0, MedianMS: ms(10 * time.Second), LastMS: ms(30 * time.Second),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := detectedOf(map[netip.Addr]time.Time{}, nil, others, began); got.Precision != 1 || got.Recall != 0 {
		t.Errorf("nobody attacked, nobody was caught: %+v", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"parry/test/need"
)

func TestRegularsAreReadAsTheyWereWritten(t *testing.T) {
	need.Root(t)
	e, err := Open(Options{Log: slog.New(slog.DiscardHandler), Sizes: Sizes{
		Sessions: 64, Blocks: 64, Allows: 64, Prefixes: 64, Sources: 64, Fragments: 16, Services: 16, NAT4: 1, NAT6: 1, Unproven: 16, Greylist: 64, Regulars: 1 << 14,
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	now := time.Now()
	list := []Regular{
		{Addr: netip.MustParseAddr("198.51.100.7"), Service: 1, Seen: now.Add(-time.Second)},
		{Addr: netip.MustParseAddr("2001:db8:5:6::"), Service: 70_000, Seen: now},
		{Addr: netip.MustParseAddr("198.51.100.8"), Service: 1, Seen: now.Add(-100 * 365 * 24 * time.Hour)}, // before any boot
	}
	for n := range 6000 { // more than are read at once
		list = append(list, Regular{Addr: netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}), Service: 2, Seen: now})
	}
	if err := e.AddRegulars(list); err != nil {
		t.Fatal(err)
	}
	got, err := e.Regulars()
	if err != nil || len(got) != len(list) {
		t.Fatalf("%d of %d, %v", len(got), len(list), err)
	}
	for i, want := range list {
		at := slices.IndexFunc(got, func(r Regular) bool { return r.Addr == want.Addr && r.Service == want.Service })
		if at < 0 {
			t.Fatalf("%v is not there", want)
		}
		if off := got[at].Seen.Sub(want.Seen).Abs(); i == 2 && !got[at].Seen.IsZero() || i != 2 && off > 100*time.Millisecond {
			t.Errorf("%v was seen at %v", want, got[at].Seen)
		}
	}
	if err := e.DelRegulars(append(list[3:], Regular{Addr: netip.MustParseAddr("192.0.2.1")})); err != nil {
		t.Fatal(err)
	}
	if got, err = e.Regulars(); err != nil || len(got) != 3 {
		t.Errorf("%d are left, %v", len(got), err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"log/slog"
	"net/netip"
	"testing"

	"parry/test/need"
)

// Prefix lists are read by batches: each entry once, however many there are.
func TestPrefixListsAreReadWhole(t *testing.T) {
	need.Root(t)
	s := smallSizes()
	s.Prefixes = 16384
	e, err := Open(Options{Sizes: s, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer e.Close()
	l := e.Lists()
	const n = 10_000 // of each family: some batches, and a part of one
	var all []Entry
	for i := range n {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 8), byte(i)}
		all = append(all,
			Entry{EntryKey: EntryKey{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}), 24)}},
			Entry{EntryKey: EntryKey{Prefix: netip.PrefixFrom(netip.AddrFrom16(b), 48)}})
	}
	if err := l.Add(Deny, all); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Refilter(); err != nil || got != 2*n {
		t.Errorf("Refilter met %d of %d: %v", got, 2*n, err)
	}
	met := map[netip.Prefix]int{}
	for entry, err := range l.Entries(Deny) {
		if err != nil {
			t.Fatal(err)
		}
		met[entry.Prefix]++
	}
	for _, entry := range all {
		if met[entry.Prefix] != 1 {
			t.Fatalf("%v is listed %d times", entry.Prefix, met[entry.Prefix])
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package history

import (
	"net/netip"
	"testing"
	"time"
)

func TestEnding(t *testing.T) {
	for _, x := range []struct {
		by   string
		w    Witness
		want string
	}{
		{"client", Witness{}, ByClient},
		{"client", Witness{Gone: true, Denied: true, Dropped: "denied"}, ByClient},
		{"server", Witness{}, ByServer},
		{"server", Witness{Gone: true}, ByDrain},
		{"closed", Witness{ClientLast: true}, ByClient},
		{"closed", Witness{}, ByServer},
		{"closed", Witness{Gone: true}, ByDrain},
		{"idle", Witness{}, ByIdle},
		{"idle", Witness{Dropped: "denied"}, ByBlock},
		{"idle", Witness{Dropped: "rule", Gone: true}, ByBlock},
		{"idle", Witness{Denied: true}, ByBlock},
		{"idle", Witness{Dropped: "rate_packets", Denied: true}, ByLimit},
		{"idle", Witness{Dropped: "prefix_bytes"}, ByLimit},
		{"idle", Witness{Dropped: "service_packets"}, ByLimit},
		{"idle", Witness{Dropped: "packet_size"}, ByLimit},
		{"idle", Witness{Dropped: "no_route"}, ByPath},
		{"idle", Witness{Dropped: "no_neighbor"}, ByPath},
		{"idle", Witness{Dropped: "internal"}, ByEdge},
		{"idle", Witness{Dropped: "bad_udp"}, ByIdle}, // single packets
		{"idle", Witness{Dropped: "icmp_rate"}, ByIdle},
		{"idle", Witness{Gone: true}, ByDrain},
		{"killed", Witness{Gone: true}, ByKilled},
		{"silent", Witness{}, ByLimit},
		{"evicted", Witness{}, ByLimit},
		{"of the future", Witness{}, ByEdge},
	} {
		if got := Ending(x.by, x.w); got != x.want {
			t.Errorf("%s, %+v: %s, want %s", x.by, x.w, got, x.want)
		}
	}
}

func tuple(n int) Tuple {
	return Tuple{Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 1), Proto: 17}
}

func TestDropsAfterTheLastPacket(t *testing.T) {
	d := NewDrops()
	s := uint64(time.Second)
	d.Note(tuple(1), 10, 5*s)
	d.Note(tuple(2), 13, 5*s)
	d.Note(tuple(2), 10, 9*s)
	for i, x := range []struct {
		n    int
		last uint64
		want uint8
	}{
		{1, 5*s - 1, 0}, // a burst, and then silence
		{2, 5 * s, 10},
		{2, 5 * s, 0}, // once
		{3, 0, 0},
	} {
		if got := d.After(tuple(x.n), x.last); got != x.want {
			t.Errorf("%d: reason %d, want %d", i, got, x.want)
		}
	}
	d.Note(tuple(0), 10, s)
	for n := 1; n <= 10*dropsMost; n++ {
		d.Note(tuple(n), 10, s)
		if n%1000 == 0 {
			d.Note(tuple(0), 10, s)
		}
	}
	if n := len(d.young) + len(d.old); n > dropsMost || d.After(tuple(0), 0) == 0 {
		t.Errorf("%d are remembered; who is dropped again and again is not: %v", n, d.After(tuple(0), 0) == 0)
	}
}

// A flood of sessions that come to nothing leaves room for all who played.
func TestBudget(t *testing.T) {
	b := NewBudget(1000, 0)
	brief, long := 0, 0
	for ms := range 100_000 {
		now := time.Duration(ms) * time.Millisecond
		for range 10 {
			if b.Takes(2*time.Second, 3, 3, now) {
				brief++
			}
		}
		if b.Takes(time.Minute, 100, 100, now) {
			long++
		}
	}
	if want := briefAtOnce + 100*briefPerSecond; brief > want || brief < want-10 || long != 100_000 {
		t.Errorf("%d brief ones are written and %d that lasted", brief, long)
	}
	for i, x := range []struct {
		lasted   time.Duration
		up, down uint64
	}{{lasts, 19, 20}, {lasts, 20, 19}, {lasts - 1, 20, 20}} {
		if b.Takes(x.lasted, x.up, x.down, 99_999*time.Millisecond) {
			t.Errorf("%d lasted", i)
		}
	}
	for range 2000 {
		long = 0
		for b.Takes(lasts, 20, 20, 200*time.Second) {
			long++
		}
		if long > 1000 {
			t.Fatalf("%d at once", long)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// The promised bound, with what parry's own policy tracks.
const promisedBytes = 36 << 20

// random gives observations of any kind from random sources.
func random(rnd *rand.Rand, o *Observation, at time.Duration) {
	var b [16]byte
	if rnd.IntN(4) == 0 {
		b[0] = 0x20
		binary.BigEndian.PutUint64(b[1:], rnd.Uint64())
		o.Source = netip.AddrFrom16(b)
	} else {
		binary.BigEndian.PutUint32(b[:], rnd.Uint32())
		o.Source = netip.AddrFrom4([4]byte(b[:4]))
	}
	o.Time = uint64(at)
	o.Kind, o.Proof = Kind(rnd.IntN(12)), Proof(rnd.IntN(3))
	o.Service, o.Port, o.Client = uint16(rnd.IntN(3000)), uint16(rnd.Uint32()), uint16(rnd.Uint32())
	o.Length, o.Lasted, o.EndedBy = uint16(rnd.IntN(1500)), rnd.IntN(3) == 0, EndedBy(rnd.IntN(4))
	o.Lived = time.Duration(rnd.IntN(100)) * time.Second
}

// Whatever comes, and from however many sources, all memory is what Bytes says, and that is what is promised.
func TestMemoryIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := newRig(t, func(p *Policy) { p.Block.UnprovenPerSecond = 0 })
	rnd := rand.New(rand.NewPCG(1, 1))
	var o Observation
	n := 500_000
	for i := range n {
		random(rnd, &o, time.Duration(i)*20*time.Microsecond)
		o.Game = []string{"quake3", "source", ""}[i%3]
		r.Observe(&o)
	}
	r.made, r.signs = nil, nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	c := r.Counts()
	held := int(after.HeapAlloc) - int(before.HeapAlloc)
	t.Logf("%d observations, most of sources of their own: %+v; Bytes %d, on the heap %d", n, c, r.Bytes(), held)
	if r.Bytes() > promisedBytes || held > r.Bytes()+1<<20 {
		t.Errorf("%d bytes on the heap, Bytes says %d, promised are %d", held, r.Bytes(), promisedBytes)
	}
	z := &r.p.Sizes
	if c.Strangers != z.Strangers || c.Sources != z.Sources || c.Prefixes != z.Prefixes || len(r.services) != z.Services {
		t.Errorf("%+v and %d services are tracked: the test didn't fill what is there", c, len(r.services))
	}
	runtime.KeepAlive(r)
}

// A flood of forged sources takes no place from those that proved their addresses.
func TestStrangersTakeNoPlaceFromTheProven(t *testing.T) {
	r := newRig(t)
	for i := range 9 {
		r.see(victim, Observation{Kind: Attempt, Proof: Strong, Client: uint16(i + 1)})
		r.now += time.Second
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], rnd.Uint32())
		r.Observe(&Observation{Time: uint64(r.now), Source: netip.AddrFrom4(b), Service: 1, Kind: Attempt})
	}
	r.connect(victim, 2, time.Second)
	r.want(t, victim+"/32 risk all 1.00")
}

// Nothing is allocated for an observation, whether its source is known, new or one of millions.
func TestObservingAllocatesNothing(t *testing.T) {
	r := newRig(t, func(p *Policy) { p.Sizes.Services = 64 })
	rnd := rand.New(rand.NewPCG(1, 3))
	var o Observation
	i := 0
	next := func() {
		random(rnd, &o, time.Duration(i)*time.Millisecond)
		o.Service %= 64
		o.Game = "quake3"
		r.Observe(&o)
		i++
	}
	for range 50_000 {
		next()
	}
	made := len(r.made) + len(r.signs)
	got := testing.AllocsPerRun(20_000, next)
	if decided := len(r.made) + len(r.signs) - made; got > 0 && decided < 20 {
		t.Errorf("%v allocations an observation, with %d decisions", got, decided)
	}
}

// Nor for one who goes on when it is decided about: a forger can't make the daemon write evidence over and over.
func TestGoingOnAllocatesNothing(t *testing.T) {
	for _, proof := range []Proof{Strong, None} {
		r := newRig(t)
		o := Observation{Kind: Attempt, Proof: proof, Source: address(0xc6336407), Service: 1, Port: 27960, Game: "quake3"}
		go1 := func() {
			o.Client++
			o.Time += 1e6
			r.Observe(&o)
		}
		for range 5000 {
			go1()
		}
		made := len(r.made)
		if got := testing.AllocsPerRun(5000, go1); got != 0 || made != 1 || len(r.made) != 1 {
			t.Errorf("proof %d: %v allocations an observation, %d decisions", proof, got, len(r.made))
		}
	}
}

func TestRoomEvictsWhatWasUsedLongestAgo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	r := newRoom[source, int](64, 99)
	type used struct{ value, at int }
	all := map[source]used{}
	for now := 1; now < 200_000; now++ {
		k := source(rnd.IntN(200))
		switch rnd.IntN(10) {
		case 0:
			r.remove(k)
			delete(all, k)
		case 1, 2:
			v, ok := all[k]
			if got := r.get(k); (got != nil) != ok || ok && *got != v.value {
				t.Fatalf("move %d: got %v, want %v", now, got, v)
			}
		default:
			if _, ok := all[k]; !ok && len(all) == 64 {
				oldest := source(0)
				for o, u := range all {
					if first, ok := all[oldest]; !ok || u.at < first.at {
						oldest = o
					}
				}
				delete(all, oldest)
			}
			got := r.take(k)
			if *got != all[k].value {
				t.Fatalf("move %d: took %d, want %d", now, *got, all[k].value)
			}
			*got = now
			all[k] = used{now, now}
		}
		if r.n != len(all) {
			t.Fatalf("move %d: %d values, want %d", now, r.n, len(all))
		}
	}
	seen := 0
	last := 1 << 60
	r.each(func(k source, v *int) {
		if seen++; all[k].value != *v || all[k].at > last {
			t.Errorf("%d is %d, want %+v, in order of use", k, *v, all[k])
		}
		last = all[k].at
	})
	if seen != len(all) {
		t.Errorf("%d are shown of %d", seen, len(all))
	}
}

// Space-Saving's promises: who has more than 1/size of all has a place, and a count that is never too low, nor least ever too high.
func TestRankingHoldsHeavyHitters(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 6))
	zipf := rand.NewZipf(rnd, 1.2, 1, 1<<20)
	r := newRanking(64, 7)
	exact := map[uint64]uint64{}
	var total uint64
	for range 300_000 {
		k, w := zipf.Uint64(), uint64(1+rnd.IntN(3))
		exact[k] += w
		total += w
		if least, _ := r.add(k, w, 1); least > exact[k] {
			t.Fatalf("%d was seen at least %d times, and was %d", k, least, exact[k])
		}
	}
	held := map[uint64]bool{}
	for i, p := range r.places {
		s := &r.slots[p.slot]
		held[s.key] = true
		if p.count < exact[s.key] || int(s.at) != i || i > 0 && r.places[(i-1)/2].count > p.count {
			t.Errorf("place %d: %d counts %d, was %d; it says it is at %d", i, s.key, p.count, exact[s.key], s.at)
		}
	}
	heavy := 0
	for k, n := range exact {
		if n > total/64 {
			heavy++
			if !held[k] {
				t.Errorf("%d has %d of %d, and no place", k, n, total)
			}
		}
	}
	if heavy < 5 {
		t.Errorf("only %d heavy hitters in the test", heavy)
	}
	before := r.places[0].count
	if r.add(0, 1, 1+3*halfLife); r.places[0].count > before/8+1 {
		t.Errorf("after 15 s %d is still %d", before, r.places[0].count)
	}
}

func TestDistinctIsNearTheTruth(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	for n := 1; n <= 150; n++ {
		sum := 0
		for range 50 {
			var s spread
			for range n {
				s.add(rnd.Uint64())
			}
			sum += distinct(s, spread{})
		}
		if mean := float64(sum) / 50; mean < 0.85*float64(n)-1 || mean > 1.15*float64(n)+1 {
			t.Errorf("%d are estimated as %.1f", n, mean)
		}
	}
}

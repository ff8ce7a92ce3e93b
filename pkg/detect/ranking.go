// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"time"
	"unsafe"
)

// ranking finds what occurs most often among any number of things, in a bounded number of places: Space-Saving (Metwally, Agrawal,
// El Abbadi 2005). A thing that occurred more than 1/size of all has a place for sure; its count is too high by err at most.
// Counts are halved every five seconds, so they are of the last five to ten.
type ranking struct {
	seed   uint64
	places []place // a heap: the least is first
	index  []int32 // the first place of each chain by slot; 0 = none, else one more than it
	slots  []slotted
	halved int64
}

// slotted is what stays where it is while the heap moves.
type slotted struct {
	key            uint64
	chain, at      int32
	sources, dests spread // of a prefix
	since, last    int64  // the stretch without a pause that it occurs in
}

type place struct {
	count, err uint64
	slot       int32
}

const halfLife = int64(5e9)

func newRanking(size int, seed uint64) *ranking {
	chains := 1
	for chains < size {
		chains *= 2
	}
	return &ranking{seed: seed, places: make([]place, 0, size), slots: make([]slotted, size), index: make([]int32, chains)}
}

func (r *ranking) bytes() int {
	return cap(r.places)*int(unsafe.Sizeof(place{})) + len(r.slots)*int(unsafe.Sizeof(slotted{})) + len(r.index)*int(unsafe.Sizeof(int32(0)))
}

// add counts a thing, and says how often it occurred at least.
func (r *ranking) add(key, weight uint64, now int64) (least uint64, s *slotted) {
	r.age(now)
	chain := &r.index[mix(r.seed, key)&uint64(len(r.index)-1)]
	i := *chain
	for i != 0 && r.slots[i-1].key != key {
		i = r.slots[i-1].chain
	}
	switch {
	case i != 0:
		s = &r.slots[i-1]
	case len(r.places) < cap(r.places):
		n := int32(len(r.places))
		s = &r.slots[n]
		*s = slotted{key: key, chain: *chain, at: n}
		r.places = append(r.places, place{slot: n})
		*chain = n + 1
		r.up(n)
	default: // the least makes place, and leaves its count as what may be wrong
		p := &r.places[0]
		s = &r.slots[p.slot]
		r.unchain(p.slot + 1)
		p.err = p.count
		*s = slotted{key: key, chain: *chain, at: 0} // chain is read after unchain
		*chain = p.slot + 1
	}
	p := &r.places[s.at]
	p.count += min(weight, ^p.count)
	least = p.count - p.err
	r.down(s.at)
	return least, s
}

// goesOn is for how long it has occurred without a pause.
func (s *slotted) goesOn(now int64, pause time.Duration) time.Duration {
	if now-s.last > int64(pause) {
		s.since = now
	}
	s.last = now
	return time.Duration(now - s.since)
}

func (r *ranking) unchain(i int32) {
	at := &r.index[mix(r.seed, r.slots[i-1].key)&uint64(len(r.index)-1)]
	for *at != i {
		at = &r.slots[*at-1].chain
	}
	*at = r.slots[i-1].chain
}

// age halves all counts for each five seconds that passed; the order stays.
func (r *ranking) age(now int64) {
	gone := (now - r.halved) / halfLife
	if gone <= 0 {
		return
	}
	r.halved += gone * halfLife
	by := min(gone, 63)
	for i := range r.places {
		p := &r.places[i]
		p.count, p.err = p.count>>by, p.err>>by
		if by > 1 {
			s := &r.slots[p.slot]
			s.sources, s.dests = spread{}, spread{}
		}
	}
}

// forget takes a thing's count back, once it has led to a decision.
func (r *ranking) forget(s *slotted) {
	p := &r.places[s.at]
	p.err = p.count
	s.sources, s.dests = spread{}, spread{}
}

func (r *ranking) swap(a, b int32) {
	r.places[a], r.places[b] = r.places[b], r.places[a]
	r.slots[r.places[a].slot].at, r.slots[r.places[b].slot].at = a, b
}

func (r *ranking) up(i int32) {
	for i > 0 && r.places[i].count < r.places[(i-1)/2].count {
		r.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (r *ranking) down(i int32) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < int32(len(r.places)); c++ {
			if r.places[c].count < r.places[least].count {
				least = c
			}
		}
		if least == i {
			return
		}
		r.swap(i, least)
		i = least
	}
}

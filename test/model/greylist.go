// SPDX-License-Identifier: Apache-2.0

package model

// A game's client that gets no answer tries again by the same address and port; a forger that makes up addresses doesn't. So a
// stranger is noted, and let in when it comes again: not at once, and not after a few seconds.

const (
	greyGeneration = 3 << 29 // ns. One is remembered in the generation in which it came, and in the next
	greySlice      = 95      // ticks. One that comes again in the same slice, or the next, comes too soon
)

// seenAgain notes a stranger that is not remembered. True: it came before, long enough ago.
func (e *Edge) seenAgain(p *view) bool {
	first, ok := e.grey[p.tuple()]
	if ok && e.Now/greyGeneration-first/greyGeneration <= 1 {
		return slice(e.Now)-slice(first) > 1
	}
	e.grey[p.tuple()] = e.Now
	return false
}

// slice is that of a time: as ticks wrap, once in 52 days, nobody comes too soon.
func slice(now uint64) uint32 { return uint32(now>>tickShift) / greySlice }

// GreyLines are the lines of the fast path's table that strangers were noted in, of so many.
func (e *Edge) GreyLines(of uint32) []uint32 {
	var all []uint32
	for t := range e.grey {
		words := append(words64(t.src.Addr().AsSlice()), words64(t.dst.Addr().AsSlice())...)
		if t.src.Addr().Is4() {
			words = []uint64{uint64(le32(t.src.Addr().AsSlice())) | uint64(le32(t.dst.Addr().AsSlice()))<<32}
		}
		words = append(words, uint64(swap16(t.src.Port()))|uint64(swap16(t.dst.Port()))<<16|uint64(t.proto)<<32)
		h := e.Secret2
		for _, w := range words {
			h = mix(h ^ w)
		}
		all = append(all, uint32(h>>32)&(of-1))
	}
	return all
}

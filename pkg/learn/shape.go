// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"time"

	"parry/pkg/game"
)

const (
	maxShapes   = 3
	windows     = 3 // of eight bytes, in all shapes together: what the gate has
	windowBytes = 8
	splitAt     = 16 // the kind of a first packet stands in its first bytes
	enoughFixed = 2  // bytes that tell a game from noise well enough, so that kinds need not be told apart
	nearTime    = 24 * time.Hour
	farApart    = 600 // lengths that say nothing
)

// HeldOut is what became of play that was not learned from: the shapes were learned of every other source, and asked about the rest.
type HeldOut struct {
	Learned int `json:"learned"` // first packets
	Asked   int `json:"asked"`
	Passed  int `json:"passed"`
}

// shapes are what first packets have in common; none, and why, where too little shows.
func shapes(all []first, server netip.AddrPort) (found []game.Shape, held *HeldOut, why string) {
	switch sources := sourcesOf(all); {
	case len(all) == 0:
		return nil, nil, "no first packet of an answered source is in the capture"
	case len(all) < leastFlows || sources < leastSources:
		return nil, nil, "too few to tell what never changes: want first packets of 8 sessions and 3 sources at least"
	case slices.ContainsFunc(all, func(f first) bool { return f.length == 0 }):
		return nil, nil, "some sessions begin with an empty packet"
	}
	l := learner{server: server, least: leastFlows, sources: leastSources, room: 1}
	held = hold(all, l)
	if held != nil && held.Passed < held.Asked { // lengths of players yet to come: more room
		l.room = 2
		held = hold(all, l)
	}
	found = l.of(all)
	if len(found) == 0 {
		return nil, nil, "they have nothing in common"
	}
	return found, held, ""
}

func sourcesOf(all []first) int {
	seen := map[*source]bool{}
	for i := range all {
		seen[all[i].source] = true
	}
	return len(seen)
}

// hold learns of every other source, and asks about the rest. nil: too few.
func hold(all []first, l learner) *HeldOut {
	var known, rest []first
	side := map[*source]int{}
	for _, f := range all {
		n, ok := side[f.source]
		if !ok {
			n = len(side)
			side[f.source] = n
		}
		if n%2 == 0 {
			known = append(known, f)
		} else {
			rest = append(rest, f)
		}
	}
	l.least, l.sources = leastFlows/2, min(l.sources, 2)
	if len(known) < l.least || len(rest) < l.least {
		return nil
	}
	h := &HeldOut{Learned: len(known), Asked: len(rest)}
	found := l.of(known)
	for _, f := range rest {
		if len(found) == 0 || slices.ContainsFunc(found, func(s game.Shape) bool { return s.Match(f.payload, f.length) }) {
			h.Passed++
		}
	}
	return h
}

// learner finds what is common.
type learner struct {
	server         netip.AddrPort
	least, sources int // what it takes to believe a kind
	room           int // how generous lengths are
}

// of makes one shape of first packets or, where they are of different kinds, up to three.
func (l learner) of(all []first) []game.Shape {
	one := l.one(all, windows)
	if one.Fixed() >= enoughFixed {
		return []game.Shape{one}
	}
	best, fixed := []game.Shape{one}, one.Fixed()
	for at := range splitAt {
		kinds := l.kinds(all, at)
		if kinds == nil {
			continue
		}
		var found []game.Shape
		fewest := math.MaxInt
		for _, kind := range kinds {
			s := l.one(kind, windows/len(kinds))
			fewest = min(fewest, s.Fixed())
			found = append(found, s)
		}
		if fewest > fixed { // the weakest of them is what all are worth
			best, fixed = found, fewest
		}
	}
	if least, most := best[0].Length.Min, best[0].Length.Max; fixed == 0 && (most == 0 || int(most)-int(least) > farApart) {
		return nil
	}
	return best
}

// kinds tells first packets apart by a byte that has two or three values, each of them often enough; nil if it hasn't.
func (l learner) kinds(all []first, at int) [][]first {
	by := map[byte][]first{}
	for _, f := range all {
		if at >= len(f.payload) {
			return nil
		}
		if by[f.payload[at]] = append(by[f.payload[at]], f); len(by) > maxShapes {
			return nil
		}
	}
	var kinds [][]first
	for _, kind := range by {
		if len(kind) < l.least || sourcesOf(kind) < l.sources {
			return nil
		}
		kinds = append(kinds, kind)
	}
	if len(kinds) < 2 {
		return nil
	}
	slices.SortFunc(kinds, func(a, b []first) int { return cmp.Or(len(b)-len(a), int(a[0].payload[at])-int(b[0].payload[at])) })
	return kinds
}

// one is the shape that all have, in so many windows.
func (l learner) one(all []first, room int) game.Shape {
	least, most, kept := all[0].length, all[0].length, keptBytes
	for _, f := range all {
		least, most, kept = min(least, f.length), max(most, f.length), min(kept, len(f.payload))
	}
	fixed := l.fixed(all, kept)
	at, pattern := inWindows(fixed, room)
	lo, hi := l.lengths(least, most, len(all))
	if pattern != nil {
		lo = max(lo, at+len(pattern))
	}
	return game.Shape{Length: game.Bounds{Min: uint16(lo), Max: uint16(hi)}, At: at, Bytes: pattern}
}

// lengths are what was seen, and room: names are longer, tokens shorter with other players. hi 0 = no most.
func (l learner) lengths(least, most, n int) (lo, hi int) {
	if least == most && n >= exactFlows {
		return least, most
	}
	room := l.room * max(16, (most-least+1)/2)
	lo, hi = max(1, least-room), most+room
	if hi > math.MaxUint16 {
		hi = 0
	}
	return lo, hi
}

// fixed are the bytes that are the same in all, what a number may be left out: Any stands for the rest.
func (l learner) fixed(all []first, kept int) game.Pattern {
	p := make(game.Pattern, kept)
	for i := range p {
		p[i] = int16(all[0].payload[i])
		for _, f := range all[1:] {
			if f.payload[i] != all[0].payload[i] {
				p[i] = game.Any
				break
			}
		}
	}
	varies := slices.Clone(p)
	for i := range p {
		for _, n := range []int{1, 2, 4, 8} {
			if i+n <= kept && l.number(all, i, n) {
				for j := i; j < i+n; j++ {
					p[j] = game.Any
				}
			}
		}
		if varies[i] == 0 && zerosOfNumber(varies, i) {
			p[i] = game.Any
		}
	}
	return p
}

// number tells whether bytes are, in every packet, its length, the server's port or address, or the time: they are the same today alone.
func (l learner) number(all []first, at, n int) bool {
	every := func(is func(f *first, v uint64) bool) bool {
		for _, order := range []binary.ByteOrder{binary.BigEndian, binary.LittleEndian} {
			ok := true
			for i := range all {
				if ok = is(&all[i], read(order, all[i].payload[at:at+n])); !ok {
					break
				}
			}
			if ok {
				return true
			}
		}
		return false
	}
	length := func(f *first, v uint64) bool {
		return v > 0 && (v == uint64(f.length) || v == uint64(f.length-at) || v == uint64(f.length-at-n))
	}
	switch n {
	case 1:
		return every(length)
	case 2:
		return every(length) || every(func(_ *first, v uint64) bool { return v == uint64(l.server.Port()) })
	case 4:
		a := l.server.Addr().AsSlice()
		return l.server.Addr().Is4() && every(func(_ *first, v uint64) bool { return v == uint64(binary.BigEndian.Uint32(a)) }) ||
			every(func(f *first, v uint64) bool { return isTime(f.at, v, time.Second) })
	}
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond, time.Nanosecond} {
		if every(func(f *first, v uint64) bool { return isTime(f.at, v, unit) }) {
			return true
		}
	}
	return false
}

func read(order binary.ByteOrder, b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(order.Uint16(b))
	case 4:
		return uint64(order.Uint32(b))
	}
	return order.Uint64(b)
}

// isTime tells whether a number counts such units to about when the packet came, from 1970 on.
func isTime(at time.Time, v uint64, unit time.Duration) bool {
	if v > math.MaxInt64/uint64(unit) {
		return false
	}
	d := at.Sub(time.Unix(0, int64(v)*int64(unit)))
	return d.Abs() < nearTime
}

// zerosOfNumber: zeros beside a byte that varies are the upper end of a number that has been small so far.
func zerosOfNumber(p game.Pattern, at int) bool {
	for _, step := range []int{1, -1} {
		for i, n := at, 0; i >= 0 && i < len(p) && n < windowBytes; i, n = i+step, n+1 {
			if p[i] == game.Any {
				return true
			}
			if p[i] != 0 {
				break
			}
		}
	}
	return false
}

// weight is what a fixed byte tells: floods of zeros or ones are the commonest.
func weight(v int16) int {
	switch v {
	case game.Any:
		return 0
	case 0:
		return 1
	case 0xff:
		return 2
	}
	return 4
}

// inWindows keeps the fixed bytes of the windows that tell most, the earlier first where it is the same.
func inWindows(p game.Pattern, room int) (at int, kept game.Pattern) {
	keep := make([]bool, len(p))
	for range room {
		best, most := -1, 0
		for i := range p {
			if p[i] == game.Any || keep[i] {
				continue
			}
			n := 0
			for j := i; j < min(i+windowBytes, len(p)) && !keep[j]; j++ {
				n += weight(p[j])
			}
			if n > most {
				best, most = i, n
			}
		}
		if best < 0 {
			break
		}
		for j := best; j < min(best+windowBytes, len(p)) && !keep[j]; j++ {
			keep[j] = p[j] != game.Any
		}
	}
	first := slices.Index(keep, true)
	if first < 0 {
		return 0, nil
	}
	for i := first; i < len(p); i++ {
		if !keep[i] {
			kept = append(kept, game.Any)
			continue
		}
		kept = append(kept, p[i])
	}
	for len(kept) > 0 && kept[len(kept)-1] == game.Any {
		kept = kept[:len(kept)-1]
	}
	return first, kept
}

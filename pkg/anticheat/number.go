// SPDX-License-Identifier: Apache-2.0

package anticheat

import "encoding/binary"

// numbers is how a game numbers its datagrams: those that bpf/stage/watch.h reads, too.
type numbers uint8

const (
	numbersNone   numbers = iota
	numbersRakNet         // 24 bits; acknowledgements have none
	numbersSource         // 32 bits; those that the sender says it left out are not lost
	numbersQuake3         // 31 bits; fragments share one
)

func numbersOf(family string) numbers {
	switch family {
	case "raknet":
		return numbersRakNet
	case "source":
		return numbersSource
	case "quake3":
		return numbersQuake3
	}
	return numbersNone
}

// numbered is a number as its packet has it.
type numbered struct {
	number  uint32
	skipped uint32 // so many before it were never sent
	unused  uint8  // high bits that numbers of its kind don't have
	part    bool   // others of the same number may come
}

// read reads a packet's number; false: it has none.
func read(kind numbers, b []byte, n *numbered) bool {
	if len(b) < 4 {
		return false
	}
	word := binary.LittleEndian.Uint32(b)
	*n = numbered{number: word}
	switch kind {
	case numbersRakNet:
		n.number, n.unused = word>>8, 8
		return word&0xe0 == 0x80
	case numbersQuake3:
		n.number, n.unused, n.part = word&^(1<<31), 1, word>>31 != 0
		return word != ^uint32(0)
	case numbersSource:
		if len(b) >= 13 && b[8]&0x10 != 0 {
			n.skipped = uint32(b[12])
		}
		return word < 0xfffffffd
	}
	return false
}

const (
	remembered = 1024 // numbers whose payloads are remembered: 16 s of 60 packets a second
	near       = 4    // behind the highest: what comes again so soon, or within nearTime, is repeated; what is older, replayed
	nearTime   = 0.06 // s
	runMost    = 8    // strange numbers that follow each other are a connection that began anew
	readable   = 8    // in order at least, before numbers are believed
)

// tracker follows a session's upstream numbers.
type tracker struct {
	n        uint32 // that were read and are of the run
	highest  uint32
	known    []known // by number
	pending  pending
	strange  uint32 // in all
	believed bool
}

// known is the payload of a number.
type known struct{ number, sum uint32 }

// pending are strange numbers of which nobody knows yet whether they are a new run, or none.
type pending struct {
	next uint32
	run  uint32
	at   uint64
}

// number takes in a number; it returns by how many it is ahead of the highest: 1 for the next, 0 for one that is no news.
func (a *Analyser) number(s *session, n *numbered, sum uint32, at uint64) int32 {
	t, x := &s.tracker, s.second()
	if t.known == nil {
		t.known = make([]known, remembered)
	}
	if t.n == 0 {
		t.anew(n.number, sum)
		return 1
	}
	ahead := int32((n.number-t.highest)<<n.unused) >> n.unused
	switch {
	case ahead > 0 && float64(ahead) <= s.reach(at):
		s.confirm(at)
		t.n++
		x.numbered++
		if t.n >= readable && t.strange <= t.n {
			t.believed = true
		}
		t.highest = n.number
		t.known[n.number%remembered] = known{n.number, sum}
		return max(ahead-int32(n.skipped), 1)
	case ahead <= 0 && ahead > -remembered:
		s.again(n, sum, -ahead, at)
	default:
		x.numbered++
		s.stranger(n, sum, at)
	}
	return 0
}

// reach is how far ahead a number may be: what may have been lost since the last packet, twice.
func (s *session) reach(at uint64) float64 {
	if s.tracker.n < 64 {
		return 256
	}
	return 32 + 2*s.lag.rate*seconds(at-s.lag.last)
}

func (t *tracker) anew(number, sum uint32) {
	clear(t.known)
	t.n, t.highest, t.pending.run = 1, number, 0
	t.known[number%remembered] = known{number, sum}
}

// again takes in a number that is not ahead of the highest.
func (s *session) again(n *numbered, sum uint32, behind int32, at uint64) {
	t, x := &s.tracker, s.second()
	k := &t.known[n.number%remembered]
	x.numbered++
	switch {
	case n.part:
	case k.number != n.number || *k == known{}: // it is late
		*k = known{n.number, sum}
		x.late++
		s.lag.gap.jump = max(s.lag.gap.jump-1, 0) // it was not lost
	case k.sum != sum: // a connection that began anew, or forged
		s.stranger(n, sum, at)
	case float64(behind) <= near+nearTime*s.lag.rate:
		x.dup++
		s.traces[traceDup].note(at)
	default:
		x.replay++
		s.traces[traceReplay].note(at)
		s.oldest = max(s.oldest, uint32(behind))
	}
}

// stranger takes in a number that is neither before nor after the run, as far as can be. If others follow it, a connection began anew; if the
// run goes on, or yet another comes, it was forged.
func (s *session) stranger(n *numbered, sum uint32, at uint64) {
	t := &s.tracker
	p := &t.pending
	t.strange++
	if ahead := (n.number - p.next) << n.unused >> n.unused; p.run > 0 && ahead < runMost {
		if p.run++; p.run >= runMost {
			t.anew(n.number, sum)
			t.strange -= min(runMost, t.strange)
			return
		}
	} else {
		s.confirm(at)
		p.run, p.at = 1, at
	}
	p.next = n.number + 1
}

// confirm says that strange numbers were not followed by their like.
func (s *session) confirm(uint64) {
	if p := &s.tracker.pending; p.run > 0 {
		s.tampered(p.at, p.run)
		p.run = 0
	}
}

func (s *session) tampered(at uint64, n uint32) {
	s.second().tamper += n
	s.traces[traceTamper].note(at)
}

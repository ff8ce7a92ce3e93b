// SPDX-License-Identifier: Apache-2.0

package anticheat

import "math"

const (
	samplesMost  = 1000 // of the specification
	findingsMost = 64   // that are kept of a session
	history      = 16   // seconds of sums, a power of two
	pauseMost    = 30   // seconds without any packet: what follows is looked at anew
)

// session is what is kept of one.
type session struct {
	of         *Analyser
	key        Session
	bounds     *bounds
	about      About
	began      uint64 // ns: since when it is followed
	at         uint64 // of its last packet
	flagged    bool
	whole      uint64 // packets of the run in which all were told
	wholeSince uint64
	sampled    uint64

	turned  uint64 // number of the second, since began, that is being summed
	seconds [history]second
	samples []sample // a ring once it is full
	next    int
	types   types

	tracker            tracker
	lag                lag
	drops              events
	holds              events
	single             event  // a clump as long as a lag switch's, of which nobody knows yet if others follow
	clumpFrom, clumpTo uint64 // ns: the last clump; 0 = none
	rhythm             rhythm
	sums               [2]sumsState
	sumLags            uint32
	sumLag             uint64
	base               float64 // packets a second as they were for the last minute
	oldest             uint32  // by how many packets a replay was behind, at most

	traces   [traces]trace
	findings []*Finding
	unkept   uint64
	matched  map[string]*Finding

	newer, older *session // in the ring of all
}

// sample is one of the last packets of the client's.
type sample struct {
	at   uint32 // microseconds since the session is followed; wraps after 71 minutes
	size uint16
	kind uint8
}

// second sums one second.
type second struct {
	number                      uint64 // of the second, plus 1; 0 = none
	up, down                    uint32
	upBytes, downBytes          uint32
	numbered, dup, replay, late uint32
	tamper                      uint32
	clumps, held                uint32
	silent                      uint32 // microseconds of silence before clumps
}

// keep remembers a sample: the last 1000.
func (s *session) keep(x sample, at uint64) {
	x.at = uint32((at - s.began) / 1000)
	if len(s.samples) < samplesMost {
		s.samples = append(s.samples, x)
		return
	}
	s.samples[s.next] = x
	s.next = (s.next + 1) % samplesMost
}

// session finds or begins one, and makes it the one that was told of most lately.
func (a *Analyser) session(k Session, at uint64) *session {
	s := a.sessions[k]
	if s == nil {
		if len(a.sessions) >= a.p.Sizes.Sessions {
			a.counts.Evicted++
			a.end(a.oldest, a.oldest.at)
		}
		s = &session{of: a, key: k, began: at, at: at, bounds: a.boundsOf("")}
		s.drops.kind, s.holds.kind = LagDrop, LagHold
		s.begin(at)
		a.sessions[k] = s
		a.link(s)
		s.flagged = a.records.known(s, at)
		return s
	}
	if s.newer != a.oldest { // it is not the newest yet
		a.unlink(s)
		a.link(s)
	}
	return s
}

// link makes a session the newest of the ring; a.oldest.older is the newest.
func (a *Analyser) link(s *session) {
	if a.oldest == nil {
		s.newer, s.older = s, s
		a.oldest = s
		return
	}
	newest := a.oldest.older
	s.older, s.newer = newest, a.oldest
	newest.newer, a.oldest.older = s, s
}

func (a *Analyser) unlink(s *session) {
	switch {
	case s.newer == s:
		a.oldest = nil
	default:
		s.newer.older, s.older.newer = s.older, s.newer
		if a.oldest == s {
			a.oldest = s.newer
		}
	}
	s.newer, s.older = nil, nil
}

// about takes in what is known of it.
func (a *Analyser) about(s *session, b *About) {
	if b.Game != s.bounds.name {
		if c := a.crowds[s.bounds.name]; c != nil {
			c.leave(s)
		}
		s.bounds = a.boundsOf(b.Game)
		s.tracker = tracker{}
	}
	named := b.Player != "" && b.Player != s.about.Player
	if *b != s.about {
		s.about = *b
	}
	if named && a.records.known(s, s.at) {
		s.flagged = true
	}
}

// clock is when a packet came, and never goes back.
func (s *session) clock(at uint64) uint64 {
	s.at = max(s.at, at)
	return s.at
}

// begin looks at it anew: what follows is a run of its own.
func (s *session) begin(at uint64) {
	s.wholeSince = at
	s.tracker = tracker{known: s.tracker.known}
	s.lag = lag{bytes: s.lag.bytes}
	s.single.to, s.clumpTo = 0, 0
	s.rhythm = rhythm{}
	s.seconds = [history]second{}
	s.turned = (at - s.began) / 1e9
	s.seconds[s.turned%history] = second{number: s.turned + 1}
}

// second is the one that is being summed.
func (s *session) second() *second { return &s.seconds[s.turned%history] }

// ago is the second so many before the one that is being summed; nil: there was none.
func (s *session) ago(n uint32) *second {
	if uint64(n) > s.turned || n >= history {
		return nil
	}
	x := &s.seconds[(s.turned-uint64(n))%history]
	if x.number != s.turned-uint64(n)+1 {
		return nil
	}
	return x
}

// total sums the last n seconds that are over; full: there were as many.
func (s *session) total(n uint32) (t second, full bool) {
	full = true
	for i := uint32(1); i <= n; i++ {
		x := s.ago(i)
		if x == nil {
			full = false
			continue
		}
		t.up, t.down, t.upBytes, t.downBytes = t.up+x.up, t.down+x.down, t.upBytes+x.upBytes, t.downBytes+x.downBytes
		t.numbered, t.dup, t.replay, t.late, t.tamper = t.numbered+x.numbered, t.dup+x.dup, t.replay+x.replay, t.late+x.late, t.tamper+x.tamper
		t.clumps, t.held, t.silent = t.clumps+x.clumps, t.held+x.held, t.silent+x.silent
	}
	return t, full
}

// downstream takes in a packet of the server's.
func (s *session) downstream(at uint64, length int) {
	x := s.second()
	x.down++
	x.downBytes += uint32(length)
	s.lag.down(at)
}

func seconds(ns uint64) float64 { return float64(ns) / 1e9 }

// sure is the confidence that n times what is needed gives: 0.8 for once.
func sure(n, need float64) float64 { return min(1-math.Pow(0.2, n/need), 0.99) }

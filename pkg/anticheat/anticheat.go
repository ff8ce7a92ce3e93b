// SPDX-License-Identifier: Apache-2.0

// Package anticheat finds cheating that the network shows: in when a session's packets come, how many and how long they are, which numbers
// they carry, and what bytes they hold. It knows nothing of maps or files and has no clock and no timer: it is told of packets
// (every one of a session, or some) and of sums, by one goroutine, and gives findings. What it had too little to judge it says
// (Report), instead of guessing.
//
// It fails open: nothing here holds up a packet, memory is bounded whatever is told, and what is beyond the bounds is counted and let be.
package anticheat

import (
	"hash/maphash"
	"net/netip"
)

// Handler is told what comes out, on the goroutine that tells of packets.
type Handler struct {
	// Found is told of a finding when the evidence for it is complete, and again when it is over (Open is false then). It is the caller's.
	Found func(Finding)
}

// Counts are figures of an Analyser since it was made.
type Counts struct {
	Packets  uint64
	Sums     uint64
	Findings uint64
	Sessions int    // that are followed now
	Evicted  uint64 // sessions that made place for others
	Unkept   uint64 // findings beyond what is kept of a session
	Players  int    // with earlier findings
}

// Analyser is one goroutine's: there are no locks inside.
type Analyser struct {
	p        Policy
	h        Handler
	seed     maphash.Seed
	sessions map[Session]*session
	oldest   *session // of a ring: who was told of least lately
	games    map[string]*bounds
	crowds   map[string]*crowd // by game
	records  records
	counts   Counts
	sample   numbered // scratch
}

// New makes one. The policy must be one that Check has nothing against.
func New(p Policy, h Handler) (*Analyser, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	return &Analyser{
		p: p, h: h, seed: maphash.MakeSeed(), sessions: map[Session]*session{}, games: map[string]*bounds{}, crowds: map[string]*crowd{},
		records: newRecords(p.Sizes.Players),
	}, nil
}

// Counts tells how it is doing.
func (a *Analyser) Counts() Counts {
	c := a.counts
	c.Sessions, c.Players = len(a.sessions), a.records.len()
	return c
}

// Packet takes in one packet.
func (a *Analyser) Packet(p *Packet) {
	a.counts.Packets++
	s := a.session(p.Session, p.Time)
	a.about(s, &p.About)
	at := s.clock(p.Time)
	if !p.Whole {
		if s.sampled++; s.whole > 0 { // the run is over
			a.finish(s, at)
			s.whole = 0
		}
		a.signatures(s, p, at)
		a.size(s, p, at)
		return
	}
	if s.whole == 0 {
		s.wholeSince = at
		s.begin(at)
	}
	s.whole++
	a.turn(s, at)
	a.signatures(s, p, at)
	if p.Down {
		s.downstream(at, p.Length)
		return
	}
	a.size(s, p, at)
	a.upstream(s, p, at)
}

// upstream takes in one of the client's, of a session of which all are told.
func (a *Analyser) upstream(s *session, p *Packet, at uint64) {
	x := s.second()
	x.up++
	x.upBytes += uint32(p.Length)
	sum := a.hash(p)
	n := &a.sample
	jump := int32(0)
	if s.bounds.numbers != numbersNone && read(s.bounds.numbers, p.Head, n) {
		jump = a.number(s, n, sum, at)
	}
	kind := kindOf(s.bounds.family, p.Head)
	s.keep(sample{size: uint16(min(p.Length, 1<<16-1)), kind: kind}, at)
	s.types.count(kind)
	s.lag.up(s, at, p.Length, jump)
	s.rhythm.up(at, p.Length)
}

// hash tells payloads apart, as far as they were kept.
func (a *Analyser) hash(p *Packet) uint32 {
	return uint32(maphash.Bytes(a.seed, p.Head)) ^ uint32(p.Length)*0x9e3779b1
}

// End judges what is open of a session, tells what is known of it, and forgets it. What was found stays with its player and its address.
// False: it was not followed.
func (a *Analyser) End(k Session, at uint64) (Report, bool) {
	s := a.sessions[k]
	if s == nil {
		return Report{}, false
	}
	s.clock(at)
	a.finish(s, s.at)
	r := a.report(s)
	a.end(s, s.at)
	return r, true
}

func (a *Analyser) end(s *session, at uint64) {
	a.finish(s, at)
	delete(a.sessions, s.key)
	a.unlink(s)
	if c := a.crowds[s.bounds.name]; c != nil {
		c.leave(s)
	}
}

// Flagged tells whether a session began flagged, for its player or address has earlier findings, or has some itself.
func (a *Analyser) Flagged(k Session) bool {
	s := a.sessions[k]
	return s != nil && (s.flagged || len(s.findings) > 0)
}

// source is what an address is known by: an IPv6 client's network is its own, the /64.
func source(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

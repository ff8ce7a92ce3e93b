// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"net/netip"
	"slices"
	"sync"
)

// What a Memory is bounded by. A source is an IPv4 address, or the /64 of an IPv6 one.
const (
	memoryNew   = 2048 // sources that were dropped once: a flood of random ones turns these over, and no others
	memoryOften = 2048 // and those that were dropped in different seconds
	memoryWhys  = 16   // services and reasons of a source
	memoryLast  = 4    // packets of a source
	memoryBytes = 128  // of a packet
)

// Why counts samples of one source that were dropped for one reason.
type Why struct {
	Service uint16
	Reason  uint8
	Shadow  bool // it would have been dropped, were policy enforced
	Rule    uint32
	Samples uint64
	First   uint64 // CLOCK_MONOTONIC ns
	Last    uint64
}

// Dropped is what is remembered of one source.
type Dropped struct {
	Whys []Why    // the latest first
	Last []Sample // packets, the latest first
}

// Memory remembers what was sampled of sources that were dropped lately, in bounded room: some 3 MB. Safe for concurrent use.
type Memory struct {
	mu      sync.Mutex // guards what follows
	sources map[netip.Addr]*source
	young   queue
	old     queue
}

// source is one, within one of two queues.
type source struct {
	addr       netip.Addr
	next, prev *source
	often      bool
	first      uint64
	whys       []Why
	last       [memoryLast]packet
	n          int // packets that there were
}

type packet struct {
	Sample
	frame [memoryBytes]byte
}

// queue is a ring of sources, the one that was seen last in front.
type queue struct {
	root source
	n    int
}

func (q *queue) push(s *source) {
	if q.root.next == nil {
		q.root.next, q.root.prev = &q.root, &q.root
	}
	s.prev, s.next = &q.root, q.root.next
	s.prev.next, s.next.prev = s, s
	q.n++
}

func (q *queue) remove(s *source) {
	s.prev.next, s.next.prev = s.next, s.prev
	q.n--
}

// NewMemory makes one that remembers nothing.
func NewMemory() *Memory { return &Memory{sources: map[netip.Addr]*source{}} }

// SourceOf is what an address is remembered by.
func SourceOf(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.Is6() {
		p, _ := a.Prefix(64) // of an address that is valid
		return p.Addr()
	}
	return a
}

const second = 1e9

// Note remembers a sample of a packet that was dropped, or would have been.
func (m *Memory) Note(s *Sample) {
	if !s.Dropped() || !s.Client.IsValid() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.find(SourceOf(s.Client), s.Time)
	at.why(s)
	p := &at.last[at.n%memoryLast]
	at.n++
	p.Sample = *s
	p.Frame = p.frame[:copy(p.frame[:], s.Frame)]
}

// find gives the source its place in front, and makes it if need be.
func (m *Memory) find(a netip.Addr, now uint64) *source {
	s := m.sources[a]
	switch {
	case s == nil:
		s = m.fresh()
		*s = source{addr: a, first: now, whys: s.whys[:0]}
		m.sources[a] = s
	case s.often:
		m.old.remove(s)
	default:
		m.young.remove(s)
		s.often = now-s.first >= second
	}
	if !s.often {
		m.young.push(s)
		return s
	}
	if m.old.n >= memoryOften {
		gone := m.old.root.prev
		m.old.remove(gone)
		delete(m.sources, gone.addr)
	}
	m.old.push(s)
	return s
}

// fresh is room for one more: new, or of the one that was seen once and longest ago.
func (m *Memory) fresh() *source {
	if m.young.n < memoryNew {
		return &source{}
	}
	s := m.young.root.prev
	m.young.remove(s)
	delete(m.sources, s.addr)
	return s
}

func (s *source) why(p *Sample) {
	w := Why{Service: p.Service, Reason: p.Reason, Shadow: p.Reason == 0, Rule: p.Rule, First: p.Time}
	if w.Shadow {
		w.Reason = p.Shadow
	}
	i := slices.IndexFunc(s.whys, func(o Why) bool {
		return o.Service == w.Service && o.Reason == w.Reason && o.Shadow == w.Shadow && o.Rule == w.Rule
	})
	if i >= 0 {
		w = s.whys[i]
	} else if i = len(s.whys); i < memoryWhys {
		s.whys = append(s.whys, w)
	} else {
		i-- // the oldest makes room
	}
	w.Samples++
	w.Last = p.Time
	copy(s.whys[1:i+1], s.whys[:i])
	s.whys[0] = w
}

// Of tells what is remembered of an address; ok = false: nothing.
func (m *Memory) Of(a netip.Addr) (d Dropped, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sources[SourceOf(a)]
	if s == nil {
		return d, false
	}
	d.Whys = slices.Clone(s.whys)
	for i := range min(s.n, memoryLast) {
		p := s.last[(s.n-1-i)%memoryLast]
		p.Frame = slices.Clone(p.Frame)
		d.Last = append(d.Last, p.Sample)
	}
	return d, true
}

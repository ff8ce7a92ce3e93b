// SPDX-License-Identifier: Apache-2.0

package model

// Sessions of strangers stand in a ring of slots, of each family, in the order in which they began. A newcomer takes the next
// slot; who stands a quarter of the ring ahead and is still unproven is over then. So there are never more of them than slots,
// those that are ending included, and nobody proven is touched. Where the ring turns faster than sessions end, newcomers are
// refused.
type ring struct {
	slots []*Session // nil: nobody's
	next  int
}

func newRing(size int) *ring {
	n := 1
	for n < size {
		n *= 2
	}
	if size == 0 {
		n = 0
	}
	return &ring{slots: make([]*Session, n)}
}

func (e *Edge) ring(p *view) *ring {
	if p.family == 6 {
		return e.unproven6
	}
	return e.unproven4
}

// room makes room for one more stranger, and finds its slot.
func (e *Edge) room(p *view) (slot int, r Reason) {
	g := e.ring(p)
	n := len(g.slots)
	if n == 0 {
		return 0, None
	}
	if s := e.there(g.slots[(g.next+n/4)%n]); s != nil && !s.Closing && s.Proof == Unknown {
		s.evicted = true
		e.close(s)
		e.tried(p.service).Evicted++
	}
	switch s := e.there(g.slots[g.next]); {
	case s == nil:
	case !s.Closing && s.Proof == Unknown, s.evicted && !e.over(s):
		return 0, StrangersFull
	case s.evicted:
		e.delete(s)
	}
	slot = g.next
	g.next = (g.next + 1) % n
	return slot, None
}

// Ring is who took each slot of a family's ring last, nil = nobody yet, and which slot is the next.
func (e *Edge) Ring(family int) (slots []*Session, next int) {
	g := e.unproven4
	if family == 6 {
		g = e.unproven6
	}
	return g.slots, g.next
}

// Began is the tick at which it began.
func (s *Session) Began() uint64 { return s.began }

// there is the session, if it has not been deleted.
func (e *Edge) there(s *Session) *Session {
	if s == nil || e.Find(s.Key()) != s {
		return nil
	}
	return s
}

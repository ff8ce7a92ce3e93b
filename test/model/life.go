// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/netip"
	"time"
)

// A session ends in two steps. One that is idle or killed closes: no packet belongs to it any more, but one that may begin a
// session takes it up again, with its server and port. A second after that it is deleted, and its port goes to the end of its
// ring, to rest there. Sources go likewise.

const closingLasts = ticksPerSecond

// ticks is a duration in whole ticks, rounded up.
func ticks(d time.Duration) uint64 { return (uint64(d) + 1<<tickShift - 1) >> tickShift }

// timeout is how long a session may be idle: the time of the later direction.
func (e *Edge) timeout(s *Session) uint64 {
	t := e.services[s.Service].Timeouts
	switch {
	case s.Proto == tcp && (s.up.rst || s.down.rst || s.up.fin && s.down.fin):
		return ticks(t.Closing)
	case s.silent() && t.Silent > 0 && t.Silent < t.Opening:
		return ticks(t.Silent)
	case s.Proof == Unknown, s.query:
		return ticks(t.Opening)
	case s.weak && t.Weak > 0:
		return ticks(t.Weak)
	case s.Proto == tcp:
		return ticks(t.TCP)
	}
	return ticks(t.UDP)
}

// silent tells whether its gate still waits for what a TCP client says first.
func (s *Session) silent() bool { return s.Proof == Unknown && s.unheard }

func (e *Edge) close(s *Session) {
	s.Closing, s.closed = true, e.tick()
	s.up.checked, s.down.checked = e.tick(), e.tick()
}

func (e *Edge) over(s *Session) bool { return s.Closing && e.tick()-s.closed >= closingLasts }

// Key names a session.
type Key struct {
	Client, Front netip.AddrPort
	Proto         uint8
}

// Key is the session's.
func (s *Session) Key() Key { return Key{s.Client, s.Front, s.Proto} }

// Find is the session of a key, nil = there is none.
func (e *Edge) Find(k Key) *Session {
	if w := e.table[tuple{k.Client, k.Front, k.Proto}]; w.Session != nil && !w.isDown {
		return w.Session
	}
	return nil
}

// Sweep is what the daemon does once a second: it ends what is idle, and deletes what has been over for a second. In which
// order it meets sessions is its own affair, and decides where their ports come in the ring: told is the order in which it
// deleted them. An error says that they are not those that are to be deleted. Returns how many sessions it closed and how
// many sources it met that are idle.
func (e *Edge) Sweep(told []Key) (ended, idle int, err error) {
	due := map[*Session]bool{}
	for _, s := range e.sessions {
		switch {
		case e.over(s):
			due[s] = true
		case !s.Closing && e.Idle(s) >= e.timeout(s):
			if s.silent() {
				note(e.countOf(s.Service).Reasons, Silent, 0)
			}
			e.close(s)
			ended++
		}
	}
	for _, k := range told {
		s := e.Find(k)
		if s == nil || !due[s] {
			return 0, 0, fmt.Errorf("the sweep deleted %v, which is not over", k)
		}
		delete(due, s)
		e.delete(s)
	}
	for s := range due {
		return 0, 0, fmt.Errorf("the sweep did not delete %v, which is over", s.Key())
	}
	return ended, e.sweepSources(), nil
}

func (e *Edge) delete(s *Session) {
	e.remove(s)
	e.leaveWeak(s)
	e.unclaim(s)
	if s.NAT {
		rest := uint64(restUDP)
		if s.Proto == tcp {
			rest = restTCP
		}
		e.freePort(s.Face, rest)
	}
	if src := e.sources[sourceOf(s.Client.Addr(), s.Service, s.prefix)]; src != nil && src.sessions > 0 {
		src.sessions--
		if s.lasting {
			src.lasting--
		}
	}
}

// sweepSources: a source without sessions and with full buckets is the same as none.
func (e *Edge) sweepSources() int {
	idle := 0
	for k, s := range e.sources {
		if e.tick()-s.seen < closingLasts {
			continue
		}
		switch {
		case s.dying:
			delete(e.sources, k)
			idle++
		case s.sessions == 0 && s.packets.full(e.Now) && s.bytes.full(e.Now) && s.news.full(e.Now):
			s.dying, s.seen = true, e.tick()
			idle++
		}
	}
	return idle
}

// Sources tells how many sources are remembered.
func (e *Edge) Sources() int { return len(e.sources) }

// Kill ends a session by hand: nothing takes it up again. Returns whether it was alive. One that has been over for a second
// is deleted on the way.
func (e *Edge) Kill(k Key) bool {
	s := e.Find(k)
	if s == nil {
		return false
	}
	s.killed = true
	switch {
	case !s.Closing:
		e.close(s)
		return true
	case e.over(s):
		e.delete(s)
	}
	return false
}

// takeUp has a session that is closing begin again: unproven, and to be judged anew.
func (e *Edge) takeUp(s *Session) Reason {
	if s.killed {
		return SessionKilled
	}
	if s.evicted {
		return StrangersFull
	}
	e.leaveWeak(s)
	if src := e.sources[sourceOf(s.Client.Addr(), s.Service, s.prefix)]; s.lasting && src != nil {
		src.lasting-- // it has to last again
	}
	s.known = s.known || s.Proof != Unknown || s.vouched
	s.Closing, s.Answered, s.Proof, s.lasting = false, false, Unknown, false
	s.up.stale = true
	for _, h := range []*half{&s.up, &s.down} {
		h.seen, h.fin, h.rst = e.tick(), false, false
	}
	return None
}

func (e *Edge) revive(p *view, s *Session, welcome bool) Outcome {
	if !s.Closing { // StaleSlot hides it
		return e.again(p)
	}
	svc := e.services[s.Service]
	if !p.down && !s.killed && !s.evicted && !s.known && s.Proof == Unknown && svc.exhausted(s) && e.refuse(p, UnprovenRate, svc.Enforce) {
		return drop(UnprovenRate) // taken up again and again it would never get more: it goes
	}
	if s.killed || s.evicted {
		return drop(e.takeUp(s))
	}
	s.shaken, s.header = false, false
	if !s.Local {
		if r := e.sideFor(p, svc, s); r != None {
			return drop(r)
		}
	}
	if r := e.takeUp(s); r != None {
		return drop(r)
	}
	if p.proto == tcp && (p.flags&syn != 0 || p.shaken != nil) && !p.down && !welcome && e.services[s.Service].gate != nil { // another connection: its gate is to hear it
		s.unheard = true
	}
	s.vouched = p.shaken != nil
	return e.again(p)
}

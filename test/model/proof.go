// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// A session begins unproven: its client may be anybody who can forge an address. It is proven once. Strongly by a secret that the
// client echoed, or by TCP's handshake: its server says what a kernel says only after the client's ACK. Weakly by an answer of its
// server between two of its own packets, which somebody blind can fake: such sessions live under quotas until they have played
// for a while.

const (
	lastingAfter   = 30 * ticksPerSecond
	lastingPackets = 20 // each way
)

// proves is what a packet proves of its session, and what it may do in one that is not proven, or weakly.
func (e *Edge) proves(p *view, w way) Reason {
	if w.netchan {
		e.watch(p, w)
	}
	if w.Proof != Unknown && !w.weak {
		return None
	}
	return e.opening(p, w)
}

// opening is what a packet of a session may do that is unproven, or proven weakly, and what it proves.
func (e *Edge) opening(p *view, w way) Reason {
	svc := e.services[w.Service]
	switch {
	case w.Proof == Unknown && p.down:
		return e.openingDown(p, w.Session, svc)
	case w.Proof == Unknown:
		return e.openingUp(p, w.Session, svc)
	case p.down:
		return e.weakDown(p, w.Session, svc)
	}
	return None
}

// weakDown: to somebody who is proven weakly a server may send so much for each byte of the client's: that is play. What is beyond it
// is within the budget of answers.
func (e *Edge) weakDown(p *view, s *Session, svc *service) Reason {
	gain := int64(svc.Strangers.WeakGain)
	if gain == 0 || s.ServerStarted {
		return None
	}
	over := min(int64(s.down.Bytes)+p.gives()-int64(s.up.Bytes)*gain, p.gives())
	if over > 0 && !e.mayAnswer(s.Client.Addr(), uint64(over), true) && e.refuse(p, AnswerBudget, svc.Enforce) {
		return AnswerBudget
	}
	return None
}

// openingDown: nobody unproven is given more than it sent, but within the budget of such answers.
func (e *Edge) openingDown(p *view, s *Session, svc *service) Reason {
	if !s.ServerStarted && !s.vouched {
		over := p.gives() - s.asked()
		if over > 0 && !e.mayAnswer(s.Client.Addr(), uint64(over), s.again || s.up.Packets > 1) && e.refuse(p, AnswerBudget, svc.Enforce) {
			return AnswerBudget
		}
	}
	switch {
	case p.proto != tcp:
		s.Answered = true
	case p.flags&(syn|rst) == 0:
		s.Answered = true
		if s.up.Packets > 0 && !s.unheard && !s.shaken {
			e.prove(s, Strong)
		}
	}
	return None
}

// asked is what an answer may be long and still be no longer than its question: one of its client's packets, as long as they are on
// the average, and no more than what it sent and was not answered yet.
func (s *Session) asked() int64 {
	if s.up.Packets == 0 {
		return 0
	}
	return min(int64(s.up.Bytes/s.up.Packets), max(int64(s.up.Bytes)-int64(s.down.Bytes), 0))
}

// gives is what a server gives with a packet: with the first part of a datagram all of it, headers of the other parts included, for
// nobody holds those to anything.
func (p *view) gives() int64 {
	header := p.l4 - p.l3
	part := p.length - header
	if p.part != first || p.proto != udp || p.whole <= part || part <= 0 {
		return int64(p.length)
	}
	rest := p.whole - part
	return int64(p.length + rest + (rest+part-1)/part*header)
}

// openingUp: it may send so much before its server has answered; what it says after that proves it.
func (e *Edge) openingUp(p *view, s *Session, svc *service) Reason {
	if !s.Answered {
		if !s.known && svc.exhausted(s) && e.refuse(p, UnprovenRate, svc.Enforce) {
			return UnprovenRate
		}
		return None
	}
	if p.proto == tcp {
		if (!s.unheard || p.heard) && s.shaken {
			s.Proof = Strong // as was counted when it began
		} else if !s.unheard || p.heard {
			e.prove(s, Strong)
		}
	} else if !s.query && !p.query && e.joinWeak(s, svc) { // to ask is no proof
		e.prove(s, Weak)
	}
	return None
}

// exhausted tells whether its client has sent all that it may before its server has answered.
func (s *service) exhausted(of *Session) bool {
	most := uint64(s.Strangers.Unanswered)
	return most > 0 && of.up.Packets >= most
}

func (e *Edge) prove(s *Session, p Proof) {
	s.Proof = p
	if p == Strong {
		e.tried(s.Service).Strong++
		e.proved(s.Client.Addr(), s.Service)
	} else {
		e.tried(s.Service).Weak++
	}
}

// joinWeak counts one more weakly proven session, unless its service or its prefix has as many as it may.
func (e *Edge) joinWeak(s *Session, svc *service) bool {
	n := e.weakOf(s)
	q := &svc.Strangers
	if svc.gate == nil && q.Weak == 0 && q.WeakPrefix == 0 && q.WeakGain == 0 && svc.Timeouts.Weak == 0 { // nothing holds them
		return true
	}
	if q.Weak > 0 && e.weak[s.Service] >= q.Weak || q.WeakPrefix > 0 && n.used >= uint64(q.WeakPrefix) {
		return false
	}
	e.weak[s.Service]++
	n.used++
	s.weak = true
	return true
}

// leaveWeak: it is a weak one no more.
func (e *Edge) leaveWeak(s *Session) {
	if s.weak {
		s.weak = false
		e.weak[s.Service]--
		e.weakOf(s).used--
	}
}

func (e *Edge) weakOf(s *Session) *bucket {
	return e.prefixCell(prefixWeak, s.Client.Addr(), 24, 48, s.Service)
}

// WeakSessions is how many a service has.
func (e *Edge) WeakSessions(service int) int { return e.weak[service] }

// lasting is asked whenever a proven session's client is judged: has it played for long enough to be more than weak, and a
// regular? Weak proof makes no regulars under attack.
func (e *Edge) lasting(s *Session) {
	if s.Proof == Unknown || s.lasting || e.tick()-s.began < lastingAfter || s.up.Packets < lastingPackets || s.down.Packets < lastingPackets {
		return
	}
	s.lasting = true
	if src := e.sources[sourceOf(s.Client.Addr(), s.Service, s.prefix)]; src != nil {
		src.lasting++
	}
	defer e.proved(s.Client.Addr(), s.Service)
	if s.Proof == Strong || e.states[s.Service] != Attack {
		e.regulars[regularOf(s.Client.Addr(), s.Service)] = true
	}
	e.leaveWeak(s)
	s.netchan = false
}

func regularOf(a netip.Addr, service int) sourceKey { return sourceOf(a, service, a.BitLen()) }

// Regulars is how many sources have played for long enough.
func (e *Edge) Regulars() int { return len(e.regulars) }

// SetState is the daemon's word on how a service fares.
func (e *Edge) SetState(service int, s State) { e.states[service] = s }

// SetGrace lets sessions that are older than the edge pass a service's gate for a time.
func (e *Edge) SetGrace(service int, until uint64) { e.grace[service] = until }

// SPDX-License-Identifier: Apache-2.0

package model

// Strangers is what a service gives to sources that are not proven. 0 units, and 0 of a number: no bound.
type Strangers struct {
	Packets          uint32 // of one source, in a window of the sketch
	Sessions         Rate   // new ones, before strangers have to come again
	Admissions       Rate   // of those that did
	AdmissionsPrefix Rate   // and of each /16 or /32
	Queries          Rate   // of one source
	Unanswered       int    // packets of a session that its server has not answered
	Weak, WeakPrefix int    // weakly proven sessions, and those of one /24 or /48
	WeakGain         int    // bytes that their servers may send for each of the client's
}

// Tried is what strangers tried with a service, and what became of it.
type Tried struct {
	Strangers, Believed, Greylisted, Returned, Admitted, Strong, Weak, Answered, Asked, Evicted uint64

	Lost      uint64     // packets of proven sessions that were dropped, and not for their own source's doing
	Reflected [17]uint64 // by protocol
}

// Add adds what they tried elsewhere.
func (t *Tried) Add(o Tried) {
	t.Strangers += o.Strangers
	t.Believed += o.Believed
	t.Greylisted += o.Greylisted
	t.Returned += o.Returned
	t.Admitted += o.Admitted
	t.Strong += o.Strong
	t.Weak += o.Weak
	t.Answered += o.Answered
	t.Asked += o.Asked
	t.Evicted += o.Evicted
	t.Lost += o.Lost
	for i := range t.Reflected {
		t.Reflected[i] += o.Reflected[i]
	}
}

// countLoss notes that a player's packet did not leave: but for what its own source is held to, what an operator wants kept out, and what
// its sender is told of or has to do otherwise.
func (e *Edge) countLoss(p *view, o Outcome, packets uint64) {
	if o.Verdict != Drop && o.Verdict != Abort || p.query {
		return
	}
	switch o.Reason {
	case Denied, NotAllowed, PacketSize, RatePackets, RateBytes, BadAddress, TooBig, TTL, WrongPlace, RuleDropped, RuleLimited, TCPFlags, TCPState:
		return
	}
	e.tried(p.service).Lost += packets
}

func (e *Edge) tried(service int) *Tried {
	if e.strangers[service] == nil {
		e.strangers[service] = &Tried{}
	}
	return e.strangers[service]
}

// Tried is what strangers tried with a service.
func (e *Edge) Tried(service int) Tried { return *e.tried(service) }

// gate has a service's gate see a stranger's datagram, or the first segment of a connection that says something. Done: the
// outcome is known.
func (e *Edge) gate(p *view, svc *service) (o Outcome, done bool) {
	said := e.ask(p, svc, false)
	if said.Word == Refuse && !e.inGrace(p, svc) && e.refuse(p, GateRefused, svc.Enforce && !svc.WatchGate) {
		return drop(GateRefused), true
	}
	e.tried(p.service).Believed++
	p.proof, p.query = said.Proof, said.Word >= Query
	if p.proto == udp && e.tooMany(p, svc) {
		return drop(StrangerRate), true
	}
	if p.query && !e.prefixCell(prefixQueries, p.src, 32, 64, p.service).take(svc.Strangers.Queries, e.Now, 1, 0) && e.refuse(p, QueryRate, svc.Enforce) {
		return drop(QueryRate), true
	}
	switch {
	case said.Word == Reply:
		return e.answered(p, said), true
	case said.Word == Ask:
		return e.asked(p, said), true
	case said.Payload != nil && !p.changed(said.Payload):
		return Outcome{Verdict: Abort, Reason: Internal}, true
	}
	return Outcome{}, false
}

// ask is the gate's own word. Where the service only watches, over TCP, and within a session (on), the edge answers nobody and changes
// nothing.
func (e *Edge) ask(p *view, svc *service, on bool) Said {
	at := p.l4 + 8
	if p.proto == tcp {
		at = p.l4 + int(p.frame[p.l4+12]>>4)*4
	}
	end := min(p.l3+p.length, len(p.frame))
	g := &First{
		Now: e.Now, Service: p.service, Proto: p.proto, From: p.from(), To: p.to(), Payload: p.frame[min(at, end):end],
		State: e.states[p.service], Watch: on || !e.config.Enforce || !svc.Enforce || svc.WatchGate || !p.plain(),
		Cookies: !on && (e.states[p.service] == Attack || e.doubting(p.service) || !e.comers(p.service, 0).has(svc.Strangers.Sessions, e.Now)),
		Params:  svc.Params, Secret: e.Cookies,
	}
	if !on {
		g.Answers, g.Cached = e.cacheOf(p, svc)
	}
	said := svc.gate(g)
	if g.Watch || p.proto == tcp {
		said.Word, said.Payload = min(said.Word, Query), nil
	}
	return said
}

// inGrace: sessions that are older than the edge are taken up in the middle, where that is possible, for a while.
func (e *Edge) inGrace(p *view, svc *service) bool {
	return svc.Mode != NAT && int64(e.grace[p.service]-e.Now) > 0
}

// AskKey is a query that the daemon is to answer.
type AskKey struct {
	Service  int
	Kind     int
	From, To string
}

func (e *Edge) asked(p *view, said Said) Outcome {
	if said.Proof != Strong {
		return drop(GateRefused)
	}
	e.tried(p.service).Asked++
	e.asks = append(e.asks, AskKey{p.service, said.Kind, p.from().String(), p.to().String()})
	return drop(AnswerQueued)
}

// tooMany: who is not strongly proven is held to a rate of packets.
func (e *Edge) tooMany(p *view, svc *service) bool {
	most := svc.Strangers.Packets
	return p.proof != Strong && most > 0 && e.sketched(p, most) && e.refuse(p, StrangerRate, svc.Enforce)
}

// newcomer: may one more stranger come in? Who is proven may. The others up to a rate; beyond it, and always under attack, those
// alone who have played before or who come again, within budgets.
func (e *Edge) newcomer(p *view, svc *service) (slot int, b begun, r Reason) {
	if p.proof == Strong {
		b, r = e.mayBegin(p, svc, true, false)
		return 0, b, r
	}
	if (svc.gate == nil || p.proto == tcp) && e.tooMany(p, svc) { // of the others it was asked behind their gate
		return 0, b, StrangerRate
	}
	if r := e.mayComeIn(p, svc); r != None {
		return 0, b, r
	}
	if b, r = e.mayBegin(p, svc, e.regulars[regularOf(p.src, p.service)], false); r != None {
		return 0, b, r
	}
	if slot, r = e.room(p); r != None {
		b.undo()
	}
	return slot, b, r
}

func (e *Edge) mayComeIn(p *view, svc *service) Reason {
	n, q := e.tried(p.service), &svc.Strangers
	if e.regulars[regularOf(p.src, p.service)] {
		return None
	}
	if e.doubted(p.src, p.service) && e.refuse(p, Doubted, svc.Enforce) {
		return Doubted
	}
	if e.states[p.service] != Attack && e.comers(p.service, 0).take(q.Sessions, e.Now, 1, 0) {
		return None
	}
	if !e.seenAgain(p) {
		n.Greylisted++
		return refusal(Greylisted, e.refuse(p, Greylisted, svc.Enforce))
	}
	n.Returned++
	p.again = true
	prefix := e.prefixCell(prefixAdmissions, p.src, 16, 32, p.service)
	if prefix.take(q.AdmissionsPrefix, e.Now, 1, 0) {
		if e.comers(p.service, 1).take(q.Admissions, e.Now, 1, 0) {
			return None
		}
		prefix.give(q.AdmissionsPrefix, 1)
	}
	return refusal(StrangersFull, e.refuse(p, StrangersFull, svc.Enforce))
}

// comers are a service's two buckets: of those who come for the first time, and of those who come again.
func (e *Edge) comers(service, which int) *bucket {
	if e.came[service] == nil {
		e.came[service] = &[2]bucket{}
	}
	return &e.came[service][which]
}

// cameIn notes that a session has begun.
func (e *Edge) cameIn(p *view, s *Session, slot int, welcome bool) {
	n := e.tried(p.service)
	n.Admitted++
	if p.proof == Strong {
		n.Strong++
		e.proved(p.src, p.service)
	} else if g := e.ring(p); !welcome && len(g.slots) > 0 {
		g.slots[slot] = s
	}
}

// SPDX-License-Identifier: Apache-2.0

package model

// recheckAfter is for how many ticks a check is believed while the policy epoch stands: 2 s.
const recheckAfter = 2 * ticksPerSecond

// due tells whether a half is to be checked before its next packet passes.
func (e *Edge) due(h *half) bool {
	return h.stale || h.epoch != e.epoch || e.tick()-h.checked > recheckAfter
}

// forward is what becomes of a packet of a session.
func (e *Edge) forward(p *view, w way) (o Outcome) {
	s, h := w.Session, w.half()
	p.service, p.down, p.client = s.Service, w.isDown, s.Client.Addr()
	p.player = p.player || !w.isDown && (s.Proof == Strong || s.vouched || s.lasting)
	playing := s.Proof != Unknown
	defer func() {
		if playing {
			e.countLoss(p, o, 1)
		}
		if o.Reason == None {
			o.Reason = p.refused
		}
	}()
	if s.Local && p.down { // this host's server answers from within
		return drop(BadAddress)
	}
	special := e.special(p, w)
	if special {
		r, over := e.before(p, w)
		if over {
			playing = false
			return e.stranger(p)
		}
		if r != None {
			return drop(r)
		}
	}
	r := e.mayPass(p, w)
	if p.told != nil {
		return *p.told
	}
	switch r {
	case None:
	case Internal:
		return Outcome{Verdict: Abort, Reason: r}
	default:
		return drop(r)
	}
	e.note(p, w)
	if s.Local {
		if p.part == first {
			e.rememberPart(p, w)
		}
		h.count(e, p, 1)
		return Outcome{Verdict: Pass, Out: p.frame}
	}
	hop, grows := e.usable(p, &h.hop), 0
	if special {
		grows = p.growth(w)
	}
	switch {
	case hop == nil:
		return drop(NoNeighbor)
	case p.length+grows > hop.MTU:
		return e.tooBig(p, w, hop.MTU-grows)
	}
	q := p
	if special {
		var o Outcome
		if q, o = e.change(p, w); q == nil {
			return o
		}
	}
	if p.ttl() <= 1 {
		return drop(TTL)
	}
	ip := q.rewrite(w.from(), w.to())
	if p.part == first {
		e.rememberPart(p, w).writeID(p, ip)
	}
	h.count(e, p, 1)
	return e.leave(q, hop, ip)
}

// mayPass judges the session's client if that is due, holds an unproven session to what it may, and what the client sends to size
// and limits. What a server sends is not its client's to answer for.
func (e *Edge) mayPass(p *view, w way) Reason {
	h, svc := w.half(), e.services[w.Service]
	if e.due(h) {
		if r := e.recheck(p, w); r != None {
			return r
		}
		if !w.Local {
			if hop := e.way(p); hop != nil {
				h.hop = hop
			}
		}
	}
	p.unlimited = h.unlimited
	if r := e.sessionRuled(p, w, svc); r != None {
		return r
	}
	if w.Proof == Unknown || w.weak {
		if !p.down && w.unheard && !p.heard && p.says() && !e.hear(p, w.Session, svc) {
			return Internal
		}
		if !p.down && w.query && !p.heard && e.askedMore(p, w.Session, svc) {
			return None
		}
		if r := e.speaksOn(p, w.Session, svc); r != None {
			return r
		}
	}
	if r := e.proves(p, w); r != None {
		return r
	}
	if p.down {
		return None
	}
	if p.length > svc.MaxPacket && e.refuse(p, PacketSize, svc.Enforce) {
		return PacketSize
	}
	if e.anyLimit && !p.unlimited {
		if r := e.spend(p, w.Session, svc); r != None {
			return r
		}
	}
	return e.drawUnproven(p, w.Session, svc)
}

// recheck judges a session's client anew. Where policy only watches and would refuse it, the check does not count as made:
// the next packet is judged, and counted, too.
func (e *Edge) recheck(p *view, w way) Reason {
	h := w.half()
	j := e.judge(p, w.Client.Addr(), e.services[w.Service])
	if j.reason != None {
		return j.reason
	}
	if e.doubtedSession(w, j) {
		j.refused = true
		if e.refuse(p, Doubted, e.services[w.Service].Enforce) {
			return Doubted
		}
	}
	if j.unlimited || e.anyLimit { // a session that began while nothing was limited is from now on, if something is
		h.unlimited = j.unlimited
	}
	if !j.refused {
		h.epoch, h.checked, h.stale = e.epoch, e.tick(), false
	}
	if !w.isDown {
		w.unheard = w.unheard && !j.welcome
		w.ruled = !j.welcome && e.about(w.Service, w.Proof != Unknown)
		e.lasting(w.Session)
	}
	return None
}

// note follows a TCP session's end, by direction; a SYN takes that back.
func (e *Edge) note(p *view, w way) {
	if p.proto != tcp {
		return
	}
	h := w.half()
	switch {
	case p.flags&syn != 0:
		h.fin, h.rst = false, false
	case p.flags&rst != 0:
		h.rst = true
	case p.flags&fin != 0:
		h.fin = true
	}
}

// count counts what passed.
func (h *half) count(e *Edge, p *view, packets uint64) {
	h.add(packets, uint64(p.length))
	h.seen = e.tick()
}

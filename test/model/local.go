// SPDX-License-Identifier: Apache-2.0

package model

// Send says what becomes of a frame that this host itself sends: the answers of a server that runs here are judged by their
// client and counted, and its first word begins a session. Nothing else is the edge's business. The NIC is yet to cut the
// frame into that many segments, each with headers of its own.
func (e *Edge) Send(frame []byte, segments int) Outcome {
	p, damage := parse(frame)
	e.inHand, p.down, p.client = p, true, p.dst
	if damage == None && p.part == later && (p.proto == udp || p.proto == tcp) {
		if f := e.parts[p.partKey()]; f != nil && f.refused && e.tick() < f.expires {
			p.service = f.service
			return e.sent(p, drop(FragmentOrphan), 1)
		}
		return Outcome{}
	}
	if damage != None || !p.hasPorts() {
		return Outcome{}
	}
	if segments > 1 {
		header := p.l4 - p.l3 + 8
		if p.proto == tcp {
			header = p.l4 - p.l3 + int(frame[p.l4+12]>>4)*4
		}
		p.length += (segments - 1) * header
	}
	packets := uint64(max(segments, 1))
	w := e.table[p.tuple()]
	if !w.carries() {
		o, begun := e.sayFirst(p)
		switch {
		case o.Verdict == Drop:
			return e.sent(p, o, packets)
		case !begun:
			return Outcome{}
		}
		if w = e.table[p.tuple()]; !w.carries() {
			return e.sent(p, drop(Race), packets)
		}
	}
	if !w.Local {
		return Outcome{}
	}
	playing := w.Proof != Unknown
	o := e.answer(p, w, packets)
	if playing {
		e.countLoss(p, o, packets)
	}
	return e.sent(p, o, packets)
}

func (e *Edge) sent(p *view, o Outcome, packets uint64) Outcome {
	if k := p.partKey(); p.part == first && o.Verdict == Drop { // its other parts are not to leave, either
		e.parts[k] = &partWay{refused: true, service: p.service, expires: e.tick() + partsLive}
	} else if f := e.parts[k]; p.part == first && f != nil && f.refused {
		delete(e.parts, k)
	}
	o.Service, o.Shadow = p.service, p.shadow
	e.count(p, o, packets)
	e.book(p, o)
	return o
}

func (e *Edge) answer(p *view, w way, packets uint64) Outcome {
	h := w.half()
	p.service = w.Service
	if e.due(h) {
		if r := e.recheck(p, w); r != None {
			return drop(r)
		}
	}
	if r := e.proves(p, w); r != None {
		return drop(r)
	}
	e.note(p, w)
	h.count(e, p, packets)
	return Outcome{Verdict: Pass}
}

// sayFirst is the server's first word to somebody. Not begun and no verdict: it is no local service's.
func (e *Edge) sayFirst(p *view) (o Outcome, begun bool) {
	f, ok := e.front(p.from(), p.proto)
	if !ok {
		return Outcome{}, false
	}
	svc := e.services[f.service]
	if svc.Mode != Local || !begins(p, svc) {
		return Outcome{}, false
	}
	p.service = f.service
	j := e.judge(p, p.dst, svc)
	if j.reason != None {
		return drop(j.reason), false
	}
	if w := e.table[p.tuple()]; w.Session != nil && w.isDown {
		if r := e.takeUp(w.Session); r != None {
			return drop(r), false
		}
		return Outcome{}, true
	}
	a, r := e.attempt(p, p.dst, svc, true)
	if r != None {
		return drop(r), false
	}
	s := &Session{Service: f.service, Proto: p.proto, Client: p.to(), Front: p.from(), Face: p.to(), Server: p.from(),
		Local: true, ServerStarted: true, prefix: svc.prefix(p.dst), ruled: !j.welcome && e.about(p.service, false)}
	s.up.unlimited = j.unlimited
	switch r = e.begin(p, s, j); r {
	case None:
		return Outcome{}, true
	case Race: // another packet was first with it: that one's session serves
		a.undo()
		return Outcome{}, true
	}
	a.undo()
	return drop(r), false
}

// SPDX-License-Identifier: Apache-2.0

package detect

// seen is an observation on its way through: what was found out about it once.
type seen struct {
	o   *Observation
	at  int64
	s   source
	svc *service
	h   *history
}

// find is what is known of a source, nil = nothing.
func (d *Detector) find(s source) *history {
	if h := d.known.get(s); h != nil {
		return h
	}
	return d.young.get(s)
}

// stranger is the history of a source that has proven nothing, made if need be: a flood of them turns over each other's place alone.
func (d *Detector) stranger(s source) *history {
	if d.known.get(s) != nil {
		return d.known.take(s)
	}
	return d.young.take(s)
}

// comer is the history of a source that has proven its address.
func (d *Detector) comer(s source) *history {
	old := d.young.get(s)
	if old == nil {
		return d.known.take(s)
	}
	moved := *old
	d.young.remove(s)
	h := d.known.take(s)
	*h = moved
	return h
}

// attempt takes in a connection.
func (d *Detector) attempt(e *seen) {
	o := e.o
	if o.Kind == Refused {
		if f := d.blocked(e.s, e.at); f != nil {
			f.refused += min(uint32(o.weight()), ^f.refused) // a source that is flagged: it is refused already
			return
		}
		if d.blameless[o.Reason] || o.Reason == "denied" || o.Reason == "doubted" {
			return
		}
	}
	strong := o.Proof == Strong
	if strong {
		e.h = d.comer(e.s)
	} else {
		e.h = d.stranger(e.s)
	}
	h := e.h
	h.turnOver(e.at)
	c, fresh := h.begin(e.at, o.Service, o.Client, d.game(o.Game))
	if fresh {
		d.count(e)
	}
	c.state &^= refused | crowded
	if o.Kind == Refused {
		c.state |= d.blame(o.Reason)
	}
	if strong && c.state&proven == 0 {
		d.prove(e, c)
	} else if !fresh {
		return
	}
	if strong && c.state&refused != 0 {
		d.cameToNothing(e, c)
	}
	d.weigh(e)
}

// count enters a new connection.
func (d *Detector) count(e *seen) {
	h := e.h
	h.counts.turn(e.at, d.slot)
	n := &h.counts.all[h.counts.slot%slots]
	*n += min(uint32(e.o.weight()), ^*n)
	h.all.add(e.at, int64(d.p.Risk.Round))
	if e.o.weight() > 1 {
		h.weighed = e.at
		h.all.unsure(e.at)
	}
}

// blame tells a refusal for what the client did from one by a limit.
func (d *Detector) blame(reason string) uint16 {
	if d.crowding[reason] {
		return crowded | late
	}
	return refused
}

// prove enters that a connection proved its address.
func (d *Detector) prove(e *seen, c *conn) {
	h := e.h
	c.state |= proven
	h.strong = e.at
	h.counts.turn(e.at, d.slot)
	h.counts.proven[h.counts.slot%slots]++
	h.proven.add(c.at, int64(d.p.Risk.Round))
	to := mix(d.seed, uint64(e.o.Service)<<16|uint64(e.o.Port))
	h.dests[0].add(to)
	n := d.neighbours(e)
	n.active.add(d.bit(e.s))
}

// proof takes in that the client of a session proved its address.
func (d *Detector) proof(e *seen) {
	if e.o.Kind == Proven && e.o.Proof != Strong {
		return
	}
	e.h = d.comer(e.s)
	e.h.turnOver(e.at)
	c := e.h.unproven(e.o.Service, e.o.Client)
	if c == nil { // so many unproven ones came since that it has no place any more
		c, _ = e.h.begin(e.at, e.o.Service, e.o.Client, d.game(e.o.Game))
	}
	if c.state&proven != 0 {
		e.h.strong = e.at
		return
	}
	d.prove(e, c)
	d.weigh(e)
}

// lasts takes in that a session has lasted: somebody plays.
func (d *Detector) lasts(e *seen) {
	e.h = d.comer(e.s)
	h := e.h
	h.turnOver(e.at)
	if c := h.open(e.o.Service, e.o.Client); c != nil {
		c.state |= played
	}
	inc(&h.good[0])
	h.lasting = min(h.lasting+1, mostLast)
	h.peak[0] = max(h.peak[0], h.lasting)
	d.plays(e)
	e.svc.faring(e.at).well.add(mix(d.seed, uint64(e.s)))
}

// plays remembers a player.
func (d *Detector) plays(e *seen) {
	e.h.player = e.at
	if e.o.Kind != Attempt && e.o.Kind != Refused {
		e.svc.played = e.at
	}
	n := d.neighbours(e)
	n.players[0].add(d.bit(e.s))
	n.nothing[0].del(d.bit(e.s))
	n.nothing[1].del(d.bit(e.s))
}

// ends takes in that a session ended.
func (d *Detector) ends(e *seen) {
	o := e.o
	if e.h = d.find(e.s); e.h == nil {
		if o.Proof != Strong && !o.Lasted {
			return
		}
		e.h = d.comer(e.s)
	}
	h := e.h
	h.turnOver(e.at)
	c := h.open(o.Service, o.Client)
	if c == nil { // one that the ring has no place for any more
		c = &conn{at: e.at - int64(o.Lived), service: o.Service}
		if o.Proof == Strong {
			c.state = proven
		}
	}
	c.state |= ended
	if o.EndedBy == ByClient {
		c.state |= byHand
	}
	if o.Lasted {
		c.state |= played
		if h.lasting > 0 {
			h.lasting--
		} else { // nobody said when it came to last
			inc(&h.good[0])
		}
		d.plays(e)
		d.metronome(e)
		return
	}
	d.fate(e, c)
}

// fate judges a session that ended and never lasted. What a server or the edge ended says nothing of its client.
func (d *Detector) fate(e *seen, c *conn) {
	left := e.o.EndedBy == ByClient || e.o.EndedBy == ByIdle
	short := e.o.Lived < d.p.Churn.Short
	held := e.o.Lived >= 3*d.p.Churn.Short // stayed, and never played
	if c.state&(played|nothing|idled) != 0 || !left || !short && !held {
		return
	}
	if c.state&proven == 0 {
		if e.o.Proof == Weak {
			c.state |= idled
			inc(&e.h.idle[0])
			d.doubt(e)
		}
		return
	}
	if e.o.Mute && e.o.Lived >= d.p.Churn.Short/5 && e.svc.silent(e.at) {
		return
	}
	if e.h.playing(e.at) {
		e.svc.faring(e.at).ill.add(mix(d.seed, uint64(e.s)))
	}
	d.cameToNothing(e, c)
	d.judge(e)
}

// cameToNothing enters a connection that proved its address and was for nothing.
func (d *Detector) cameToNothing(e *seen, c *conn) {
	if c.state&nothing != 0 {
		return
	}
	c.state |= nothing
	inc(&e.h.bad[0])
	n := d.neighbours(e)
	if _, good := e.h.fates(); good == 0 && !e.h.playing(e.at) {
		n.nothing[0].add(d.bit(e.s))
		n.dests.add(mix(d.seed, uint64(e.o.Service)<<16|uint64(e.o.Port)))
	}
}

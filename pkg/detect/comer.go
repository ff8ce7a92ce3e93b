// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"slices"
	"time"
)

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
		if d.blameless[o.Reason] || o.Reason == "denied" {
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
func (d *Detector) blame(reason string) uint8 {
	if d.crowding[reason] {
		return crowded
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
	if c.state&proven == 0 || c.state&(played|nothing) != 0 || !left || !short && !held {
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

// patience is by how much more is allowed while a service's own players fare as badly: then it is the service.
func (d *Detector) patience(e *seen) int {
	if e.svc.ails(e.at) {
		return 4
	}
	return 1
}

// weigh judges a source after a connection of its was seen or proven.
func (d *Detector) weigh(e *seen) {
	h, p := e.h, &d.p.Risk
	if int(h.made) <= min(p.Connections, p.GameConnections, p.Robotic) && h.weighed == 0 {
		return
	}
	if r := d.score(h, e.at, true); r.risk > p.Above {
		d.blockSource(e, Risk, r.risk, d.facts(&r))
		return
	}
	if d.unknown(h, e.at) {
		if r := d.score(h, e.at, false); r.risk > p.Above {
			d.question(d.suspects.take(e.s), e.at, Decision{Prefix: e.s.prefix(), Reason: Risk, Confidence: r.risk / 2, Facts: d.facts(&r)})
			return
		}
	}
	d.judge(e)
}

// unknown tells whether nobody is known at an address who would suffer from what others send in its name.
func (d *Detector) unknown(h *history, at int64) bool {
	return !h.playing(at) && (h.strong == 0 || at-h.strong > int64(10*time.Minute))
}

// judge looks for what goes beyond the score.
func (d *Detector) judge(e *seen) {
	h := e.h
	bad, good := h.fates()
	if h.strong == 0 || bad == 0 {
		return
	}
	if !d.flood(e, bad, good) && !d.churn(e, bad, good) && !d.metronome(e) && !d.sweep(e, bad, good) {
		d.judgeNet(e, bad, good)
	}
}

// mostly tells whether of what came of connections at least a share is nothing.
func mostly(bad, rest int, share float64) bool { return float64(bad) >= share*float64(bad+rest) }

func (d *Detector) flood(e *seen, bad, good int) bool {
	p, h := &d.p.Flood, e.h
	if bad < p.Nothing {
		return false
	}
	n, sure := h.within(e.at-int64(d.p.Risk.Window), e.at, d.slot)
	scale := h.scale(d.p.Shared)
	limit := p.Connections * scale * d.patience(e)
	if !d.vouches(sure, scale) {
		n = sure
	}
	if n <= limit || !mostly(bad, good+h.fresh(e.at), p.Share) {
		return false
	}
	return d.blockSource(e, ConnectFlood, 0.95, []Fact{
		fact("connections", float64(n), float64(limit), "%d connections in %g s, more than %d (%d of them proved the address)", n, d.p.Risk.Window.Seconds(), limit, sure),
		fact("nothing", float64(bad), float64(p.Nothing), "%d came to nothing, %d lasted", bad, good),
	})
}

func (d *Detector) churn(e *seen, bad, good int) bool {
	p, h := &d.p.Churn, e.h
	limit := p.Sessions * h.scale(d.p.Shared) * d.patience(e)
	if bad <= limit || !mostly(bad, good+h.fresh(e.at), d.p.Flood.Share) {
		return false
	}
	return d.blockSource(e, Churn, 0.9, []Fact{
		fact("nothing", float64(bad), float64(limit), "%d connections in ten minutes came to nothing, more than %d; %d lasted", bad, limit, good),
	})
}

func (d *Detector) sweep(e *seen, bad, good int) bool {
	p, h := &d.p.Sweep, e.h
	n, limit := h.destinations(), p.Destinations*h.scale(d.p.Shared)*d.patience(e)
	if n <= limit || bad < p.Destinations/2 || !mostly(bad, good+h.fresh(e.at), p.Share) {
		return false
	}
	return d.blockSource(e, Sweep, 0.9, []Fact{
		fact("destinations", float64(n), float64(limit), "connections to about %d of our addresses and ports in ten minutes, more than %d", n, limit),
		fact("nothing", float64(bad), 0, "%d came to nothing, %d lasted", bad, good),
	})
}

// metronome looks for sessions in a row at intervals that no person keeps. Auto-reconnecting clients keep such intervals, too, but
// after a server or the edge ended their session: at least half must be the client's own doing, the rest refused by limits.
func (d *Detector) metronome(e *seen) bool {
	p, h := &d.p.Churn, e.h
	n := p.Regular
	if h.known() > 1 && time.Duration(h.back(0).at-h.back(1).at) < d.p.Risk.Window/time.Duration(d.p.Risk.Connections) {
		n = max(n, d.p.Risk.Connections+2) // so fast that the score is asked first
	}
	if d.patience(e) > 1 || h.scale(d.p.Shared) > 1 {
		n = ringSize - 1
	}
	var times [ringSize]int64
	k, willed := 0, 0
	for i := 0; i < h.known() && k < n; i++ {
		c := h.back(i)
		if k == 0 && c.state&(ended|refused|crowded) == 0 {
			continue // the latest have no fate yet
		}
		own := c.state&proven != 0 && (c.state&(nothing|refused) != 0 || c.state&(played|byHand) == played|byHand)
		if !own && c.state&crowded == 0 {
			break
		}
		if own {
			willed++
		}
		times[k] = c.at
		k++
	}
	if k < n || willed < n/2 {
		return false
	}
	mean, worst := evenness(times[:n])
	if worst > max(p.Slack, time.Duration(float64(mean)*p.Even)) || mean < time.Second {
		return false
	}
	return d.blockSource(e, Metronome, 0.9, []Fact{
		fact("interval_s", mean.Seconds(), 0, "%d sessions in a row that it left by itself, each %.2f s after the other within %d ms", n, mean.Seconds(), worst.Milliseconds()),
	})
}

// evenness is the mean of intervals between times, the latest first, and what differs most from it.
func evenness(times []int64) (mean, worst time.Duration) {
	mean = time.Duration((times[0] - times[len(times)-1]) / int64(len(times)-1))
	for i := range len(times) - 1 {
		worst = max(worst, (time.Duration(times[i]-times[i+1]) - mean).Abs())
	}
	return mean, worst
}

// blockSource decides to block all that a source sends.
func (d *Detector) blockSource(e *seen, why Reason, confidence float64, facts []Fact) bool {
	n := d.neighbours(e)
	players := 0
	if h := e.h; h.playing(e.at) {
		if players = h.people(); players >= d.p.Shared {
			confidence *= 0.75 // one of many there may be meant
		}
	}
	if d.blocked(e.s, e.at) != nil {
		return false
	}
	done := d.punish(d.offences.take(e.s), e.at, Decision{
		Prefix: e.s.prefix(), Reason: why, Confidence: confidence, Players: players, Facts: slices.Clip(facts),
	})
	if done {
		e.h.forgive()
		n.flagged.add(d.bit(e.s))
		d.judgeNet(e, 0, 0)
	}
	return done
}

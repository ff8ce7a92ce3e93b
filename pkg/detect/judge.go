// SPDX-License-Identifier: Apache-2.0

package detect

import "time"

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
	if int(h.made) <= min(p.Connections, p.GameConnections, p.Robotic) && h.weighed == 0 || d.blocked(e.s, e.at) != nil {
		return
	}
	all, _ := h.within(e.at-int64(p.Window), e.at, d.slot)
	worth := all > p.Connections*h.scale(d.p.Shared) || p.GameWeight+p.RobotWeight > p.Above // else the score can't be enough
	if worth {
		if r := d.score(h, e.at, true); r.risk > p.Above {
			d.blockSource(e, Risk, r.risk, d.facts(&r))
			return
		}
	}
	if worth && d.unknown(h, e.at) {
		if r := d.score(h, e.at, false); r.risk > p.Above {
			d.question(d.suspects.take(e.s), e.at, func() Decision {
				return Decision{Prefix: e.s.prefix(), Reason: Risk, Confidence: r.risk / 2, Facts: d.facts(&r)}
			})
			return
		}
	}
	d.judge(e)
	d.doubt(e)
}

// doubt looks for a source whose sessions come to nothing again and again, or by a clock, and prove its address weakly at most: a blind sender
// can have it look so.
func (d *Detector) doubt(e *seen) {
	h, p := e.h, &d.p.Churn
	idle := int(h.idle[0]) + int(h.idle[1])
	if idle < p.Regular || !d.unknown(h, e.at) || d.blocked(e.s, e.at) != nil {
		return
	}
	bad, good := h.fates()
	if limit := p.Sessions * d.patience(e); idle+bad > limit && mostly(idle+bad, good, d.p.Flood.Share) {
		d.question(d.suspects.take(e.s), e.at, func() Decision {
			return Decision{Prefix: e.s.prefix(), Reason: Churn, Confidence: 0.6, Facts: []Fact{
				fact("nothing", float64(idle+bad), float64(limit), "%d connections in ten minutes came to nothing, more than %d; %d lasted", idle+bad, limit, good),
			}}
		})
		return
	}
	if mean, worst, n := d.beat(e, idled); n > 0 {
		d.question(d.suspects.take(e.s), e.at, func() Decision {
			return Decision{Prefix: e.s.prefix(), Reason: Metronome, Confidence: 0.6, Facts: []Fact{beatFact(mean, worst, n)}}
		})
	}
}

// unknown tells whether nobody is known at an address who would suffer from what others send in its name.
func (d *Detector) unknown(h *history, at int64) bool {
	return !h.playing(at) && (h.strong == 0 || at-h.strong > int64(10*time.Minute))
}

// judge looks for what goes beyond the score.
func (d *Detector) judge(e *seen) {
	h := e.h
	bad, good := h.fates()
	if h.strong == 0 || bad == 0 || d.blocked(e.s, e.at) != nil {
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
	mean, worst, n := d.beat(e, 0)
	if n == 0 {
		return false
	}
	return d.blockSource(e, Metronome, 0.9, []Fact{beatFact(mean, worst, n)})
}

func beatFact(mean, worst time.Duration, n int) Fact {
	return fact("interval_s", mean.Seconds(), 0, "%d sessions in a row that it left by itself, each %.2f s after the other within %d ms", n, mean.Seconds(), worst.Milliseconds())
}

// beat is the interval of n sessions in a row; n = 0: they keep none. also: states besides those that are sure that count as its own doing.
// What follows a connection that limits let in late says nothing: its session began later than it did.
func (d *Detector) beat(e *seen, also uint16) (mean, worst time.Duration, of int) {
	p, h := &d.p.Churn, e.h
	n := p.Regular
	if h.known() > 1 && time.Duration(h.back(0).at-h.back(1).at) < d.p.Risk.Window/time.Duration(d.p.Risk.Connections) {
		n = max(n, d.p.Risk.Connections+2) // so fast that the score is asked first
	}
	if d.patience(e) > 1 || h.scale(d.p.Shared) > 1 {
		n = ringSize - 1
	}
	var steps [ringSize]time.Duration
	k, sessions, willed, next := 0, 0, 0, int64(0)
	for i := 0; i < h.known() && k < n-1; i++ {
		c := h.back(i)
		if sessions == 0 && c.state&(ended|refused) == 0 {
			continue // the latest have no fate yet
		}
		own := c.state&proven != 0 && (c.state&(nothing|refused) != 0 || c.state&(played|byHand) == played|byHand) || c.state&also != 0
		if !own && c.state&crowded == 0 {
			break
		}
		if own {
			willed++
		}
		if sessions > 0 && c.state&(late|crowded) != late { // else it stayed on for as long as others do, from when it got in
			steps[k] = time.Duration(next - c.at)
			k++
		}
		sessions, next = sessions+1, c.at
	}
	if k < n-1 || willed < sessions/2 {
		return 0, 0, 0
	}
	mean, worst = evenness(steps[:k])
	if worst > max(p.Slack, time.Duration(float64(mean)*p.Even)) || mean < time.Second {
		return 0, 0, 0
	}
	return mean, worst, sessions
}

// evenness is the mean of intervals, and what differs most from it.
func evenness(steps []time.Duration) (mean, worst time.Duration) {
	for _, s := range steps {
		mean += s
	}
	mean /= time.Duration(len(steps))
	for _, s := range steps {
		worst = max(worst, (s - mean).Abs())
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
	done := d.punish(d.offences.take(e.s), e.at, Decision{
		Prefix: e.s.prefix(), Reason: why, Confidence: confidence, Players: players, Facts: facts,
	})
	if done {
		e.h.forgive()
		n.flagged.add(d.bit(e.s))
		d.judgeNet(e, 0, 0)
	}
	return done
}

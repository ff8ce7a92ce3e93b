// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"math"
	"net/netip"
	"time"
)

// offence is what a source or a prefix was blocked for, wholly.
type offence struct {
	until   int64  // it holds until then
	refused uint32 // attempts while it was blocked
	level   uint8
	reason  Reason
}

const mostLevel = 30

// decay takes offences off for the time without one.
func (f *offence) decay(now int64, forgive time.Duration) {
	if quiet := now - f.until; f.level > 0 && quiet > int64(forgive) {
		off := quiet / int64(forgive)
		f.level -= uint8(min(off, int64(f.level)))
		f.until += off * int64(forgive) // what is forgiven is not forgiven twice; still in the past
	}
}

// term is how long the next block of a level is.
func (b *BlockPolicy) term(level uint8) time.Duration {
	long := float64(b.First) * math.Pow(b.Times, float64(max(level, 1)-1))
	return time.Duration(min(long, float64(b.Longest)))
}

// punish decides to block all that a source or prefix sends, unless that holds already.
func (d *Detector) punish(f *offence, at int64, v Decision) bool {
	if at < f.until {
		return false
	}
	f.decay(at, d.p.Block.Forgive)
	f.level = min(f.level+1, mostLevel)
	v.Scope, v.For, v.Level = Whole, d.p.Block.term(f.level), int(f.level)
	f.until, f.reason, f.refused = at+int64(v.For), v.Reason, 0
	d.tell(&v)
	return true
}

// question decides to block what is unproven of a source or prefix until it proves itself. Forgers can have many such decisions
// made, each about another address: beyond a rate they are only counted.
// what is asked for the decision only if it is made: forgers ask often.
func (d *Detector) question(until *int64, at int64, what func() Decision) {
	if at < *until {
		return
	}
	if !d.questions.take(at, d.p.Block.UnprovenPerSecond) {
		d.counts.Suppressed++
		return
	}
	v := what()
	v.Scope, v.For = Unproven, d.p.Block.Unproven
	*until = at + int64(v.For)
	d.tell(&v)
}

func (d *Detector) tell(v *Decision) {
	v.At = d.clock.last
	d.counts.Decisions++
	if d.h.Block != nil {
		d.h.Block(v)
	}
}

// budget is so many a second, and ten seconds' worth at once.
type budget struct {
	spent float64
	last  int64
}

func (b *budget) take(now int64, perSecond float64) bool {
	b.spent = max(b.spent-perSecond*float64(max(now-b.last, 0))/1e9, 0)
	b.last = max(b.last, now)
	if b.spent+1 > 10*perSecond {
		return false
	}
	b.spent++
	return true
}

// blocked tells what blocks a source now, nil = nothing.
func (d *Detector) blocked(s source, at int64) *offence {
	if f := d.offences.get(s); f != nil && at < f.until {
		return f
	}
	if f := d.netOffences.get(s.network()); f != nil && at < f.until {
		return f
	}
	return nil
}

// Verdict is what is thought of a new connection of a source.
type Verdict struct {
	Refuse     bool
	Reason     Reason  // what it was blocked for
	Confidence float64 // that this is right; the specification's 0.9 for who is blocked already
}

// Judge says whether a source is flagged: blocked by a decision that holds still.
func (d *Detector) Judge(a netip.Addr) Verdict {
	s, ok := sourceOf(a)
	if !ok {
		return Verdict{}
	}
	f := d.blocked(s, d.clock.now)
	if f == nil {
		return Verdict{}
	}
	return Verdict{Refuse: true, Reason: f.reason, Confidence: d.p.Risk.Flagged}
}

// Pardon forgets what a source or a prefix was blocked for, as when a person lifted the block. A prefix is one that Decisions name.
func (d *Detector) Pardon(p netip.Prefix) {
	s, ok := sourceOf(p.Addr())
	switch {
	case !ok:
	case p == s.network().prefix():
		d.netOffences.remove(s.network())
		if n := d.nets.get(s.network()); n != nil {
			*n = neighbourhood{players: n.players, playersTurned: n.playersTurned, turned: n.turned}
		}
	default:
		d.offences.remove(s)
		if h := d.find(s); h != nil {
			h.forgive()
		}
	}
}

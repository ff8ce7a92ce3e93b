// SPDX-License-Identifier: Apache-2.0

package detect

// volume takes in packets that were refused: found are sources that send most of them, and prefixes that spread them thinly. How much
// comes is never evidence against an address, not even within a session that proved it: who knows a player's port can send in it. So
// what is decided is about the unproven alone.
func (d *Detector) volume(e *seen) {
	if d.blocked(e.s, e.at) != nil {
		return
	}
	p, w := &d.p.Heavy, e.o.weight()
	n, s := d.heavy.add(uint64(e.s), w, e.at)
	d.unanswered(e, s)
	if n > p.Packets {
		d.suspect(e, HeavyHitter, fact("packets", float64(n), float64(p.Packets), "at least %d packets refused within ten seconds, more than %d", n, p.Packets))
		d.heavy.forget(s)
	}
	d.thinly(e, w)
}

// unanswered looks for a source that goes on, without a pause, to send what no server answers, while others play at that service. One of
// its packets a second is told of, so how much it sends is not known; a client that gets no answer says so more rarely, and gives up.
func (d *Detector) unanswered(e *seen, s *slotted) {
	p := &d.p.Heavy
	if e.o.Reason != "unproven_rate" {
		return
	}
	if long := s.goesOn(e.at, p.Pause); long >= p.Unanswered && !e.svc.silent(e.at) && d.patience(e) == 1 {
		d.suspect(e, Unanswered, fact("seconds", long.Seconds(), p.Unanswered.Seconds(),
			"for %.0f s it has sent what no server answers, more than %g s, while others play there", long.Seconds(), p.Unanswered.Seconds()))
	}
}

// suspect decides that a source's address is doubted for what was sent in its name, if nobody is known there.
func (d *Detector) suspect(e *seen, why Reason, f Fact) {
	if h := d.find(e.s); h == nil || d.unknown(h, e.at) {
		d.question(d.suspects.take(e.s), e.at, func() Decision {
			return Decision{Prefix: e.s.prefix(), Reason: why, Confidence: 0.6, Facts: []Fact{f}}
		})
	}
}

// thinly looks for a prefix that spreads packets over many destinations.
func (d *Detector) thinly(e *seen, w uint64) {
	p := &d.p.Heavy
	n, s := d.heavyNets.add(uint64(e.s.network()), w, e.at)
	s.sources.add(mix(d.seed, uint64(e.s)))
	s.dests.add(mix(d.seed, uint64(e.o.Service)<<16|uint64(e.o.Port)))
	if n <= p.NetPackets {
		return
	}
	from, to := distinct(s.sources, spread{}), distinct(s.dests, spread{})
	if from <= p.Sources || to <= p.Destinations {
		return
	}
	net := e.s.network()
	d.question(d.suspectNets.take(net), e.at, func() Decision {
		v := Decision{Prefix: net.prefix(), Reason: Carpet, Confidence: 0.7, Facts: []Fact{
			fact("packets", float64(n), float64(p.NetPackets), "at least %d packets refused within ten seconds, more than %d", n, p.NetPackets),
			fact("destinations", float64(to), float64(p.Destinations), "to about %d of our addresses and ports", to),
			fact("sources", float64(from), float64(p.Sources), "from about %d sources of it", from),
		}}
		if n := d.nets.get(net); n != nil {
			v.Players = n.playersOf()
		}
		return v
	})
	d.heavyNets.forget(s)
}

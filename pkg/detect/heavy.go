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
	if n, s := d.heavy.add(uint64(e.s), w, e.at); n > p.Packets {
		if h := d.find(e.s); h == nil || d.unknown(h, e.at) {
			d.question(d.suspects.take(e.s), e.at, func() Decision {
				return Decision{Prefix: e.s.prefix(), Reason: HeavyHitter, Confidence: 0.6, Facts: []Fact{
					fact("packets", float64(n), float64(p.Packets), "at least %d packets refused within ten seconds, more than %d", n, p.Packets),
				}}
			})
		}
		d.heavy.forget(s)
	}
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

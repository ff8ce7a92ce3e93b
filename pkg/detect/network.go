// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"math/bits"
	"time"
)

// marks are sources of one network: each of a /24's, and by hash those of a /48.
type marks [4]uint64

func (m *marks) add(bit uint8) { m[bit>>6] |= 1 << (bit & 63) }
func (m *marks) del(bit uint8) { m[bit>>6] &^= 1 << (bit & 63) }

func count(ms ...*marks) (n int) {
	for i := range 4 {
		var all uint64
		for _, m := range ms {
			all |= m[i]
		}
		n += bits.OnesCount64(all)
	}
	return n
}

// showing is how long a network is looked at before it is blocked: who came to play has come to last by then.
const showing = int64(45 * time.Second)

// neighbourhood is what is known of a /24 or /48, by connections that proved their addresses alone: nobody else can write here.
type neighbourhood struct {
	active, before         marks // sources that connected in this term, and in the last
	nothing                [2]marks
	flagged, flaggedBefore marks
	players                [2]marks
	dests, destsBefore     spread
	turned, playersTurned  int64
	first                  int64 // when somebody came, after nobody did
	hostile                int64 // mostly attacking until then, though others play there
}

func (n *neighbourhood) turnOver(now int64) {
	if gone := now - n.turned; gone >= term {
		if gone >= 2*term || n.active == (marks{}) {
			n.first = now
		}
		if gone >= 2*term {
			n.active, n.nothing[0], n.flagged, n.dests = marks{}, marks{}, marks{}, spread{}
		}
		n.turned = now
		n.before, n.active = n.active, marks{}
		n.nothing = [2]marks{{}, n.nothing[0]}
		n.flaggedBefore, n.flagged = n.flagged, marks{}
		n.destsBefore, n.dests = n.dests, spread{}
	}
	if gone := now - n.playersTurned; gone >= peopleFor {
		if gone >= 2*peopleFor {
			n.players[0] = marks{}
		}
		n.playersTurned = now
		n.players = [2]marks{{}, n.players[0]}
	}
}

// bit is a source's place among its neighbours.
func (d *Detector) bit(s source) uint8 {
	if s.six() {
		return uint8(mix(d.seed, uint64(s)))
	}
	return uint8(s)
}

func (d *Detector) neighbours(e *seen) *neighbourhood {
	n := d.nets.take(e.s.network())
	n.turnOver(e.at)
	return n
}

// playersOf counts who plays or played in a network, but for those who were blocked there.
func (n *neighbourhood) playersOf() int {
	flagged := marks{}
	for i := range flagged {
		flagged[i] = (n.players[0][i] | n.players[1][i]) &^ (n.flagged[i] | n.flaggedBefore[i])
	}
	return count(&flagged)
}

// judgeNet looks at a source's network after one of its sources was blocked, or a connection came to nothing there. One where
// somebody plays is not blocked: then its other sources are, each for itself.
func (d *Detector) judgeNet(e *seen, bad, good int) {
	p, n := &d.p.Prefix, d.neighbours(e)
	if bad >= 2 && good == 0 && !e.h.playing(e.at) && e.at < n.hostile {
		d.blockSource(e, PrefixMember, 0.8, []Fact{
			fact("nothing", float64(bad), 2, "%d connections came to nothing, and so do most of %v", bad, e.s.network().prefix()),
		})
		return
	}
	active := max(count(&n.active, &n.before), 1)
	flagged, idle := count(&n.flagged, &n.flaggedBefore), count(&n.nothing[0], &n.nothing[1])
	attacked := flagged >= p.Blocked && mostly(flagged, active-flagged, p.Share)
	joins := d.patience(e) == 1 && idle >= p.Nothing && mostly(idle, active-idle, p.Share)
	if !attacked && !joins || e.at-n.first < showing {
		return
	}
	if n.playersOf() > 0 {
		n.hostile = e.at + 2*term
		return
	}
	v := Decision{Prefix: e.s.network().prefix(), Reason: PrefixAttack, Confidence: min(float64(flagged)/float64(active), 0.95)}
	if joins && !attacked {
		v.Reason, v.Confidence = PrefixJoins, min(0.9, float64(idle)/float64(active))
		dests := distinct(n.dests, n.destsBefore)
		if dests > p.Carpet {
			v.Reason = Carpet
			v.Facts = append(v.Facts, fact("destinations", float64(dests), float64(p.Carpet), "about %d of our addresses and ports", dests))
		}
		v.Facts = append(v.Facts, fact("nothing", float64(idle), float64(p.Nothing),
			"of %d sources that connected in ten minutes %d did so for nothing, and none plays", active, idle))
	} else {
		v.Facts = append(v.Facts, fact("attackers", float64(flagged), float64(p.Blocked),
			"of %d sources that connected in ten minutes %d were blocked, and none plays", active, flagged))
	}
	if d.punish(d.netOffences.take(e.s.network()), e.at, v) {
		n.nothing, n.dests, n.destsBefore = [2]marks{}, spread{}, spread{}
	}
}

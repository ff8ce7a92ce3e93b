// SPDX-License-Identifier: Apache-2.0

package anticheat

import (
	"math"
	"net/netip"
	"slices"
)

const (
	farmLeast  = 5    // sessions of one network
	farmMost   = 32   // that are compared with each other
	farmAlike  = 0.85 // correlation of bytes a second, in the middle of all pairs
	farmMoving = 0.05 // coefficient of variation of what is compared: less has no ups and downs
)

// network is the part of the internet that a farm sits in: a /24, a /48.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// farms looks for sessions of one network whose ups and downs are the same, second by second. People at one place (a café, a tournament)
// play one game at a time, too, but each moves by himself.
func (c *crowd) farms() {
	nets := map[netip.Prefix][]*session{}
	for s := range c.members {
		r := &s.rhythm
		if !r.ready || r.windows*windowSeconds < seriesSeconds || s.at+2*windowSeconds*1e9 < c.farmAt {
			continue
		}
		if n := network(s.key.Client.Addr()); len(nets[n]) < farmMost {
			nets[n] = append(nets[n], s)
		}
	}
	for n, all := range nets {
		if len(all) >= farmLeast {
			farm(n, all)
		}
	}
}

// farm compares sessions of one network.
func farm(net netip.Prefix, all []*session) {
	// By address and port, so that the same sessions give the same findings.
	slices.SortFunc(all, func(a, b *session) int { return a.key.Client.Compare(b.key.Client) })
	rows := make([][]float64, len(all))
	for i, s := range all {
		rows[i] = s.moves()
	}
	var alike []*session
	middle := 0.0
	for i, s := range all {
		var with []float64
		for k := range all {
			if k != i {
				with = append(with, correlation(rows[i], rows[k]))
			}
		}
		slices.Sort(with)
		// So many others at least move as it does.
		if v := with[max(len(with)-farmLeast+1, 0)]; v >= farmAlike {
			alike, middle = append(alike, s), middle+v
		}
	}
	if len(alike) < farmLeast {
		return
	}
	middle /= float64(len(alike))
	for _, s := range alike {
		s.traces[traceFarm].noteFrom(s.at-min(seriesSeconds*1e9, s.at-s.began), s.at)
		s.traces[traceFarm].last = s.at + farmEvery // until it is looked at again
		s.found(traceFarm, Farm, sevFarm, sure(float64(len(alike)), farmLeast), func() []Fact {
			return []Fact{
				fact("sessions", float64(len(alike)), farmLeast, "%d sessions of %s move as one", len(alike), net),
				fact("correlation", middle, farmAlike, "their bytes a second correlate by %.2f over %d s", middle, seriesSeconds),
			}
		})
	}
}

// moves is a session's bytes a second over the last minute, by time; nil: it hardly moves.
func (s *session) moves() []float64 {
	r := &s.rhythm
	// Sessions begin at any part of a second: what is compared is on one clock, to the second.
	shift := (s.began + 5e8) / 1e9
	row := make([]float64, seriesSeconds)
	sum, squares := 0.0, 0.0
	for i := range uint64(seriesSeconds) {
		v := float64(r.series[(r.seriesAt+i)%seriesSeconds])
		row[(r.seriesAt+i+shift)%seriesSeconds] = v
		sum, squares = sum+v, squares+v*v
	}
	if variation(sum, squares, seriesSeconds) < farmMoving {
		return nil
	}
	return row
}

// correlation is Pearson's; 0 where one hardly moves.
func correlation(a, b []float64) float64 {
	if a == nil || b == nil {
		return 0
	}
	var sa, sb, saa, sbb, sab float64
	for i := range a {
		sa, sb, saa, sbb, sab = sa+a[i], sb+b[i], saa+a[i]*a[i], sbb+b[i]*b[i], sab+a[i]*b[i]
	}
	n := float64(len(a))
	below := math.Sqrt(max(saa-sa*sa/n, 0) * max(sbb-sb*sb/n, 0))
	if below == 0 {
		return 0
	}
	return (sab - sa*sb/n) / below
}

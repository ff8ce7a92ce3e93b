// SPDX-License-Identifier: Apache-2.0

package anticheat

import "time"

const (
	sumsLeast   = 2 * uint64(time.Second)  // between two tellings
	sumsMost    = 60 * uint64(time.Second) // after more nothing is known of what was between
	sumsLooks   = 2                        // in a row that a rate is over the bound
	sumsSilence = 350 * time.Millisecond
)

// sumsState is what was last told of one direction.
type sumsState struct {
	way   Way
	at    uint64
	looks uint32
	fast  uint32 // in a row
}

// Sums takes in what was counted of a session.
func (a *Analyser) Sums(p *Sums) {
	a.counts.Sums++
	s := a.session(p.Session, p.Time)
	a.about(s, &p.About)
	at := s.clock(p.Time)
	if p.Up == nil {
		s.sums = [2]sumsState{}
		return
	}
	x := &s.sums[0]
	was, passed, sound := x.way, at-x.at, x.looks > 0
	if sound && passed < sumsLeast {
		return
	}
	x.way, x.at = *p.Up, at
	if x.looks++; !sound || passed > sumsMost || p.Up.Packets < was.Packets || p.Up.Numbers < was.Numbers {
		x.fast = 0
		return
	}
	if s.whole > 0 { // its packets say more
		return
	}
	came := Way{
		Packets: p.Up.Packets - was.Packets, Numbers: p.Up.Numbers - was.Numbers, Lost: p.Up.Lost - min(was.Lost, p.Up.Lost),
		Repeat: p.Up.Repeat - min(was.Repeat, p.Up.Repeat), RecentGap: p.Up.RecentGap, Numbered: p.Up.Numbered,
	}
	s.sumsRate(x, &came, passed)
	s.sumsRepeat(&came, at-passed, at)
	if p.Down != nil {
		s.sumsSilence(&came, p.Down, passed)
	}
	for i := range s.traces {
		if t := &s.traces[i]; t.f != nil && at > t.last+quiet+passed {
			s.over(t)
		}
	}
}

// sumsRate needs no single packets: a mean over seconds is what it is.
func (s *session) sumsRate(x *sumsState, came *Way, passed uint64) {
	rate, bound := float64(came.Packets)/seconds(passed), s.bounds.rate
	if rate <= bound.Flag {
		x.fast = 0
		return
	}
	x.fast++
	s.traces[traceFast].noteFrom(s.at-passed, s.at)
	if x.fast < sumsLooks {
		return
	}
	severity := sevQuick
	if rate > bound.Act {
		severity = sevFast
	}
	s.found(traceFast, Frequency, severity, sure(rate, bound.Flag), func() []Fact {
		return []Fact{fact("packets_per_second", rate, bound.Flag, "%.0f packets a second over %.0f s, more than %.0f", rate, seconds(passed), bound.Flag)}
	})
}

// sumsRepeat can't tell repeats from replays.
func (s *session) sumsRepeat(came *Way, from, to uint64) {
	if !came.Numbered || came.Repeat < 2*dupLeast || part(came.Repeat, came.Numbers) < dupShare {
		return
	}
	s.traces[traceDup].noteFrom(from, to)
	s.found(traceDup, Duplicate, sevSuspect, sure(float64(came.Repeat), 4*dupLeast), func() []Fact {
		n := 100 * part(came.Repeat, came.Numbers)
		return []Fact{fact("share", n/100, dupShare, "the numbers of %.0f %% of its packets came before", n)}
	})
}

// sumsSilence suspects a lag switch: silences of the client's alone, with as much lost as they are long.
func (s *session) sumsSilence(came *Way, down *Way, passed uint64) {
	rate := float64(came.Packets) / seconds(passed)
	if !came.Numbered || rate < rateLeast || came.RecentGap < sumsSilence || down.RecentGap > came.RecentGap/2 ||
		float64(came.Lost) < max(heldLeast, lostPart*rate*came.RecentGap.Seconds()) {
		return
	}
	if s.at-s.sumLag > eventsSpan {
		s.sumLags = 0
	}
	s.sumLags++
	s.sumLag = s.at
	if s.sumLags < eventsLeast {
		return
	}
	s.sumLags = 0
	s.add(Finding{
		Kind: LagDrop, Start: s.at - passed, End: s.at, At: s.at, Severity: sevSuspect, Confidence: 0.5,
		Facts: []Fact{
			fact("silence_ms", float64(came.RecentGap.Milliseconds()), float64(sumsSilence.Milliseconds()), "silent for %d ms while its server went on", came.RecentGap.Milliseconds()),
			fact("packets", float64(came.Lost), 0, "%d packets never came", came.Lost),
		},
	})
}

// SPDX-License-Identifier: Apache-2.0

package anticheat

import "slices"

const (
	lookBack = 5 // seconds that repetition is summed over

	quiet = 5 * 1000 * ms // after so long without offence a finding is over
	loose = 2 * 1000 * ms // offences that are further apart begin anew
)

// what offences are traced of.
const (
	traceDup = iota
	traceReplay
	traceTamper
	traceClump
	traceFast
	traceFlood
	traceSize
	traceSpeed
	traceRobot
	traceFarm
	traceOdd
	traces
)

// trace is a chain of offences of one kind, and what was found of it.
type trace struct {
	first, last uint64
	n           uint32
	f           *Finding
}

func (t *trace) note(at uint64) { t.noteFrom(at, at) }

// noteFrom takes in an offence that took a while.
func (t *trace) noteFrom(from, to uint64) {
	if t.f == nil && (t.n == 0 || from > t.last+loose) {
		t.first, t.n = from, 0
	}
	t.last = max(t.last, to)
	t.n++
}

// turn goes on to the second in which a packet came, and judges those that are over.
func (a *Analyser) turn(s *session, at uint64) {
	now := (at - s.began) / 1e9
	if now == s.turned {
		return
	}
	if now-s.turned > pauseMost {
		a.finish(s, at)
		s.begin(at)
		return
	}
	for s.turned < now {
		s.turned++
		*s.second() = second{number: s.turned + 1}
		s.types.turn()
		s.usual()
		a.judge(s)
		if s.turned%windowSeconds == 0 {
			a.behaves(s)
		}
	}
}

// usual learns the session's own rates: the middle of its last seconds, which single silences and bursts don't move.
func (s *session) usual() {
	var ups, downs [10]uint32
	n := 0
	for i := range uint32(len(ups)) {
		if x := s.ago(i + 1); x != nil {
			ups[n], downs[n] = x.up, x.down
			n++
		}
	}
	if n < 2 {
		return
	}
	slices.Sort(ups[:n])
	slices.Sort(downs[:n])
	s.lag.rate, s.lag.downRate = float64(ups[n/2]), float64(downs[n/2])
	switch x := s.ago(1); {
	case x != nil && s.floods(x):
	case s.base > 0:
		s.base += (s.lag.rate - s.base) / 64
	case n >= lookBack:
		s.base = s.lag.rate
	}
}

// judge looks at the seconds that are over.
func (a *Analyser) judge(s *session) {
	t, _ := s.total(lookBack)
	if s.tracker.believed {
		s.judgeNumbers(&t)
	}
	s.judgeRate()
	s.judgeClumps()
	s.confirmSingle(s.now())
	for i := range s.traces {
		if x := &s.traces[i]; x.f != nil && s.now() > x.last+quiet {
			s.over(x)
		}
	}
}

// now is the end of the second before the one that is being summed.
func (s *session) now() uint64 { return s.began + s.turned*1e9 }

func part(n, of uint32) float64 { return float64(n) / float64(max(of, 1)) }

// found opens a finding of a trace, or goes on with it.
func (s *session) found(i int, kind Kind, severity, confidence float64, facts func() []Fact) {
	t := &s.traces[i]
	if t.f == nil {
		t.f = s.add(Finding{Kind: kind, Start: t.first, End: t.last, At: s.at, Open: true, Severity: severity, Confidence: confidence, Facts: facts()})
		return
	}
	t.f.End = t.last
	if severity > t.f.Severity || confidence >= t.f.Confidence {
		rises := severity > t.f.Severity
		t.f.Severity, t.f.Confidence, t.f.Facts = max(severity, t.f.Severity), max(confidence, t.f.Confidence), facts()
		if rises {
			s.tell(t.f)
		}
	}
}

// over ends a trace's finding.
func (s *session) over(t *trace) {
	t.f.End, t.f.Open = t.last, false
	s.tell(t.f)
	*t = trace{}
}

// add keeps a finding, tells it, and remembers whose it is.
func (s *session) add(f Finding) *Finding {
	a := s.of
	f.Session, f.About, f.Observe = s.key, s.about, s.bounds.open && f.Kind != Signature
	a.counts.Findings++
	if !f.Observe {
		a.records.note(s, s.at)
	}
	if len(s.findings) < findingsMost {
		s.findings = append(s.findings, &f)
	} else {
		s.unkept++
		a.counts.Unkept++
	}
	s.tell(&f)
	return &f
}

func (s *session) tell(f *Finding) {
	if s.of.h.Found != nil {
		c := *f
		c.Facts = slices.Clone(f.Facts)
		s.of.h.Found(c)
	}
}

// finish ends what is open.
func (a *Analyser) finish(s *session, at uint64) {
	if s.lag.open {
		s.lag.close(s)
	}
	s.confirm(at)
	s.confirmSingle(at)
	for i := range s.traces {
		if t := &s.traces[i]; t.f != nil {
			s.over(t)
		}
		s.traces[i] = trace{}
	}
	for _, f := range s.matched {
		if f.Open {
			f.Open = false
			s.tell(f)
		}
	}
}

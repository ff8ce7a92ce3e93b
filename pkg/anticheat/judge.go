// SPDX-License-Identifier: Apache-2.0

package anticheat

import "slices"

// What makes a finding of the sums of some seconds. Tuned on the development half of generated cheats and captures; each is well above what
// lines do by themselves (a packet in a hundred repeated, one to three places out of order), and well below what a cheat needs.
const (
	lookBack = 5 // seconds that repetition is summed over

	dupLeast, dupShare       = 10, 0.1
	replayLeast, replayShare = 5, 0.02
	tamperLeast, tamperShare = 4, 0.01
	tamperSeconds            = 2   // that have some
	garbageShare             = 0.5 // of numbers that are no client's: what is more is a flood

	fastSeconds  = 3 // in a row; a second of much is what a line held back
	floodSeconds = 2
	floodOver    = 2  // times the rate that is flagged
	floodMore    = 3  // times the session's own, if that is over the rate, too
	floodGarbage = 20 // packets a second that are no client's

	clumpSeconds = 4
	clumpLeast   = 6   // clumps within them
	clumpSilent  = 0.5 // of the time
	clumpHeld    = 0.6 // of the packets

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

func (s *session) judgeNumbers(t *second) {
	if n := part(t.dup, t.numbered); t.dup >= dupLeast && n >= dupShare {
		s.found(traceDup, Duplicate, sevDuplicate, sure(float64(t.dup), dupLeast), func() []Fact {
			return []Fact{
				fact("share", n, dupShare, "%.0f %% of packets came again, with the same number and the same bytes", 100*n),
				fact("packets", float64(s.traces[traceDup].n), dupLeast, "%d packets so far", s.traces[traceDup].n),
			}
		})
	}
	if n := part(t.replay, t.numbered); t.replay >= replayLeast && n >= replayShare {
		s.found(traceReplay, Replay, sevReplay, sure(float64(t.replay), replayLeast), func() []Fact {
			return []Fact{
				fact("share", n, replayShare, "%.0f %% of packets are old ones, byte by byte", 100*n),
				fact("behind", float64(s.oldest), near, "by up to %d packets", s.oldest),
				fact("packets", float64(s.traces[traceReplay].n), replayLeast, "%d packets so far", s.traces[traceReplay].n),
			}
		})
	}
	if n := part(t.tamper, t.numbered); t.tamper >= tamperLeast && n >= tamperShare && s.forges() {
		s.found(traceTamper, Tampered, sevTampered, sure(float64(t.tamper), tamperLeast), func() []Fact {
			return []Fact{
				fact("share", n, tamperShare, "%.0f %% of packets have numbers that the client did not give, and its own go on between them", 100*n),
				fact("packets", float64(s.traces[traceTamper].n), tamperLeast, "%d packets so far", s.traces[traceTamper].n),
			}
		})
	}
}

// forges tells forged numbers from a flood's, of which most are no client's, and from a flood's first second.
func (s *session) forges() bool {
	n := 0
	for i := range uint32(lookBack) {
		x := s.ago(i + 1)
		if x == nil || x.tamper == 0 {
			continue
		}
		if n++; s.floods(x) || part(x.tamper, x.numbered) > garbageShare {
			return false
		}
	}
	return n >= tamperSeconds
}

// judgeRate holds packets a second against the game's bound, and what is no packet of the client's against a flood.
func (s *session) judgeRate() {
	rate := s.bounds.rate
	x := s.ago(1)
	if x == nil {
		return
	}
	begin, end := s.now()-1e9, s.now()
	if float64(x.up) > rate.Flag {
		s.traces[traceFast].noteFrom(begin, end)
	}
	if s.floods(x) {
		s.traces[traceFlood].noteFrom(begin, end)
	}
	least, flood := x.up, 0
	for i := range uint32(fastSeconds) {
		x := s.ago(i + 1)
		if x == nil {
			least = 0
			break
		}
		least = min(least, x.up)
		if i < floodSeconds && s.floods(x) {
			flood++
		}
	}
	if flood == floodSeconds {
		t, _ := s.total(floodSeconds)
		strange := part(t.tamper, t.numbered)
		s.found(traceFlood, Flood, sevFlood, sure(float64(t.up)/floodSeconds, floodOver*rate.Flag), func() []Fact {
			return []Fact{
				fact("packets_per_second", float64(t.up)/floodSeconds, rate.Flag, "%.0f packets a second, %.0f before; a client of its game sends %.0f at most", float64(t.up)/floodSeconds, s.base, rate.Flag),
				fact("garbage", strange, garbageShare, "%.0f %% of those with numbers are no packets of this session", 100*strange),
			}
		})
	}
	if float64(least) > rate.Flag {
		severity := sevQuick
		if float64(least) > rate.Act {
			severity = sevFast
		}
		s.found(traceFast, Frequency, severity, sure(float64(least), rate.Flag), func() []Fact {
			return []Fact{fact("packets_per_second", float64(least), rate.Flag, "%d packets a second or more for %d seconds, more than %.0f", least, fastSeconds, rate.Flag)}
		})
	}
}

// floods tells whether a second is of a flood: what comes several times is none.
func (s *session) floods(x *second) bool {
	rate, news := s.bounds.rate.Flag, float64(x.up-min(x.dup, x.up))
	return news > floodOver*rate || s.base > 0 && news > max(rate, floodMore*s.base) ||
		s.tracker.believed && x.tamper >= floodGarbage && float64(x.tamper) > garbageShare*float64(x.numbered)
}

func (s *session) judgeClumps() {
	t, full := s.total(clumpSeconds)
	silent := float64(t.silent) / 1e6 / clumpSeconds
	if !full || t.clumps < clumpLeast || silent < clumpSilent || part(t.held, t.up) < clumpHeld {
		return
	}
	s.found(traceClump, FakeLag, sevFakeLag, sure(float64(t.clumps), clumpLeast), func() []Fact {
		return []Fact{
			fact("clumps_per_second", float64(t.clumps)/clumpSeconds, clumpLeast/clumpSeconds, "%.1f clumps a second, %.0f %% of all packets in them", float64(t.clumps)/clumpSeconds, 100*min(part(t.held, t.up), 1)),
			fact("silent", silent, clumpSilent, "silent for %.0f %% of the time, while its server sent %d packets a second", 100*min(silent, 1), t.down/clumpSeconds),
		}
	})
}

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

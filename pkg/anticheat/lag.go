// SPDX-License-Identifier: Apache-2.0

package anticheat

import "time"

const (
	ms = uint64(time.Millisecond)

	gapLeast   = 80 * ms  // a shorter silence is the rhythm of radio
	gapSwitch  = 350 * ms // what Wi-Fi and phones do is shorter, mostly
	gapMost    = 5000 * ms
	burstTime  = 60 * ms // in which what was held comes: at once, but for the jitter of its line
	afterTime  = 100 * ms
	rateLeast  = 8   // packets a second: less is no rhythm in which a silence shows
	downsLeast = 4   // packets a second of the server's
	heldLeast  = 3   // packets that make a clump
	clumpPart  = 0.5 // of what was to come in a silence, that came at its end
	lostPart   = 0.5 // of it, that never came
	otherPart  = 0.5 // of the silence: a longer one of the server's too is the line's
	downPart   = 0.4 // of the server's usual rate, that goes on
)

// lag looks at silences of the client's: was the server silent too? what came at the end?
type lag struct {
	rate, downRate float64 // packets a second, as they are usually
	last, lastDown uint64  // ns of the last packet; 0 = none yet
	bytes          float64 // a packet, on average
	downs          uint32  // since the client's last
	silence        uint64  // the longest of the server's since then

	open bool // a silence is over, and what follows it is being looked at
	gap  gap
}

// gap is a silence of the client's.
type gap struct {
	from, to  uint64
	last      uint64  // of the burst at its end
	expected  float64 // packets that were to come
	downs     uint32
	silence   uint64
	burst     uint32 // packets within burstTime of its end
	after     uint32 // within afterTime
	jump      int32  // numbers that were left out
	streaming bool   // of TCP: packets were joined, so that bytes tell
	bytes     float64
}

// down takes in a packet of the server's.
func (l *lag) down(at uint64) {
	if l.last != 0 {
		l.downs++
		l.silence = max(l.silence, at-max(l.last, l.lastDown))
	}
	l.lastDown = at
}

// up takes in a packet of the client's; jump is how far its number is ahead, 0 where it has none.
func (l *lag) up(s *session, at uint64, length int, jump int32) {
	defer func() { l.last, l.downs, l.silence = at, 0, 0 }()
	l.bytes += (float64(length) - l.bytes) / 64
	if l.last == 0 {
		return
	}
	spacing := at - l.last
	least := gapLeast
	if l.rate > 0 {
		least = max(least, uint64(heldLeast/l.rate*0.9*1e9))
	}
	if l.open && (at-l.gap.to > afterTime || spacing >= least) {
		l.close(s)
	}
	if l.open {
		l.gap.after++
		l.gap.bytes += float64(length)
		if at-l.gap.to <= burstTime {
			l.gap.burst++
			l.gap.last = at
		}
		if jump > 1 {
			l.gap.jump += jump - 1
		}
		return
	}
	if spacing < least || spacing > gapMost || l.rate < rateLeast {
		return
	}
	l.open = true
	l.gap = gap{
		from: l.last, to: at, last: at, expected: l.rate * seconds(spacing), downs: l.downs, silence: max(l.silence, at-max(l.last, l.lastDown)),
		burst: 1, after: 1, jump: max(jump-1, 0), streaming: s.key.Proto == 6, bytes: float64(length),
	}
}

// close judges a silence.
func (l *lag) close(s *session) {
	l.open = false
	g := &l.gap
	spacing := g.to - g.from
	if l.downRate < downsLeast || float64(g.downs) < downPart*l.downRate*seconds(spacing) || float64(g.silence) > otherPart*float64(spacing) {
		return // the server was silent, too, or says too little to tell
	}
	came := float64(g.burst) - l.rate*seconds(g.last-g.to) // beside what comes anyway
	if g.streaming {
		came = g.bytes / max(l.bytes, 1)
	}
	switch {
	case float64(g.jump) >= max(heldLeast, lostPart*g.expected) && float64(g.jump) > came:
		if spacing >= gapSwitch {
			s.switched(LagDrop, &event{from: g.from, to: g.to, expected: g.expected, came: float64(g.jump), downs: g.downs})
		}
	case came >= max(heldLeast, clumpPart*g.expected) && (g.streaming || g.burst >= heldLeast-1):
		s.clumped(g, came)
	}
}

// clumped takes in a silence at whose end all came that was to come in it.
func (s *session) clumped(g *gap, came float64) {
	spacing := g.to - g.from
	x := s.second()
	x.clumps++
	x.held += uint32(came)
	x.silent += uint32(spacing / 1000)
	s.traces[traceClump].noteFrom(g.from, g.to)
	if s.chains(g) {
		s.single.to = 0
	} else {
		s.confirmSingle(g.from)
		if spacing >= gapSwitch {
			s.single = event{from: g.from, to: g.to, expected: g.expected, came: came, downs: g.downs}
		}
	}
	s.clumpFrom, s.clumpTo = g.from, g.to
}

// chainTime is within which a clump follows another where both are links of a chain: a choke, not uses of a switch.
const chainTime = 1000 * ms

// chains tells whether a clump follows one about as long at once.
func (s *session) chains(g *gap) bool {
	before, now := s.clumpTo-s.clumpFrom, g.to-g.from
	return s.clumpTo != 0 && g.from-min(s.clumpTo, g.from) < chainTime && now <= 2*before && before <= 2*now
}

// confirmSingle takes a clump that no other followed at once for a use of a lag switch.
func (s *session) confirmSingle(at uint64) {
	if e := &s.single; e.to != 0 && at >= e.to+chainTime {
		s.switched(LagHold, e)
		e.to = 0
	}
}

const (
	eventsMost  = 8
	eventsLeast = 3 // within eventsSpan: one silence convicts nobody
	eventsOften = 6
	eventsSpan  = 120 * uint64(time.Second)
)

// event is a use of a lag switch.
type event struct {
	from, to uint64 // ns; 0 = none
	expected float64
	came     float64 // of a drop: lost
	downs    uint32
	told     bool
}

// events are the last uses of one kind of lag switch.
type events struct {
	kind Kind
	n    uint32
	ring [eventsMost]event
}

// switched takes in a use of a lag switch, and tells it with those before it, once they are many enough.
func (s *session) switched(kind Kind, v *event) {
	e := &s.drops
	if kind == LagHold {
		e = &s.holds
	}
	e.ring[e.n%eventsMost] = *v
	e.n++
	recent := uint32(0)
	for i := range min(e.n, eventsMost) {
		if s.at-e.ring[(e.n-1-i)%eventsMost].from <= eventsSpan {
			recent++
		}
	}
	if recent < eventsLeast {
		return
	}
	for i := recent; i > 0; i-- {
		if v := &e.ring[(e.n-i)%eventsMost]; !v.told {
			v.told = true
			s.lagFound(kind, v, recent)
		}
	}
}

func (s *session) lagFound(kind Kind, v *event, recent uint32) {
	severity := sevLag
	if recent >= eventsOften {
		severity = sevLagOften
	}
	what := "came at once when it was over"
	if kind == LagDrop {
		what = "never came"
	}
	s.add(Finding{
		Kind: kind, Start: v.from, End: v.to, At: s.at, Severity: severity, Confidence: sure(float64(recent), eventsLeast),
		Facts: []Fact{
			fact("silence_ms", float64((v.to-v.from)/ms), float64(gapSwitch/ms), "silent for %d ms, while its server sent %d packets", (v.to-v.from)/ms, v.downs),
			fact("packets", v.came, clumpPart*v.expected, "%.0f of %.0f packets that were to come %s", v.came, v.expected, what),
			fact("events", float64(recent), eventsLeast, "%d times within two minutes", recent),
		},
	})
}

const (
	clumpSeconds = 4
	clumpLeast   = 6   // clumps within them
	clumpSilent  = 0.5 // of the time
	clumpHeld    = 0.6 // of the packets
)

// judgeClumps looks for a choke: clump after clump.
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

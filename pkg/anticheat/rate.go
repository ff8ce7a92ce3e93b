// SPDX-License-Identifier: Apache-2.0

package anticheat

const (
	fastSeconds  = 3 // in a row; a second of much is what a line held back
	floodSeconds = 2
	floodOver    = 2  // times the rate that is flagged
	floodMore    = 3  // times the session's own, if that is over the rate, too
	floodGarbage = 20 // packets a second that are no client's
)

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
		s.flooded()
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

// flooded tells of a flood.
func (s *session) flooded() {
	rate := s.bounds.rate
	t, _ := s.total(floodSeconds)
	strange := part(t.tamper, t.numbered)
	s.found(traceFlood, Flood, sevFlood, sure(float64(t.up)/floodSeconds, floodOver*rate.Flag), func() []Fact {
		return []Fact{
			fact("packets_per_second", float64(t.up)/floodSeconds, rate.Flag, "%.0f packets a second, %.0f before; a client of its game sends %.0f at most", float64(t.up)/floodSeconds, s.base, rate.Flag),
			fact("garbage", strange, garbageShare, "%.0f %% of those with numbers are no packets of this session", 100*strange),
		}
	})
}

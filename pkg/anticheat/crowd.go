// SPDX-License-Identifier: Apache-2.0

package anticheat

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

const (
	crowdMost   = 4096 // sessions of a game that make what is usual
	crowdLeast  = 8    // beside one's own, for a judgement of pace and regularity
	crowdOdd    = 20   // and of an anomaly
	crowdEvery  = 10 * 1000 * ms
	farmEvery   = 30 * 1000 * ms
	oddWindows  = 3
	oddNear     = 4.0  // spreads of the crowd that a feature may be off and say nothing
	oddFar      = 7.5  // that are as odd as can be
	oddReach    = 8.0  // that the trees look over
	robotVar    = 0.01 // coefficient of variation of spacings, at most
	robotFifth  = 5    // so many times that is what is usual in the crowd
	robotSpan   = 12   // windows in a row: two minutes
	paceOver    = 1.04 // times the crowd's
	paceMost    = 1.5  // beyond it is another setting of the game
	paceSpread  = 0.01 // of the crowd's paces: more, and the game has none
	paceWindows = 3
)

// crowd is a game's own population: what is usual in it, and who is not.
type crowd struct {
	members map[*session]struct{}
	at      uint64 // when what follows was computed
	n       int
	middle  [features]float64
	spread  [features]float64 // median absolute deviation, times 1.4826
	pace    float64
	paces   float64 // spread
	timeVar float64
	forest  *forest
	farmAt  uint64
	scratch []float64
}

func (c *crowd) leave(s *session) { delete(c.members, s) }

// behaves looks at a window of a session beside its game's own population.
func (a *Analyser) behaves(s *session) {
	if !s.window() {
		return
	}
	c := a.crowds[s.bounds.name]
	if c == nil {
		seed := a.p.Seed
		if seed == 0 {
			seed = rand.Uint64()
		}
		c = &crowd{members: map[*session]struct{}{}, forest: newForest(seed)}
		a.crowds[s.bounds.name] = c
	}
	if len(c.members) < crowdMost {
		c.members[s] = struct{}{}
	}
	if c.at == 0 || s.at >= c.at+crowdEvery {
		c.learn(s.at)
	}
	s.judgeOdd(c)
	if c.n > crowdLeast {
		s.judgePace(c)
		s.judgeRobot(c)
	}
	if s.at >= c.farmAt+farmEvery {
		c.farmAt = s.at
		c.farms()
	}
}

// learn computes what is usual.
func (c *crowd) learn(at uint64) {
	c.at, c.n = at, 0
	for s := range c.members {
		if s.rhythm.ready {
			c.n++
		}
	}
	if c.n == 0 {
		return
	}
	// Lines differ by so much at least, and say nothing of who plays.
	least := [features]float64{featRate: 0.1, featSize: 0.1, featSizeVar: 0.1, featTimeVar: 0.5, featQuick: 0.1, featDown: 0.2, featGap: 0.5, featRepeat: 0.05}
	for i := range features {
		c.middle[i], c.spread[i] = c.usual(func(r *rhythm) float64 { return r.feature[i] })
		c.spread[i] = max(c.spread[i], least[i])
	}
	c.pace, c.paces = c.usual(func(r *rhythm) float64 { return r.pace })
	c.timeVar, _ = c.usual(func(r *rhythm) float64 { return r.timeVar })
}

// usual is the median of what sessions show, and their spread.
func (c *crowd) usual(of func(*rhythm) float64) (middle, spread float64) {
	all := c.scratch[:0]
	for s := range c.members {
		if s.rhythm.ready {
			all = append(all, of(&s.rhythm))
		}
	}
	slices.Sort(all)
	middle = all[len(all)/2]
	for i := range all {
		all[i] = math.Abs(all[i] - middle)
	}
	slices.Sort(all)
	c.scratch = all
	return middle, 1.4826 * all[len(all)/2]
}

// judgeOdd scores a session by half-space trees over features in spreads of the crowd, and by the feature that is furthest off. An anomaly flags, and never acts.
func (s *session) judgeOdd(c *crowd) {
	r := &s.rhythm
	var x [features]float64
	far, which := 0.0, 0
	for i := range x {
		z := (r.feature[i] - c.middle[i]) / c.spread[i]
		if math.Abs(z) > far {
			far, which = math.Abs(z), i
		}
		x[i] = 0.5 + min(max(z, -oddReach), oddReach)/(2*oddReach)
	}
	// Trees see what is rare as a whole, and hardly what is off in one feature of many: that is for the robust half of the score.
	r.score = 1 - (1-c.forest.score(&x))*(1-min(max((far-oddNear)/(oddFar-oddNear), 0), 1))
	if r.score > FlagAbove && c.n > crowdOdd {
		r.odd++
		s.traces[traceOdd].noteFrom(s.at-windowSeconds*1e9, s.at)
	} else {
		r.odd = 0
	}
	if far < oddReach {
		c.forest.update(&x)
	}
	if r.odd >= oddWindows {
		s.found(traceOdd, Anomaly, min(r.score, ActAbove), sure(float64(r.odd), 2*oddWindows), func() []Fact {
			name := [features]string{"rate", "size", "variation of sizes", "variation of spacings", "quick spacings", "server's packets", "longest spacing", "repeats"}[which]
			return []Fact{
				fact("score", r.score, FlagAbove, "an anomaly score of %.2f beside %d sessions of its game", r.score, c.n),
				fact("spreads", far, oddNear, "its %s is %.0f spreads off what is usual", name, far),
			}
		})
	}
}

// paced tells whether a game has one pace. In the families whose clients choose their rate, a pace says nothing of a clock.
func (s *session) paced() bool { return s.bounds.family != "quake3" && s.bounds.family != "source" }

// judgePace holds the session's pace against the crowd's, where a game has one.
func (s *session) judgePace(c *crowd) {
	r := &s.rhythm
	ratio := r.pace / max(c.pace, 1e-9)
	if !s.paced() || c.paces > paceSpread*c.pace || ratio < paceOver || ratio > paceMost || r.steady == 0 && r.fast == 0 {
		r.fast = 0
		return
	}
	r.fast++
	s.traces[traceSpeed].noteFrom(s.at-windowSeconds*1e9, s.at)
	if r.fast < paceWindows {
		return
	}
	s.found(traceSpeed, SpeedUp, sevSpeedUp, sure(float64(r.fast), paceWindows), func() []Fact {
		return []Fact{fact("ratio", ratio, paceOver, "%.1f packets a second for %d s, where %d others of its game send %.1f: its clock is %.0f %% fast",
			r.pace, r.fast*windowSeconds, c.n-1, c.pace, 100*(ratio-1))}
	})
}

// judgeRobot looks for a rhythm that no person and no client of the game keeps.
func (s *session) judgeRobot(c *crowd) {
	r := &s.rhythm
	if r.timeVar > robotVar || c.timeVar < robotFifth*robotVar {
		r.robotic = 0
		return
	}
	r.robotic++
	s.traces[traceRobot].noteFrom(s.at-windowSeconds*1e9, s.at)
	if r.robotic < robotSpan {
		return
	}
	s.found(traceRobot, Robotic, sevRobotic, sure(float64(r.robotic), robotSpan), func() []Fact {
		return []Fact{fact("variation", r.timeVar, robotVar, "spacings differ by %.2f %% for %d s; those of %d others of its game by %.0f %%",
			100*r.timeVar, r.robotic*windowSeconds, c.n-1, 100*c.timeVar)}
	})
}

// lonely says why a session can't be judged by its game's population; "": it can.
func (a *Analyser) lonely(s *session, kind Kind) string {
	need := map[Kind]int{SpeedUp: crowdLeast, Robotic: crowdLeast, Anomaly: crowdOdd, Farm: farmLeast}[kind]
	c := a.crowds[s.bounds.name]
	n := 0
	if c != nil {
		n = c.n - 1
	}
	switch {
	case kind == SpeedUp && !s.paced():
		return "clients of its game choose their rate themselves"
	case n < need:
		return fmt.Sprintf("%d other sessions of its game were seen for %d s: want %d", max(n, 0), windowSeconds, need)
	case kind == SpeedUp && c.paces > paceSpread*c.pace:
		return "its game has no pace of its own"
	case kind == Robotic && c.timeVar < robotFifth*robotVar:
		return "all clients of its game are that regular"
	}
	return ""
}

// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"time"

	"parry/pkg/show"
)

// Level is where a state begins: at a floor, or at a multiple of what the service is used to if that is more.
type Level struct {
	Strangers uint64  // new strangers a second; 0 = never for them
	Refused   uint64  // refused packets a second; 0 = never for them
	Times     float64 // what is usual
}

// Thresholds say when a service is elevated, and when attacked.
type Thresholds struct {
	Elevated, Attack Level
	Hold             time.Duration // how long it must be below Elevated before it goes down a state
}

// A table for strangers that is this full makes an attack of what would be elevated: strangers crowd each other out.
const fullAt = 0.5

// judge says which state a service's rates ask for, and why.
func (t *Thresholds) judge(r *rates, c *Calm, load *Load) (State, string) {
	state, why := Normal, ""
	for _, m := range []struct {
		now, usual       float64
		elevated, attack uint64
		what             string
	}{
		{r.per(r.strangers), c.Strangers, t.Elevated.Strangers, t.Attack.Strangers, "new strangers/s"},
		{r.per(r.refused.Packets), c.Refused, t.Elevated.Refused, t.Attack.Refused, "refused packets/s"},
	} {
		got := Normal
		switch {
		case over(m.now, m.attack, m.usual*t.Attack.Times):
			got = Attack
		case over(m.now, m.elevated, m.usual*t.Elevated.Times):
			got = Elevated
		}
		if got > state {
			state = got
			why = fmt.Sprintf("%s %s, usual %s/s", show.Count(whole(m.now)), m.what, show.Count(whole(m.usual)))
		}
	}
	if state != Elevated {
		return state, why
	}
	if what, fill := load.fullest(); fill >= fullAt {
		return Attack, fmt.Sprintf("%s, and %s %s full", why, what, show.Percent(fill))
	}
	return state, why
}

func over(now float64, floor uint64, many float64) bool {
	return floor > 0 && now >= max(float64(floor), many)
}

// fullest is the fuller of the tables for strangers.
func (l *Load) fullest() (what string, fill float64) {
	for _, m := range []struct {
		what string
		fill float64
	}{
		{"the greylist is", l.Greylist}, {"the sketch of strangers is", l.Sketch},
	} {
		if m.fill > fill {
			what, fill = m.what, m.fill
		}
	}
	return what, fill
}

// below says what a service had to stay under to go down.
func (t *Thresholds) below(c *Calm) string {
	return fmt.Sprintf("for %s below %s new strangers/s", show.Duration(t.Hold),
		show.Count(whole(max(float64(t.Elevated.Strangers), c.Strangers*t.Elevated.Times))))
}

// SPDX-License-Identifier: Apache-2.0

package detect

import "time"

const (
	started = int64(24 * time.Hour) // so that 0 is long ago, and "never"
	reorder = int64(time.Second)    // CPUs' samples overtake each other by less
	leap    = int64(7 * 24 * time.Hour)
)

// clock makes of observations' times one that never goes back: of a jump back only what follows it counts, and a jump ahead is
// at most a week, which is as good as for ever here.
type clock struct {
	last  uint64 // an observation's
	now   int64
	going bool
}

// read is when an observation was made; it may be up to a second before what was read last.
func (c *clock) read(t uint64) (at int64) {
	if !c.going {
		c.last, c.going = t, true
	}
	step := int64(t - c.last) // wraps as it should, whatever t is
	if step < 0 && step >= -reorder {
		return c.now + step
	}
	c.last = t
	if step > 0 {
		c.now += min(step, leap)
	}
	return c.now
}

// SPDX-License-Identifier: Apache-2.0

package detect

// rhythm knows whether all intervals between connections since a time are equal when rounded, in a few words for any number of
// connections: two intervals in a row that differ matter as long as the first of their three connections does.
type rhythm struct {
	last, before int64
	step         int64 // the last interval, in units of rounding
	odd          int64 // the first connection of the latest two intervals that differ; 0 = there are none
}

func (r *rhythm) add(at, round int64) {
	if r.last != 0 {
		step := (at - r.last + round/2) / round
		if r.before != 0 && step != r.step {
			r.odd = r.before
		}
		r.step, r.before = step, r.last
	}
	r.last = at
}

// unsure says that connections may have been missed.
func (r *rhythm) unsure(at int64) { r.odd = at }

// even: all intervals between connections after since are equal.
func (r *rhythm) even(since int64) bool { return r.odd <= since }

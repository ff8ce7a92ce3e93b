// SPDX-License-Identifier: Apache-2.0

package model

import "time"

// Rate is so many units per Window, of which Burst may come at once. 0 units = no limit.
type Rate struct {
	Units  uint64
	Window time.Duration
	Burst  uint64
}

// PerSecond is a rate of units a second.
func PerSecond(units, burst uint64) Rate { return Rate{units, time.Second, burst} }

// cost is the time that one unit takes, in the grain that rates are exact to: 2^-8 ns.
func (r Rate) cost() uint64 {
	return max((uint64(r.Window)<<8+r.Units/2)/r.Units, 1)
}

// bucket is what one source has used of a rate, as the generic cell rate algorithm keeps it: the time, in 2^-8 ns, until
// which it has used up what it was given.
type bucket struct{ used uint64 }

// take takes units, having first given back what was borrowed and not used. False: they are not to be had, and nothing
// changed.
func (b *bucket) take(r Rate, now, units, back uint64) bool {
	if r.Units == 0 {
		return true
	}
	used := int64(b.used - back*r.cost())
	t := int64(now << 8)
	used = max(used, t) + int64(units*r.cost()) // what was not used until now is lost: the bucket is full
	if used-t > int64(max(r.Burst, 1)*r.cost()) {
		return false
	}
	b.used = uint64(used)
	return true
}

// has tells if a unit is to be had, and takes none.
func (b *bucket) has(r Rate, now uint64) bool {
	c := *b
	return c.take(r, now, 1, 0)
}

func (b *bucket) give(r Rate, units uint64) {
	if r.Units != 0 {
		b.used -= units * r.cost()
	}
}

// full tells whether nothing of it is used: it is as if it had never been.
func (b *bucket) full(now uint64) bool { return int64(b.used-now<<8) <= 0 }

// SPDX-License-Identifier: Apache-2.0

package attack

import "time"

// Calm is what a service is used to.
type Calm struct {
	Strangers float64       `json:"strangers"`  // new ones a second
	Refused   float64       `json:"refused"`    // packets a second that tell of an attack
	Learned   time.Duration `json:"learned_ns"` // from how long a time, up to calmMemory
}

// Calm is a mean of all that was seen, and later of about calmMemory. It is learned while a service is normal; elevated teaches
// it much more slowly, so that a service that only got popular is normal again after a while; attack teaches it nothing.
const (
	calmMemory     = 10 * time.Minute
	elevatedSlower = 6
)

// learn takes in what happened between two samples. It believes no more than the floors of attack: an attacker who takes
// his time teaches it that much and not more.
func (c *Calm) learn(r *rates, state State, t *Thresholds) {
	if state == Attack {
		return
	}
	memory := c.Learned
	if state == Elevated {
		memory = elevatedSlower * calmMemory
	}
	share := r.seconds / (memory.Seconds() + r.seconds)
	c.Strangers = towards(c.Strangers, r.per(r.strangers), share, t.Attack.Strangers)
	c.Refused = towards(c.Refused, r.per(r.refused.Packets), share, t.Attack.Refused)
	if state == Normal {
		c.Learned = min(c.Learned+time.Duration(r.seconds*float64(time.Second)), calmMemory)
	}
}

// towards moves a mean by a share of the way, at most to most (0 = anywhere).
func towards(mean, now, share float64, most uint64) float64 {
	mean += (now - mean) * share
	if most > 0 {
		mean = min(mean, float64(most))
	}
	return mean
}

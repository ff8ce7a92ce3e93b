// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"time"
)

// shortest is the least time between two samples that rates are taken over.
const shortest = 50 * time.Millisecond

// Machine is one service's state and what it is used to. It is one goroutine's.
type Machine struct {
	t     Thresholds
	gates bool // it looks at no more than what stricter gates would do something about
	calm  Calm
	state State
	since time.Time // when it came to be in its state
	why   string
	last  *Sample
	loud  time.Time // when it was last at or over the threshold of elevated
}

// Change is a move of a service's state.
type Change struct {
	From, To State
	At       time.Time
	Why      string
}

// NewMachine makes a machine that goes on in the state that it was in before, at that time; a zero Calm learns anew.
func NewMachine(t Thresholds, state State, at time.Time, calm Calm) *Machine {
	m := &Machine{t: t, state: state, since: at, loud: at, calm: calm}
	if state != Normal {
		m.why = "it was so before the daemon started"
	}
	return m
}

// State is the state, since when, and why in words ("" while it never moved).
func (m *Machine) State() (state State, since time.Time, why string) { return m.state, m.since, m.why }

// Calm is what the service is used to.
func (m *Machine) Calm() Calm { return m.calm }

// observed is a sample as a machine took it.
type observed struct {
	rates   rates
	change  *Change // nil: the state stayed
	asks    State   // that the rates ask for
	why     string
	loud    bool // it is at or over the threshold of elevated
	sampled bool // false: there was nothing to compare with, and nothing else counts
}

// observe takes the next sample. A state goes up at once; it goes down by one after it was quiet for as long as hold says. What
// another machine of the service saw in the sample counts, too (nil = there is none).
func (m *Machine) observe(s *Sample, other *observed) observed {
	was := m.last
	if was != nil && s.Time.Sub(was.Time) < shortest {
		return observed{}
	}
	m.last = s
	if was == nil {
		m.loud = s.Time
		return observed{}
	}
	o := observed{rates: between(was, s), sampled: true}
	seen := o.rates
	if m.gates {
		seen = seen.pressing()
	}
	o.asks, o.why = m.t.judge(&seen, &m.calm, &s.Load)
	if other != nil && other.asks > o.asks {
		o.asks, o.why = other.asks, other.why
	}
	if o.loud = o.asks > Normal; o.loud {
		m.loud = s.Time
	}
	switch {
	case o.asks > m.state:
		o.change = m.move(o.asks, s.Time, o.why)
	case m.state > Normal && !o.loud && s.Time.Sub(later(m.loud, m.since)) >= m.t.Hold:
		o.change = m.move(m.state-1, s.Time, m.t.below(&m.calm))
	}
	m.calm.learn(&seen, max(m.state, o.asks), &m.t)
	return o
}

func (m *Machine) move(to State, at time.Time, why string) *Change {
	c := &Change{From: m.state, To: to, At: at, Why: why}
	m.state, m.since, m.why = to, at, why
	return c
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Text says a change in words.
func (c *Change) Text(service string) string {
	if c.To > c.From {
		return fmt.Sprintf("%s: %s: %s", service, c.To, c.Why)
	}
	return fmt.Sprintf("%s: %s again, %s", service, c.To, c.Why)
}

// GatesText says a change of what gates follow in words.
func (c *Change) GatesText() string {
	switch {
	case c.To == Attack:
		return "gates are strict: " + c.Why
	case c.From == Attack:
		return "gates are as usual again, " + c.Why
	}
	return "gates: " + c.To.String() + ", " + c.Why
}

// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Service is what a Tracker is to know of one.
type Service struct {
	Name       string
	Protocols  []string // udp, tcp
	Thresholds Thresholds
	LinkBPS    uint64         // bits a second that its way in carries; 0 = not known
	Prefixes   []netip.Prefix // that its addresses are in: a /24 or /48 each
}

// Tracker follows the states of all services and writes down their attacks. It may be used from several goroutines.
type Tracker struct {
	mu       sync.Mutex // guards all below
	services map[string]*tracked
	book     book
	moves    map[string]map[State]uint64 // by service: how often it came to be in a state

	covers, comers map[netip.Prefix]*cover // the edge's own prefixes; those of sources
	carpetLimits   Thresholds
	linkBPS        uint64
	looked         time.Time // at prefixes of sources
	seconds        float64   // between that look and the one before
}

type tracked struct {
	about   Service
	machine *Machine
	gates   *Machine // of how strict its gates are to be: never worse than the other one
	open    *Record  // its attack that goes on; nil = none
	rates   rates    // of its last sample
	fresh   bool     // they are from after the last look for carpets
}

// Known is what a Tracker may be told of a service when it first hears of it: as it was before the daemon started.
type Known struct {
	Gates State // as the fast path has it
	Calm  Calm
}

// Standing is a service's state now.
type Standing struct {
	State State
	// Gates is the state that its gates are to follow. An attack that is dealt with whatever the state (reflection,
	// fragments, what gates refuse anyhow, sources that send too much) leaves them as they are: newcomers needn't prove more.
	Gates State
	Since time.Time
	Why   string
	Usual Calm
	Moves map[State]uint64 // how often it came to be in a state, since the daemon started
}

// News is what came of a sample: each part is nil where there is none of it.
type News struct {
	Change     *Change
	Gates      *Change // of the state that gates follow
	Start, End *Record
}

// NewTracker makes a tracker with the attacks of before, in any order.
func NewTracker(records []Record) *Tracker {
	t := &Tracker{services: map[string]*tracked{}, moves: map[string]map[State]uint64{}}
	t.book.load(records)
	return t
}

// Configure says which services there are. One that is new begins as known says, or under attack if its attack of before had no
// end: whether that goes on shows. One that is gone is forgotten, and its attack has ended.
//
// whole says what is enough for an attack on several together.
func (t *Tracker) Configure(services []Service, whole Thresholds, known func(name string) Known, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := map[string]*tracked{}
	for _, s := range services {
		if s.Thresholds.Hold <= 0 {
			s.Thresholds.Hold = time.Second
		}
		if old := t.services[s.Name]; old != nil {
			old.about = s
			old.machine.t, old.gates.t = s.Thresholds, s.Thresholds
			kept[s.Name] = old
			continue
		}
		kept[s.Name] = t.take(s, known(s.Name), now)
	}
	t.services = kept
	for name := range t.moves {
		if kept[name] == nil {
			delete(t.moves, name)
		}
	}
	for _, s := range services {
		t.linkBPS = s.LinkBPS
	}
	if whole.Hold <= 0 {
		whole.Hold = time.Second
	}
	t.configureCarpets(whole, now)
	t.book.endOthers(t.goesOn)
}

// goesOn tells whether an attack is still followed.
func (t *Tracker) goesOn(r *Record) bool {
	if s := t.services[r.Service]; s != nil {
		return s.open == r
	}
	for _, m := range []map[netip.Prefix]*cover{t.covers, t.comers} {
		for _, c := range m {
			if c.open == r {
				return true
			}
		}
	}
	return false
}

// take begins to follow a service.
func (t *Tracker) take(s Service, k Known, now time.Time) *tracked {
	n := &tracked{about: s, open: t.book.goesOn(s.Name), gates: NewMachine(s.Thresholds, k.Gates, now, k.Calm)}
	n.gates.gates = true
	state := k.Gates
	if n.open != nil {
		state = Attack
	}
	n.machine = NewMachine(s.Thresholds, state, now, k.Calm)
	if state != Attack {
		return n
	}
	if n.open == nil {
		n.open = t.book.begin(s.Name, now, n.machine)
	}
	n.machine.since, n.machine.why = n.open.Start, n.open.Reason
	n.open.say(now, "the daemon started anew")
	return n
}

// Observe takes a service's next sample; of a service that isn't configured nothing comes.
func (t *Tracker) Observe(name string, s Sample) News {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.services[name]
	if v == nil {
		return News{}
	}
	calm := v.machine.calm
	gates := v.gates.observe(&s, nil)
	o := v.machine.observe(&s, &gates)
	news := News{Change: o.change, Gates: gates.change}
	if o.change != nil {
		if t.moves[name] == nil {
			t.moves[name] = map[State]uint64{}
		}
		t.moves[name][o.change.To]++
	}
	if v.fresh = o.sampled; v.fresh {
		v.rates = o.rates
	}
	began := v.open == nil && v.machine.state == Attack && t.carpeted(name) == nil // what is more of a carpet is that attack's
	if began {
		v.open = t.book.begin(name, s.Time, v.machine)
		v.open.Usual = calm.Strangers
	}
	if v.open == nil {
		return news
	}
	if o.sampled {
		v.open.take(&o, &s, &v.about)
		t.book.touch(v.open)
	}
	if c := news.Gates; c != nil && !began {
		v.open.say(s.Time, c.GatesText())
	}
	if began {
		news.Start = copied(v.open)
	}
	if v.machine.state != Attack {
		end := v.open.Last
		v.open.End = &end
		v.open.say(s.Time, fmt.Sprintf("%s again, %s", v.machine.state, v.machine.why))
		news.End = copied(v.open)
		v.open = nil
	}
	return news
}

func copied(r *Record) *Record {
	c := r.clone()
	return &c
}

// Standing is how a service fares; false where it isn't configured.
func (t *Tracker) Standing(name string) (Standing, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.services[name]
	if v == nil {
		return Standing{}, false
	}
	out := Standing{Usual: v.machine.calm, Gates: v.gates.state, Moves: map[State]uint64{}}
	out.State, out.Since, out.Why = v.machine.State()
	if c := t.carpeted(name); c != nil {
		c.raise(&out)
	}
	for s, n := range t.moves[name] {
		out.Moves[s] = n
	}
	return out, true
}

// Calms is what each service is used to.
func (t *Tracker) Calms() map[string]Calm {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]Calm{}
	for name, v := range t.services {
		all[name] = v.machine.calm
	}
	return all
}

// Records are the attacks, the newest first.
func (t *Tracker) Records() []Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.book.list()
}

// Changed takes what is to be kept: attacks that are new or went on since the last call, and the IDs of those that were
// forgotten. Call Unsaved with both if they could not be kept.
func (t *Tracker) Changed() (records []Record, forgotten []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.book.changed()
}

// Unsaved hands back what Changed gave.
func (t *Tracker) Unsaved(records []Record, forgotten []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book.unsaved(records, forgotten)
}

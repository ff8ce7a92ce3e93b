// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"parry/pkg/show"
)

// A carpet is a load that is spread thinly: over the services of one prefix of the edge's addresses, or over services by the
// sources of one prefix. None of the services is under attack by what it sees, all of them together are. It is one attack.
//
// What is enough for that is what the file says of any service (`attack:`), asked of the sum.

const carpet = "carpet" // the kind

const (
	carpetServices = 3   // so many are to be hit, none with more than half of it
	carpetShare    = 0.5 // of all that a carpet is made of, the most that one service gets
	carpetPart     = 0.1 // a service is hit if it gets this part of what each gets on the average, and twice what is usual
	maxCarpets     = 64  // by the sources of so many prefixes at a time
)

// Source is a prefix of which strangers came, over all services, between two samples.
type Source struct {
	Prefix   netip.Prefix
	Packets  uint64 // so many came since it was last told of
	Services []string
}

// CarpetNews is what came of a look at all services together.
type CarpetNews struct {
	Start, End *Record
	Services   []string // whose states have changed by it
}

// cover is a prefix that may be carpeted: the edge's own, or one of sources.
type cover struct {
	prefix  netip.Prefix
	sources bool // it is the attackers'
	members []string
	machine *Machine
	gates   *Machine
	sum     Sample // of its members, since it is followed
	before  Sample // the same at the last look
	open    *Record
	hit     map[string]bool // its members that are in state attack for it
	told    time.Time       // of sources: when they last sent something
}

func (c *cover) text() string {
	if c.sources {
		return "from " + c.prefix.String()
	}
	return c.prefix.String()
}

// configureCarpets follows which services are in which prefix: those that are alone in theirs can't be carpeted.
func (t *Tracker) configureCarpets(limits Thresholds, now time.Time) {
	members := map[netip.Prefix][]string{}
	for name, s := range t.services {
		for _, p := range s.about.Prefixes {
			members[p] = append(members[p], name)
		}
	}
	kept := map[netip.Prefix]*cover{}
	for p, names := range members {
		if len(names) < carpetServices {
			continue
		}
		c := t.covers[p]
		if c == nil {
			c = newCover(p, false, limits, now)
		}
		slices.Sort(names)
		c.members = names
		c.machine.t, c.gates.t = limits, limits
		kept[p] = c
	}
	t.covers, t.carpetLimits = kept, limits
	if t.comers == nil {
		t.comers = map[netip.Prefix]*cover{}
	}
}

func newCover(p netip.Prefix, sources bool, limits Thresholds, now time.Time) *cover {
	c := &cover{
		prefix: p, sources: sources, machine: NewMachine(limits, Normal, now, Calm{}), gates: NewMachine(limits, Normal, now, Calm{}),
		sum: Sample{Drops: map[string]Count{}, WouldDrop: map[string]Count{}}, hit: map[string]bool{},
	}
	c.gates.gates = true
	return c
}

// Carpets looks at all services together, after each was observed. from are the prefixes that most strangers came of meanwhile.
func (t *Tracker) Carpets(now time.Time, from []Source) []CarpetNews {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []CarpetNews
	for _, p := range slices.SortedFunc(maps.Keys(t.covers), netip.Prefix.Compare) {
		if n := t.look(t.covers[p], now); n != nil {
			all = append(all, *n)
		}
	}
	t.follow(now, from)
	for _, p := range slices.SortedFunc(maps.Keys(t.comers), netip.Prefix.Compare) {
		c := t.comers[p]
		if n := t.look(c, now); n != nil {
			all = append(all, *n)
		}
		if c.machine.state == Normal && now.Sub(c.told) > c.machine.t.Hold {
			delete(t.comers, p)
		}
	}
	for _, v := range t.services {
		v.fresh = false
	}
	return all
}

// follow takes in what came of prefixes of sources. One that is spread over its own longer prefixes is followed as a whole (a /16, a /32).
func (t *Tracker) follow(now time.Time, from []Source) {
	least := float64(t.carpetLimits.Elevated.Strangers) * t.since(now)
	if t.carpetLimits.Elevated.Strangers == 0 {
		return
	}
	t.looked = now
	wide := map[netip.Prefix]*Source{}
	largest := map[netip.Prefix]uint64{}
	var all []Source
	for _, s := range from {
		if float64(s.Packets) >= least || t.comers[s.Prefix] != nil {
			all = append(all, s)
		}
		p := wider(s.Prefix)
		w := wide[p]
		if w == nil {
			w = &Source{Prefix: p}
			wide[p] = w
		}
		w.Packets += s.Packets
		w.Services = append(w.Services, s.Services...)
		largest[p] = max(largest[p], s.Packets)
	}
	for p, w := range wide { // of one that only one of its own prefixes fills, that one tells more
		if float64(w.Packets) >= least && float64(largest[p]) <= carpetShare*float64(w.Packets) || t.comers[p] != nil {
			all = append(all, *w)
		}
	}
	slices.SortFunc(all, func(a, b Source) int { return cmp.Or(cmp.Compare(b.Packets, a.Packets), a.Prefix.Compare(b.Prefix)) })
	for _, s := range all {
		c := t.comers[s.Prefix]
		if c == nil {
			if len(t.comers) == maxCarpets {
				continue
			}
			c = newCover(s.Prefix, true, t.carpetLimits, now)
			c.sum.Time = now.Add(-time.Duration(t.seconds * float64(time.Second)))
			first := c.sum
			c.machine.last = &first
			t.comers[s.Prefix] = c
		}
		for _, name := range s.Services {
			if t.services[name] != nil && !slices.Contains(c.members, name) {
				c.members = append(c.members, name)
			}
		}
		c.sum.Strangers += s.Packets
		c.told = now
	}
}

// since is how many seconds passed since prefixes of sources were last told of.
func (t *Tracker) since(now time.Time) float64 {
	t.seconds = 0.25
	if !t.looked.IsZero() && now.After(t.looked) {
		t.seconds = now.Sub(t.looked).Seconds()
	}
	return t.seconds
}

func wider(p netip.Prefix) netip.Prefix {
	bits := 16
	if p.Addr().Is6() {
		bits = 32
	}
	w, _ := p.Addr().Prefix(bits)
	return w
}

// look takes a cover's next sample. nil: nothing came of it.
func (t *Tracker) look(c *cover, now time.Time) *CarpetNews {
	c.sum.Time = now
	hit, most, total := t.hitOf(c)
	sample := c.sum
	sample.Drops, sample.WouldDrop = maps.Clone(c.sum.Drops), maps.Clone(c.sum.WouldDrop)
	o := c.judge(&sample)
	if !o.sampled {
		return nil
	}
	news := &CarpetNews{}
	spread := len(hit) >= carpetServices && most <= carpetShare*total
	if c.open == nil && c.machine.state == Attack && spread {
		c.open = t.book.beginCarpet(c, now, hit)
		news.Start = c.open
	}
	if c.open == nil {
		return nil
	}
	c.open.take(&o, &sample, &Service{LinkBPS: t.linkBPS})
	if c.machine.state == Attack && spread {
		for _, name := range hit {
			if !c.hit[name] {
				c.hit[name] = true
				news.Services = append(news.Services, name)
			}
		}
		c.open.Services = slices.Sorted(maps.Keys(c.hit))
	}
	t.book.touch(c.open)
	if c.machine.state != Attack {
		end := c.open.Last
		c.open.End = &end
		c.open.say(now, fmt.Sprintf("%s again, %s", c.machine.state, c.machine.why))
		news.End, news.Services = copied(c.open), slices.Sorted(maps.Keys(c.hit))
		c.open, c.hit = nil, map[string]bool{}
	}
	if news.Start != nil {
		news.Start = copied(news.Start)
	}
	if news.Start == nil && news.End == nil && len(news.Services) == 0 {
		return nil
	}
	return news
}

// judge has its machines see a sample. Of a prefix of sources nothing is known but how many came of it: the rest is its members' with
// everybody, and tells no more than what to write down.
func (c *cover) judge(s *Sample) observed {
	was := c.before
	c.before = *s
	if !c.sources {
		gates := c.gates.observe(s, nil)
		return c.machine.observe(s, &gates)
	}
	o := c.machine.observe(&Sample{Time: s.Time, Strangers: s.Strangers}, nil)
	c.gates.state = c.machine.state
	if o.sampled && !was.Time.IsZero() {
		o.rates = between(&was, s)
	}
	return o
}

// hitOf adds what the cover's members saw since the last look to its sum, and finds which of them are hit. Whoever is under an attack of
// its own is no part of it.
func (t *Tracker) hitOf(c *cover) (hit []string, most, total float64) {
	type seen struct {
		name string
		rate float64
	}
	var rates []seen
	for _, name := range c.members {
		v := t.services[name]
		if v == nil || !v.fresh || v.open != nil {
			continue
		}
		r := &v.rates
		c.sum.add(r, !c.sources)
		rate := r.per(r.strangers + r.refused.Packets)
		total += rate
		most = max(most, rate)
		rates = append(rates, seen{name, rate})
	}
	for _, s := range rates {
		calm := &t.services[s.name].machine.calm
		if s.rate > 0 && s.rate >= carpetPart*total/float64(len(rates)) && s.rate > 2*(calm.Strangers+calm.Refused) {
			hit = append(hit, s.name)
		}
	}
	return hit, most, total
}

// add adds what happened at a service; strangers: its strangers, too, which of a prefix of sources are counted by themselves.
func (s *Sample) add(r *rates, strangers bool) {
	if strangers {
		s.Strangers += r.strangers
	}
	s.Admitted += r.admitted
	s.Proven += r.proven
	s.Answered += r.answered
	s.Greylisted += r.greylisted
	s.Returned += r.returned
	for _, m := range []struct{ to, from map[string]Count }{{s.Drops, r.drops}, {s.WouldDrop, r.would}} {
		for name, n := range m.from {
			c := m.to[name]
			m.to[name] = Count{c.Packets + n.Packets, c.Bytes + n.Bytes}
		}
	}
}

// carpeted is the carpet that a service is under, nil = none.
func (t *Tracker) carpeted(name string) *cover {
	for _, m := range []map[netip.Prefix]*cover{t.covers, t.comers} {
		for _, c := range m {
			if c.hit[name] {
				return c
			}
		}
	}
	return nil
}

// raise has a standing show the carpet that the service is under.
func (c *cover) raise(s *Standing) {
	s.State, s.Gates = Attack, max(s.Gates, c.gates.state)
	s.Since, s.Why = c.open.Start, "part of a carpet "+c.text()+": "+c.open.Reason
}

// beginCarpet opens the record of a carpet.
func (b *book) beginCarpet(c *cover, at time.Time, hit []string) *Record {
	name := strings.NewReplacer("/", "_", ":", "-").Replace(c.prefix.String())
	r := b.begin(carpet+"-"+name, at, c.machine)
	r.Service, r.Prefix, r.Sourced, r.Services = "", c.prefix.String(), c.sources, slices.Clone(hit)
	where := "over " + c.prefix.String()
	if c.sources {
		where = "from " + c.prefix.String()
	}
	r.Reason = fmt.Sprintf("%s %s, spread over %s services", c.machine.why, where, show.Count(uint64(len(hit))))
	return r
}

// Target is what an attack is on, in words: a service, or the services of a prefix.
func (r *Record) Target() string {
	switch {
	case r.Prefix == "":
		return r.Service
	case r.Sourced:
		return fmt.Sprintf("%d services, from %s", len(r.Services), r.Prefix)
	}
	return fmt.Sprintf("%d services of %s", len(r.Services), r.Prefix)
}

// On tells whether an attack is on a service.
func (r *Record) On(service string) bool {
	return r.Service == service || slices.Contains(r.Services, service)
}

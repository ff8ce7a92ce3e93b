// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"parry/loader"
	"parry/pkg/attack"
	"parry/pkg/config"
	"parry/pkg/event"
)

const (
	sampleEvery = 250 * time.Millisecond // so that a flood is met by stricter gates within half a second
	sampleShare = 0.02                   // of a core: with hundreds of services samples come less often
	loadEvery   = time.Second            // while some service isn't normal
	loadIdly    = 10 * time.Second
	// complainEvery keeps a fault that stays from filling the log.
	complainEvery = 10 * time.Second
	// worthTelling is the least share of all that were greylisted: of less, how many sources that is can't be told.
	worthTelling = 0.1
)

// strangers is what the fast path counts of strangers and is told of services: loader.Edge.
type strangers interface {
	ServiceNames() []string
	Totals() ([]loader.ServiceCount, error)
	ReasonsOf(service int) (map[string]loader.ReasonCount, error)
	StrangerCounts() ([]loader.StrangerCount, error)
	StrangerLoad() (loader.StrangerLoad, error)
	Heavies() ([]loader.Heavy, error)
	State(service uint16) (loader.State, error)
	SetState(service uint16, s loader.State) error
}

var _ strangers = (*loader.Edge)(nil)

// sentry watches for attacks: it samples the fast path's counters, and tells the fast path and people what follows.
type sentry struct {
	edge       strangers
	tracker    *attack.Tracker
	events     *event.Log
	log        *slog.Logger
	now        func() time.Time
	fault      func(what string, err error)
	moved      chan struct{} // an attack began or ended: it is to be kept soon
	pace       pace
	complained time.Time // when a sample last failed and it was said

	mu        sync.Mutex              // guards all below
	written   map[string]loader.State // by service, as the fast path knows it
	load      loader.StrangerLoad
	sampled   time.Time                    // when load was
	dropped   []dropped                    // by service number
	monitored map[int]bool                 // service numbers of those that don't enforce, or not all
	busy      bool                         // some service was not normal at the last sample
	last      []uint64                     // greylisted, by service number, of the last sample
	heavies   map[netip.Prefix]uint64      // packets of prefixes of sources, as last read
	seen      uint64                       // strangers of all services, at the last sample
	greylist  uint64                       // strangers that it is made for
	limits    map[string]uint64            // by service: packets a second that a stranger may send
	strangers map[string]map[string]uint64 // by service, what became of its strangers; the inner maps are not changed after
}

// configure follows a configuration. linkBPS is what the way in carries (0 = not known). A service's state at first is the
// fast path's, which outlives the daemon.
func (s *sentry) configure(c *config.Config, linkBPS uint64, calm map[string]attack.Calm) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written == nil {
		s.written = map[string]loader.State{}
	}
	s.monitored = map[int]bool{}
	var errs []error
	for number, name := range s.edge.ServiceNames() {
		if number == 0 {
			continue
		}
		if v := c.Service(name); v != nil {
			s.monitored[number] = !isTrue(v.Enforce) || !isTrue(v.Limits.Enforce)
		}
		state, err := s.edge.State(uint16(number))
		errs = append(errs, err)
		s.written[name] = state
		if c.Service(name) == nil && state != loader.StateNormal { // it left, and its sessions play on
			errs = append(errs, s.edge.SetState(uint16(number), loader.StateNormal))
			delete(s.written, name)
		}
	}
	services := make([]attack.Service, 0, len(c.Services))
	for i := range c.Services {
		v := &c.Services[i]
		services = append(services, attack.Service{
			Name: v.Name, Protocols: v.Protocol, Thresholds: thresholdsOf(&v.Attack), LinkBPS: linkBPS, Prefixes: prefixesOf(v),
		})
	}
	s.greylist, s.limits = uint64(c.Sizes.Greylist), map[string]uint64{}
	for i := range c.Services {
		s.limits[c.Services[i].Name] = uint64(c.Services[i].Strangers.SourcePacketsPerSecond)
	}
	s.tracker.Configure(services, thresholdsOf(&c.Attack), func(name string) attack.Known {
		return attack.Known{Gates: attack.State(s.written[name]), Calm: calm[name]}
	}, s.now())
	return errors.Join(errs...)
}

func isTrue(b *bool) bool { return b != nil && *b }

func thresholdsOf(c *config.Attack) attack.Thresholds {
	level := func(l config.AttackLevel) attack.Level {
		return attack.Level{Strangers: l.StrangersPerSecond, Refused: l.RefusedPerSecond, Times: float64(l.TimesUsual)}
	}
	return attack.Thresholds{Elevated: level(c.Elevated), Attack: level(c.Attack), Hold: c.Hold}
}

// run samples until ctx ends.
func (s *sentry) run(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	s.pace.share = sampleShare
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.pace.do(timed(func() {
			if err := s.sample(); err != nil && time.Since(s.complained) > complainEvery {
				s.fault("look for attacks", err)
				s.complained = time.Now()
			}
		}))
	}
}

// sample looks at every service once.
func (s *sentry) sample() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	totals, err := s.edge.Totals()
	if err != nil {
		return err
	}
	counts, err := s.edge.StrangerCounts()
	if err != nil {
		return err
	}
	now := s.now()
	if since := now.Sub(s.sampled); since >= loadIdly || s.busy && since >= loadEvery {
		if s.load, err = s.edge.StrangerLoad(); err != nil {
			return err
		}
		s.sampled = now
	}
	names := s.edge.ServiceNames()
	n := min(len(names), len(totals), len(counts))
	loads := s.loads(names[:n], counts[:n])
	var errs []error
	s.strangers = make(map[string]map[string]uint64, n)
	s.busy = false
	for i := 1; i < n; i++ {
		at := sampleOf(now, &counts[i])
		at.Load = loads[i]
		if at.Drops, at.WouldDrop, err = s.drops(i, &totals[i]); err != nil {
			return err
		}
		s.strangers[names[i]] = outcomes(&counts[i])
		news := s.tracker.Observe(names[i], at)
		standing, known := s.tracker.Standing(names[i])
		s.busy = s.busy || standing.State != attack.Normal
		if known { // before anybody is told: a log may be slow
			errs = append(errs, s.write(uint16(i), names[i], loader.State(standing.Gates)))
		}
		s.tell(names[i], news)
	}
	return errors.Join(append(errs, s.carpets(now, names[:n]))...)
}

// standing is how a service fares, and what strangers it had.
func (s *sentry) standing(name string) (attack.Standing, map[string]uint64) {
	standing, _ := s.tracker.Standing(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return standing, s.strangers[name]
}

// shared is how full the tables are that all services share, with the fullest sketch of any.
func (s *sentry) shared() (greylist, sketch float64, slots uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, limit := range s.limits {
		sketch = max(sketch, s.noise(limit))
	}
	return s.load.Greylist, sketch, uint64(s.load.Unproven)
}

// noise is what the sketch counts of others, as a share of what it limits a stranger to.
func (s *sentry) noise(limit uint64) float64 {
	if limit == 0 {
		return 0
	}
	return min(s.load.Sketch/(float64(limit)*loader.SketchWindow.Seconds()), 1)
}

// loads is what each service is told of the tables that all share.
func (s *sentry) loads(names []string, counts []loader.StrangerCount) []attack.Load {
	held := attack.Held(s.load.Greylist, s.greylist)
	now, total := make([]uint64, len(counts)), uint64(0)
	for i := range counts {
		now[i] = counts[i].Greylisted
		if i < len(s.last) && now[i] >= s.last[i] {
			now[i] -= s.last[i]
		}
		total += now[i]
	}
	all := make([]attack.Load, len(counts))
	for i := range counts {
		all[i].Greylist = s.load.Greylist
		all[i].Sketch = s.noise(s.limits[names[i]])
		if share := float64(now[i]) / float64(max(total, 1)); share >= worthTelling {
			mine := uint64(share * float64(held))
			all[i].Sources = &mine
		}
	}
	s.last = slices.Grow(s.last[:0], len(counts))
	for i := range counts {
		s.last = append(s.last, counts[i].Greylisted)
	}
	return all
}

func sampleOf(now time.Time, n *loader.StrangerCount) attack.Sample {
	reflectors := map[string]uint64{}
	for i, packets := range n.Reflected {
		if packets > 0 {
			reflectors[loader.Reflectors[i]] = packets
		}
	}
	return attack.Sample{
		PlayerLoss: &n.Lost, Reflectors: reflectors,
		Time: now, Strangers: n.Strangers, Admitted: n.Admitted, Proven: n.Strong + n.Weak, Answered: n.Answered + n.Asked,
		Greylisted: n.Greylisted, Returned: n.Returned,
	}
}

// dropped is why packets of a service were dropped, as last read. Nobody changes the maps.
type dropped struct {
	packets, drops uint64 // of its totals then
	was, would     map[string]attack.Count
}

// drops reads why packets of a service were dropped, if any was since it was last read. Where policy isn't enforced none is, and
// any packet may be one that would have been.
func (s *sentry) drops(number int, total *loader.ServiceCount) (was, would map[string]attack.Count, err error) {
	for len(s.dropped) <= number {
		s.dropped = append(s.dropped, dropped{})
	}
	d := &s.dropped[number]
	packets := total.Up.Packets + total.Down.Packets
	if d.was != nil && d.drops == total.Drop && (d.packets == packets || !s.monitored[number]) {
		return d.was, d.would, nil
	}
	reasons, err := s.edge.ReasonsOf(number)
	if err != nil {
		return nil, nil, err
	}
	*d = dropped{packets: packets, drops: total.Drop, was: map[string]attack.Count{}, would: map[string]attack.Count{}}
	for name, r := range reasons {
		if r.Packets > 0 {
			d.was[name] = attack.Count{Packets: r.Packets, Bytes: r.Bytes}
		}
		if r.ShadowPackets > 0 {
			d.would[name] = attack.Count{Packets: r.ShadowPackets, Bytes: r.ShadowBytes}
		}
	}
	return d.was, d.would, nil
}

// outcomes is what became of a service's strangers, under the names that people see.
func outcomes(n *loader.StrangerCount) map[string]uint64 {
	return map[string]uint64{
		"seen": n.Strangers, "believed": n.Believed, "greylisted": n.Greylisted, "returned": n.Returned, "admitted": n.Admitted,
		"strong": n.Strong, "weak": n.Weak, "answered": n.Answered, "asked": n.Asked, "evicted": n.Evicted,
	}
}

// write tells the fast path a service's state, until it knows it.
func (s *sentry) write(number uint16, name string, state loader.State) error {
	if s.written[name] == state {
		return nil
	}
	if err := s.edge.SetState(number, state); err != nil {
		return err
	}
	s.written[name] = state
	return nil
}

// tell says what came of a sample.
func (s *sentry) tell(service string, n attack.News) {
	if c := n.Change; c != nil {
		log := s.log.Info
		if c.To > c.From {
			log = s.log.Warn
		}
		log("a service's state has changed", "service", service, "state", c.To.String(), "was", c.From.String(), "why", c.Why)
		s.events.Publish(event.Event{
			Type: event.AttackState, Service: service, Text: c.Text(service),
			Data: map[string]any{"state": c.To.String(), "was": c.From.String(), "reason": c.Why},
		})
	}
	if c := n.Gates; c != nil {
		s.log.Info("a service's gates follow another state", "service", service, "state", c.To.String(), "was", c.From.String(), "why", c.Why)
		s.events.Publish(event.Event{
			Type: event.AttackGates, Service: service, Text: service + ": " + c.GatesText(),
			Data: map[string]any{"state": c.To.String(), "was": c.From.String(), "reason": c.Why},
		})
	}
	if n.Start != nil || n.End != nil {
		select {
		case s.moved <- struct{}{}:
		default:
		}
	}
	if r := n.Start; r != nil {
		s.events.Publish(event.Event{
			Type: event.AttackStart, Service: service, Text: fmt.Sprintf("%s is under attack: %s", service, r.Reason),
			Data: map[string]any{"id": r.ID, "reason": r.Reason, "kinds": r.Kinds},
		})
	}
	if r := n.End; r != nil {
		s.log.Info("an attack has ended", "service", service, "id", r.ID, "kinds", r.Kinds, "peak_pps", r.PeakPPS, "peak_bps", r.PeakBPS)
		s.events.Publish(event.Event{
			Type: event.AttackEnd, Service: service,
			Text: fmt.Sprintf("the attack on %s has ended: %s, up to %s; parry attack show %s", service, strings.Join(r.Kinds, ", "), r.Peak(), r.ID),
			Data: map[string]any{
				"id": r.ID, "kinds": r.Kinds, "peak_pps": r.PeakPPS, "peak_bps": r.PeakBPS, "start": r.Start, "end": r.End, "sources": r.Sources,
			},
		})
	}
}

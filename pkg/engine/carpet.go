// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"parry/loader"
	"parry/pkg/attack"
	"parry/pkg/config"
	"parry/pkg/event"
)

// prefixesOf are the prefixes of the edge's addresses that a service listens in.
func prefixesOf(s *config.Service) []netip.Prefix {
	var all []netip.Prefix
	for _, l := range s.Listen {
		bits := 24
		if l.Addr.Is6() {
			bits = 48
		}
		if p, err := l.Addr.Prefix(bits); err == nil && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// carpets looks at all services together, and tells what came of it. s.mu is held.
func (s *sentry) carpets(now time.Time, names []string) error {
	from, err := s.comers(names)
	errs := []error{err}
	for _, n := range s.tracker.Carpets(now, from) {
		for _, name := range n.Services {
			if standing, ok := s.tracker.Standing(name); ok {
				errs = append(errs, s.write(uint16(slices.Index(names, name)), name, loader.State(standing.Gates)))
			}
		}
		s.tellCarpet(&n)
	}
	for _, name := range names[min(1, len(names)):] {
		standing, _ := s.tracker.Standing(name)
		s.busy = s.busy || standing.State != attack.Normal
	}
	return errors.Join(errs...)
}

// leastComers is how many strangers must have come since the last sample for it to be worth asking from where.
const leastComers = 50

// comers are the prefixes of which strangers came since the last sample; none while few come.
func (s *sentry) comers(names []string) ([]attack.Source, error) {
	var seen uint64
	for _, n := range s.strangers {
		seen += n["seen"]
	}
	few := seen < s.seen+leastComers
	s.seen = seen
	if few && s.heavies != nil && !s.busy {
		return nil, nil
	}
	all, err := s.edge.Heavies()
	if err != nil {
		return nil, err
	}
	before := s.heavies
	s.heavies = make(map[netip.Prefix]uint64, len(all))
	var from []attack.Source
	for _, h := range all {
		s.heavies[h.Prefix] = h.Packets
		came := h.Packets
		if was := before[h.Prefix]; was <= came {
			came -= was
		}
		if came > 0 && before != nil { // what came before this daemon started is nothing to it
			from = append(from, attack.Source{Prefix: h.Prefix, Packets: came, Services: servicesOf(h.Services, names)})
		}
	}
	return from, nil
}

// servicesOf are those whose numbers' bits are set; of two that share one, both.
func servicesOf(bits uint64, names []string) []string {
	var all []string
	for i := 1; i < len(names); i++ {
		if bits>>(i&63)&1 != 0 {
			all = append(all, names[i])
		}
	}
	return all
}

func (s *sentry) tellCarpet(n *attack.CarpetNews) {
	if n.Start != nil || n.End != nil {
		select {
		case s.moved <- struct{}{}:
		default:
		}
	}
	for _, name := range n.Services {
		standing, _ := s.tracker.Standing(name)
		text := name + ": " + standing.State.String() + ", " + standing.Why
		s.log.Warn("a service's state has changed", "service", name, "state", standing.State.String(), "why", standing.Why)
		s.events.Publish(event.Event{
			Type: event.AttackState, Service: name, Text: text, Data: map[string]any{"state": standing.State.String(), "reason": standing.Why},
		})
	}
	if r := n.Start; r != nil {
		s.log.Warn("a carpet has begun", "id", r.ID, "on", r.Target(), "why", r.Reason)
		s.events.Publish(event.Event{
			Type: event.AttackStart, Text: fmt.Sprintf("%s are under attack: %s", r.Target(), r.Reason),
			Data: map[string]any{"id": r.ID, "reason": r.Reason, "kinds": r.Kinds, "services": r.Services, "prefix": r.Prefix},
		})
	}
	if r := n.End; r != nil {
		s.log.Info("an attack has ended", "id", r.ID, "on", r.Target(), "kinds", r.Kinds, "peak_pps", r.PeakPPS, "peak_bps", r.PeakBPS)
		s.events.Publish(event.Event{
			Type: event.AttackEnd,
			Text: fmt.Sprintf("the attack on %s has ended: %s, up to %s; parry attack show %s", r.Target(), strings.Join(r.Kinds, ", "), r.Peak(), r.ID),
			Data: map[string]any{
				"id": r.ID, "kinds": r.Kinds, "peak_pps": r.PeakPPS, "peak_bps": r.PeakBPS, "start": r.Start, "end": r.End, "sources": r.Sources,
				"services": r.Services, "prefix": r.Prefix,
			},
		})
	}
}

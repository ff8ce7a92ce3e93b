// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Detective is an edge that finds out by itself who attacks.
type Detective interface {
	// Caught is when it first kept an address out by itself, wholly or as far as that proves nothing; zero: it has not.
	Caught(ctx context.Context, a netip.Addr) (time.Time, error)
}

// Detected is how well an edge found the machines that attack from addresses of their own. Forged addresses are nobody's, and count for nothing.
type Detected struct {
	Attackers int     `json:"attackers"`
	Caught    int     `json:"caught"`
	Innocent  int     `json:"innocent"`  // players, newcomers and queries that were kept out by itself
	Precision float64 `json:"precision"` // of all that were kept out; 1 where nobody was
	Recall    float64 `json:"recall"`
	FirstMS   ms      `json:"first_ms"` // after the attack began; of those that were caught
	MedianMS  ms      `json:"median_ms"`
	LastMS    ms      `json:"last_ms"`
}

// String is it in a line.
func (d *Detected) String() string {
	if d.Caught == 0 {
		return fmt.Sprintf("none of %d machines, and %d others", d.Attackers, d.Innocent)
	}
	return fmt.Sprintf("%d of %d machines, and %d others: precision %.3f, recall %.3f; the first after %.1f s, half within %.1f s, the last after %.1f s",
		d.Caught, d.Attackers, d.Innocent, d.Precision, d.Recall, time.Duration(d.FirstMS).Seconds(), time.Duration(d.MedianMS).Seconds(), time.Duration(d.LastMS).Seconds())
}

// machines are the addresses of those who attack a scenario with their own.
func (l *lab) machines() (all []netip.Addr) {
	for _, w := range l.scenario.waves {
		if w.machines {
			for _, s := range aFew() {
				all = append(all, s.Prefix.Addr())
			}
		}
		for n := range w.bots {
			all = append(all, botAddress(n))
		}
	}
	return all
}

// innocents are the addresses of everybody else.
func (l *lab) innocents() map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, p := range l.everyone() {
		all[p.Address().Addr()] = true
	}
	for _, p := range l.tcp {
		all[p.Address().Addr()] = true
	}
	for _, j := range l.joiners {
		all[j.from] = true
	}
	for _, b := range l.browsers {
		all[b.from] = true
	}
	return all
}

// detected compares whom the edge caught with who attacked, and when.
func (l *lab) detected(ctx context.Context, began time.Time) (*Detected, error) {
	d, ok := l.edge.(Detective)
	if !ok {
		return nil, nil
	}
	caught := map[netip.Addr]time.Time{}
	machines, innocents := l.machines(), l.innocents()
	for _, a := range slices.Concat(machines, slices.Collect(maps.Keys(innocents))) {
		at, err := d.Caught(ctx, a)
		if err != nil {
			return nil, fmt.Errorf("ask if the edge has caught %v: %w", a, err)
		}
		caught[a] = at
	}
	return detectedOf(caught, machines, innocents, began), nil
}

// detectedOf scores when each was caught, zero = not.
func detectedOf(caught map[netip.Addr]time.Time, machines []netip.Addr, innocents map[netip.Addr]bool, began time.Time) *Detected {
	r := &Detected{Attackers: len(machines), Precision: 1}
	var took []time.Duration
	for _, a := range machines {
		if at := caught[a]; !at.IsZero() {
			took = append(took, max(at.Sub(began), 0))
		}
	}
	for a := range innocents {
		if !caught[a].IsZero() {
			r.Innocent++
		}
	}
	slices.Sort(took)
	if r.Caught = len(took); r.Caught > 0 {
		r.FirstMS, r.MedianMS, r.LastMS = ms(took[0]), ms(took[len(took)/2]), ms(took[len(took)-1])
	}
	if r.Caught+r.Innocent > 0 {
		r.Precision = float64(r.Caught) / float64(r.Caught+r.Innocent)
	}
	if len(machines) > 0 {
		r.Recall = float64(r.Caught) / float64(len(machines))
	}
	return r
}

// checkDetected: nobody but attackers is kept out by the edge's own decision.
func (r *Report) checkDetected() {
	if r.Detected != nil {
		r.check("no_innocent", r.Detected.Innocent == 0, fmt.Sprintf("%d players kept out by the detector", r.Detected.Innocent), "0")
	}
}

func (r *Report) writeDetected(b *strings.Builder) {
	if d := r.Detected; d != nil && d.Attackers > 0 {
		fmt.Fprintf(b, "   By itself the edge kept out %v.\n", d)
	}
}

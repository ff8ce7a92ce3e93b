// SPDX-License-Identifier: Apache-2.0

// Package detect finds out who attacks: from single observations (a session asked for, proven, ended, …) it decides which sources
// and prefixes to block, why, how surely and for how long. It knows nothing of packets' way, of maps or files, and has no timer:
// a decision is made on the very observation that completes the evidence.
//
// Evidence against an address is only what proved to come from it. Whatever else is sent in its name leads at most to a short
// block of what is unproven (Scope), so nobody can have a player blocked by forging.
package detect

import (
	"math/rand/v2"
	"strings"
	"unsafe"
)

const maxName = 64 // bytes of a game's name

// Handler is told what comes out, on the goroutine that observes. What it is given is its own.
type Handler struct {
	Block func(*Decision)
	Sign  func(*Sign)
}

// Counts are figures of a Detector since it was made.
type Counts struct {
	Observations uint64
	Nobody       uint64 // with a source that nobody can have
	Decisions    uint64
	Suppressed   uint64 // questions of the unproven beyond their rate
	Signs        uint64
	Strangers    int // sources that are tracked
	Sources      int
	Prefixes     int
	Evicted      uint64 // sources, prefixes and offences that made place for others
}

// Detector is one goroutine's: there are no locks inside. All its memory is taken when it is made (Bytes).
type Detector struct {
	p     Policy
	h     Handler
	seed  uint64
	slot  int64
	clock clock

	blameless, crowding map[string]bool
	games               map[string]uint8
	gameNames           []string

	young, known     *room[source, history]
	nets             *room[network, neighbourhood]
	offences         *room[source, offence]
	netOffences      *room[network, offence]
	suspects         *room[source, int64] // whose unproven traffic is blocked, and until when
	suspectNets      *room[network, int64]
	questions        budget
	heavy, heavyNets *ranking
	services         map[uint16]*service
	others           *service // all beyond Sizes.Services
	counts           Counts
}

// New makes one. The policy must be one that Check has nothing against.
func New(p Policy, h Handler) (*Detector, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	seed := p.Seed
	for seed == 0 {
		seed = rand.Uint64()
	}
	d := &Detector{
		p: p, h: h, seed: seed, slot: int64(p.Risk.Window) / slots, blameless: set(p.Blameless), crowding: set(p.Crowding),
		games: map[string]uint8{"": 0}, gameNames: []string{""},
		young: newRoom[source, history](p.Sizes.Strangers, seed), known: newRoom[source, history](p.Sizes.Sources, seed),
		nets:     newRoom[network, neighbourhood](p.Sizes.Prefixes, seed),
		offences: newRoom[source, offence](p.Sizes.Offences, seed), netOffences: newRoom[network, offence](p.Sizes.Prefixes, seed),
		suspects: newRoom[source, int64](p.Sizes.Strangers, seed), suspectNets: newRoom[network, int64](p.Sizes.Heavy, seed),
		heavy: newRanking(p.Sizes.Heavy, seed), heavyNets: newRanking(p.Sizes.Heavy, seed),
		services: map[uint16]*service{}, others: &service{},
	}
	d.clock.now = started
	return d, nil
}

func set(names []string) map[string]bool {
	all := map[string]bool{}
	for _, n := range names {
		all[n] = true
	}
	return all
}

// Bytes is the most memory that a Detector of these sizes takes, but for its maps of names (some KiB).
func (d *Detector) Bytes() int {
	return d.young.bytes() + d.known.bytes() + d.nets.bytes() + d.offences.bytes() + d.netOffences.bytes() +
		d.suspects.bytes() + d.suspectNets.bytes() +
		d.heavy.bytes() + d.heavyNets.bytes() + (d.p.Sizes.Services+1)*int(unsafe.Sizeof(service{}))
}

// Counts tells how it is doing.
func (d *Detector) Counts() Counts {
	c := d.counts
	c.Strangers, c.Sources, c.Prefixes = d.young.n, d.known.n, d.nets.n
	c.Evicted = d.young.evicted + d.known.evicted + d.nets.evicted + d.offences.evicted + d.netOffences.evicted
	return c
}

// Observe takes in one observation, and calls the handler for what it completes.
func (d *Detector) Observe(o *Observation) {
	d.counts.Observations++
	e := seen{o: o, at: d.clock.read(o.Time)}
	var ok bool
	if e.s, ok = sourceOf(o.Source); !ok {
		d.counts.Nobody++
		return
	}
	e.svc = d.service(o.Service)
	d.take(&e, uint8(mix(d.seed, uint64(e.s.network()))>>8))
	switch o.Kind {
	case Attempt, Refused:
		d.attempt(&e)
		if o.Kind == Refused && o.Proof != Strong {
			d.volume(&e)
		}
	case Handshake, Proven:
		d.proof(&e)
	case Lasting:
		d.lasts(&e)
	case Playing:
		e.h = d.comer(e.s)
		e.h.turnOver(e.at)
		d.plays(&e)
	case Ended:
		d.ends(&e)
	case Dropped:
		d.volume(&e)
	}
	if o.Regular {
		e.h = d.comer(e.s)
		d.plays(&e)
	}
}

// Expect says how many new sessions a second a forecast has for a service: as usual counts what is more.
func (d *Detector) Expect(number uint16, sessions float64) {
	if sessions >= 0 { // NaN is no forecast
		d.service(number).expected = sessions
	}
}

func (d *Detector) service(number uint16) *service {
	v := d.services[number]
	if v == nil {
		if len(d.services) >= d.p.Sizes.Services {
			return d.others
		}
		v = &service{}
		d.services[number] = v
	}
	return v
}

// game numbers a name; 0 is one that is not known, or one too many.
func (d *Detector) game(name string) uint8 {
	n, ok := d.games[name]
	if !ok && len(d.gameNames) <= d.p.Sizes.Games && len(name) <= maxName {
		n = uint8(len(d.gameNames))
		name = strings.Clone(name) // it may lie in a buffer of its caller's
		d.games[name] = n
		d.gameNames = append(d.gameNames, name)
	}
	return n
}

func (d *Detector) gameName(n uint8) string { return d.gameNames[n] }

// SPDX-License-Identifier: Apache-2.0

// Package attack tells whether a service is under attack, from what the fast path counts of its strangers, and writes down
// what it was. It knows no clock and no BPF: samples carry their times.
package attack

import (
	"math"
	"time"
)

// State is how a service fares. The numbers are those of the fast path (enum gate_state).
type State uint8

// The states, the worse the higher.
const (
	Normal State = iota
	Elevated
	Attack
)

// String is the state's name: normal, elevated or attack.
func (s State) String() string {
	switch s {
	case Normal:
		return "normal"
	case Elevated:
		return "elevated"
	}
	return "attack"
}

// Count is packets and their bytes.
type Count struct{ Packets, Bytes uint64 }

// Sample is what a service has counted up to a moment. All numbers but those of Load are totals that only grow; one that fell
// was begun anew.
type Sample struct {
	Time time.Time

	Strangers  uint64 // packets of no session
	Admitted   uint64 // sessions that began
	Proven     uint64 // of them, by now
	Answered   uint64 // queries that the edge answered, itself or by the daemon
	Greylisted uint64 // first packets that have to come again
	Returned   uint64 // that did
	Drops      map[string]Count
	WouldDrop  map[string]Count  // where policy isn't enforced
	PlayerLoss *uint64           // packets of proven sessions that were dropped, and not for their own source's doing; nil = not counted
	Reflectors map[string]uint64 // packets of reflections, by whose answers they are

	Load Load
}

// Load is how full the tables for strangers are, which all services share: shares of 0 to 1.
type Load struct {
	Greylist float64 // of its bits
	Sketch   float64 // of its noise in what it limits strangers to
	// Sources is how many different strangers of this service's the greylist holds now; nil = not known.
	Sources *uint64
}

// rates is what happened between two samples.
type rates struct {
	seconds                                                     float64
	strangers, admitted, proven, answered, greylisted, returned uint64 // how many
	refused                                                     Count  // that tell of an attack, dropped or not
	pressed                                                     uint64 // strangers who came as far as stricter gates would have stopped them, beside those who got in
	drops, would                                                map[string]Count
	loss                                                        *uint64
	reflectors                                                  map[string]uint64
}

// between compares two samples. A counter that fell counts from 0.
func between(a, b *Sample) rates {
	r := rates{
		seconds:   b.Time.Sub(a.Time).Seconds(),
		strangers: grown(a.Strangers, b.Strangers), admitted: grown(a.Admitted, b.Admitted), proven: grown(a.Proven, b.Proven),
		answered: grown(a.Answered, b.Answered), greylisted: grown(a.Greylisted, b.Greylisted), returned: grown(a.Returned, b.Returned),
		drops: grownMap(a.Drops, b.Drops), would: grownMap(a.WouldDrop, b.WouldDrop),
	}
	for _, m := range []map[string]Count{r.drops, r.would} {
		for name, n := range m {
			if meanings[name].hostile {
				r.refused.Packets += n.Packets
				r.refused.Bytes += n.Bytes
			}
		}
	}
	for name, n := range r.drops { // what would have been dropped went on, and counts there
		if meanings[name].pressed {
			r.pressed += n.Packets
		}
	}
	if a.PlayerLoss != nil && b.PlayerLoss != nil {
		n := grown(*a.PlayerLoss, *b.PlayerLoss)
		r.loss = &n
	}
	for name, now := range b.Reflectors {
		if n := grown(a.Reflectors[name], now); n > 0 {
			if r.reflectors == nil {
				r.reflectors = map[string]uint64{}
			}
			r.reflectors[name] = n
		}
	}
	return r
}

func grown(was, now uint64) uint64 {
	if now < was {
		return now
	}
	return now - was
}

func grownMap(was, now map[string]Count) map[string]Count {
	out := map[string]Count{}
	for name, n := range now {
		w := was[name]
		if d := (Count{grown(w.Packets, n.Packets), grown(w.Bytes, n.Bytes)}); d.Packets > 0 {
			out[name] = d
		}
	}
	return out
}

// per is how many a second.
func (r *rates) per(n uint64) float64 { return float64(n) / r.seconds }

// pressing is the same with no more than what stricter gates would do something about. It is a sum and not a difference: counters
// are read one after the other, and of a flood thousands come between two of them.
func (r rates) pressing() rates {
	r.strangers = r.admitted + r.answered + r.pressed
	r.refused = Count{}
	return r
}

// packets is all that attackers may have sent: what was refused, answered or let in of strangers.
func (r *rates) packets() uint64 { return r.refused.Packets + r.answered + r.admitted }

// whole rounds a rate to the whole number that is shown.
func whole(v float64) uint64 { return uint64(math.Round(max(v, 0))) }

// Held estimates how many different keys a bit array was told of, whose bits are set to a share of fill: size keys at 24 bits
// each for two generations, with 4 bits a key (bpf/stage/greylist.h). Linear counting, Whang 1990.
func Held(fill float64, size uint64) uint64 {
	const bits, hashes, full = 2 * 24, 4, 0.999 // beyond full it can't tell any more
	return whole(-float64(size) * bits / hashes * math.Log(1-min(max(fill, 0), full)))
}

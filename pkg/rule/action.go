// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"parry/pkg/spell"
)

// Verb is what is done with a packet that a rule means.
type Verb uint8

// Drop, Limit and Pass end the judging of a packet by rules, Count goes on to the next.
const (
	Drop Verb = iota
	Limit
	Count
	Pass
)

// Action is what a rule does.
type Action struct {
	Verb      Verb
	Rate      uint64 // of Limit: packets a second that pass, 1 to MaxRate
	PerSource bool   // each source has that rate; else all of them share it
}

// MaxRate bounds a limit: more packets than any machine forwards.
const MaxRate = 100_000_000

func (a Action) String() string {
	switch a.Verb {
	case Drop:
		return "drop"
	case Count:
		return "count"
	case Pass:
		return "pass"
	}
	s := "limit:" + strconv.FormatUint(a.Rate, 10)
	if a.PerSource {
		s += "/source"
	}
	return s
}

// ParseAction reads drop, count, pass, limit:1000, limit:20k, limit:50/source.
func ParseAction(s string) (Action, error) {
	verb, rate, limited := strings.Cut(s, ":")
	if !limited {
		switch s {
		case "drop":
			return Action{Verb: Drop}, nil
		case "count":
			return Action{Verb: Count}, nil
		case "pass":
			return Action{Verb: Pass}, nil
		case "limit":
			return Action{}, fmt.Errorf("say how many packets a second pass: limit:1000, or limit:50/source for each source")
		}
	}
	if verb != "limit" || !limited {
		if near, ok := spell.Nearest(verb, []string{"drop", "limit", "count", "pass"}); ok {
			return Action{}, fmt.Errorf("there is no action %q: did you mean %s?", s, near)
		}
		return Action{}, fmt.Errorf("there is no action %q: drop, limit:RATE, count or pass", s)
	}
	a := Action{Verb: Limit}
	rate, a.PerSource = strings.CutSuffix(rate, "/source")
	factor := uint64(1)
	if digits, ok := strings.CutSuffix(rate, "k"); ok {
		rate, factor = digits, 1000
	} else if digits, ok := strings.CutSuffix(rate, "M"); ok {
		rate, factor = digits, 1_000_000
	}
	n, err := strconv.ParseUint(rate, 10, 32)
	if err != nil || n == 0 || n*factor > MaxRate {
		return Action{}, fmt.Errorf("%q is no rate: packets a second, 1 to %d (k and M are known), e.g. limit:1000, limit:20k, limit:50/source", s, MaxRate)
	}
	a.Rate = n * factor
	return a, nil
}

// Bucket is what the fast path makes of a rate: a packet's cost, and how far it may be used ahead, in 2^-8 ns (bpf/lib/rate.h). Ahead
// may be a tenth of a second's packets, and one at least.
func (a Action) Bucket() (cost, burst uint64) {
	cost = (uint64(time.Second)<<8 + a.Rate/2) / a.Rate
	return cost, cost * max(a.Rate/10, 1)
}

// Source is the cell of a rule that limits each source: cells are shared by those whose hashes meet. source are an address's
// first 8 bytes as they lie on the wire (IPv4's 4 in the low half), key is the edge's secret.
func (Action) Source(slot uint16, source, key uint64) uint32 {
	x := (source ^ key ^ uint64(slot)*mixSlot) * mixFirst
	x ^= x >> 32
	return uint32(x * mixSecond >> (64 - CellBits))
}

// CellBits says how many cells there are for limits by source: 1 << CellBits, of all rules together.
const CellBits = 16

// Odd numbers without a pattern: the fractions of the golden ratio, and those of splitmix64.
const (
	mixSlot   = 0x9e3779b97f4a7c15
	mixFirst  = 0xbf58476d1ce4e5b9
	mixSecond = 0x94d049bb133111eb
)

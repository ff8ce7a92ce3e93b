// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Reason is why a source or prefix is blocked, by a word that is an interface: it stands in lists, events and metrics.
type Reason uint8

// Reasons.
const (
	Risk         Reason = iota + 1 // the score of its connections
	ConnectFlood                   // so many connections that came to nothing
	Churn                          // it joins and leaves again and again
	Metronome                      // and at intervals that no person keeps
	Sweep                          // so many destinations, each for nothing
	PrefixAttack                   // most sources of the prefix were blocked
	PrefixJoins                    // most came for nothing, and none of them much
	PrefixMember                   // of such a prefix, where others play
	Carpet                         // a prefix's sources, thinly over many destinations
	HeavyHitter                    // so many refused packets
	Unanswered                     // it goes on with what no server answers
)

func reasonNames() []string {
	return []string{"", "risk", "connect_flood", "churn", "metronome", "sweep", "prefix_attack", "prefix_joins", "prefix_member", "carpet", "heavy_hitter", "unanswered"}
}

func (r Reason) String() string {
	if names := reasonNames(); int(r) < len(names) {
		return names[r]
	}
	return ""
}

// MarshalText writes the word.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Scope is what of the source a decision is about.
type Scope uint8

const (
	// Whole is all that it sends: the evidence is of connections that proved the address.
	Whole Scope = iota + 1
	// Unproven is what anybody may send in its name: it has to prove the address strongly before it gets anything. Sessions
	// that did, players and regulars go on. It is short, and no offence of the address.
	Unproven
)

func (s Scope) String() string {
	if s == Unproven {
		return "unproven"
	}
	return "all"
}

// MarshalText writes the word.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Fact is one figure that a decision rests on.
type Fact struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit,omitempty"`
	Text  string  `json:"text"` // for people
}

// Decision is a block that is to be made.
type Decision struct {
	Prefix     netip.Prefix  `json:"prefix"`
	Scope      Scope         `json:"scope"`
	Service    uint16        `json:"-"` // 0 = all
	Reason     Reason        `json:"reason"`
	Confidence float64       `json:"confidence"`
	At         uint64        `json:"-"` // time of the observation that completed the evidence
	For        time.Duration `json:"for_ns"`
	Level      int           `json:"level"` // how many offences there were, this one included; 0 = it is none
	Players    int           `json:"players"`
	Facts      []Fact        `json:"facts"`
}

// Text says why, for people.
func (d *Decision) Text() string {
	all := make([]string, 0, len(d.Facts)+1)
	for _, f := range d.Facts {
		all = append(all, f.Text)
	}
	switch {
	case d.Players > 0 && d.Scope == Unproven:
		all = append(all, fmt.Sprintf("%d who play there go on", d.Players))
	case d.Players > 0:
		all = append(all, fmt.Sprintf("%d play or played there", d.Players))
	}
	if d.Level > 1 {
		all = append(all, fmt.Sprintf("offence %d", d.Level))
	}
	return strings.Join(all, "; ")
}

func fact(name string, value, limit float64, format string, args ...any) Fact {
	return Fact{Name: name, Value: value, Limit: limit, Text: fmt.Sprintf(format, args...)}
}

// reasonOf reads a word; one that is not known is 0.
func reasonOf(word string) Reason {
	for i, name := range reasonNames() {
		if name == word {
			return Reason(i)
		}
	}
	return 0
}

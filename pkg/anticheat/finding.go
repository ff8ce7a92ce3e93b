// SPDX-License-Identifier: Apache-2.0

package anticheat

import (
	"fmt"
	"strings"
)

// Kind is what a finding is of. The words are an interface: captures are labelled by some of them, outside tools rely on all.
type Kind string

// The kinds.
const (
	Size       Kind = "size"           // packets longer than the game's client sends
	Frequency  Kind = "frequency"      // more packets a second than the game's client sends
	Flood      Kind = "flood"          // far more, or what is no packet of the session's
	LagDrop    Kind = "lagswitch_drop" // upstream cut again and again while downstream goes on; what was sent meanwhile is lost
	LagHold    Kind = "lagswitch_hold" // the same, and all of it comes at once afterwards
	FakeLag    Kind = "fakelag"        // upstream comes in clumps, one after the other
	Duplicate  Kind = "dup"            // packets come several times
	Replay     Kind = "replay"         // old packets come again
	Tampered   Kind = "seqtamper"      // numbers that the client did not give, between those that it did
	SpeedUp    Kind = "speedup"        // its clock is faster than the game's
	Robotic    Kind = "robotic"        // no person's rhythm
	Farm       Kind = "farm"           // many sessions of one network move as one
	Anomaly    Kind = "anomaly"        // unlike all others of its game
	Signature  Kind = "signature"      // bytes that an operator's rule names
	kindsCount      = 14
)

// Kinds returns all of them.
func Kinds() []Kind {
	return []Kind{Size, Frequency, Flood, LagDrop, LagHold, FakeLag, Duplicate, Replay, Tampered, SpeedUp, Robotic, Farm, Anomaly, Signature}
}

// Severities: the first four are the specification's.
const (
	sevSize      = 0.8
	sevFast      = 0.9 // frequency that acts
	sevQuick     = 0.6 // frequency that flags
	sevSignature = 0.9
	sevFlood     = 0.9
	sevReplay    = 0.9
	sevTampered  = 0.9
	sevSpeedUp   = 0.7
	sevDuplicate = 0.7
	sevFakeLag   = 0.7
	sevLag       = 0.7 // of few lag-switch events
	sevLagOften  = 0.85
	sevRobotic   = 0.5
	sevFarm      = 0.6
	sevSuspect   = 0.6 // of sums alone

	// ActAbove is the severity above which a policy acts; up to it, it flags.
	ActAbove = 0.8
	// FlagAbove is the anomaly score above which a session is flagged.
	FlagAbove = 0.7
)

// Fact is a figure that a finding rests on, and what it was held against (0: nothing).
type Fact struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Text  string  `json:"text"`
}

// Finding is one thing that was found of a session.
type Finding struct {
	Kind       Kind
	Session    Session
	About      About
	Start, End uint64  // ns of the packets' clock; of one that is Open, as far as it has come
	At         uint64  // of what completed the evidence
	Open       bool    // it goes on
	Severity   float64 // 0 to 1
	Confidence float64 // 0 to 1
	Observe    bool    // nobody has said what this game's bounds are: shown, never acted on
	Rule       string  // of a Signature: its name
	Facts      []Fact
}

// Text says why, for people.
func (f *Finding) Text() string {
	all := make([]string, 0, len(f.Facts))
	for _, x := range f.Facts {
		all = append(all, x.Text)
	}
	return strings.Join(all, "; ")
}

func fact(name string, value, limit float64, format string, args ...any) Fact {
	return Fact{Name: name, Value: value, Limit: limit, Text: fmt.Sprintf(format, args...)}
}

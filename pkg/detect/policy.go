// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"errors"
	"fmt"
	"time"
)

// Policy says what is too much. Default is the one that parry promises; figures marked † there are the specification's.
type Policy struct {
	Risk   RiskPolicy
	Block  BlockPolicy
	Flood  FloodPolicy
	Churn  ChurnPolicy
	Sweep  SweepPolicy
	Prefix PrefixPolicy
	Heavy  HeavyPolicy
	Surge  SurgePolicy
	Sizes  Sizes

	// Shared is from how many sessions that last at once an address counts as one that people share: all that is counted by
	// source is then allowed so many times.
	Shared int
	// Blameless are reasons of refusals that are the edge's or a server's fault: such an attempt says nothing of its client.
	Blameless []string
	// Crowding are reasons of refusals by limits: such an attempt is a connection, but may be an honest one that came to nothing.
	Crowding []string
	// Seed makes hashes repeatable, in tests; 0 = random.
	Seed uint64
}

// RiskPolicy is the score of a source's connections within Window: weights of what is above its bound are summed, at most 1.
type RiskPolicy struct {
	Window                                     time.Duration
	Connections, GameConnections, Robotic      int // more than so many; exact up to 23, by slots of a twelfth of Window beyond
	ConnectionsWeight, GameWeight, RobotWeight float64
	Round                                      time.Duration // intervals are equal when they are, rounded to this
	Above                                      float64       // a risk above it blocks
	Flagged                                    float64       // confidence that a source that is blocked is rightly refused
	// Vouched is the part of Connections that must be proven for unproven ones to count beside them: limits refuse a SYN
	// before it proves anything. The other two factors are of proven connections alone, so a forger has one at most.
	Vouched float64
}

// BlockPolicy is how long blocks hold: First, Times as long with each offence, at most Longest; each Forgive without one takes an
// offence off. Unproven is for what anybody may have sent, at most so many a second.
type BlockPolicy struct {
	First, Longest, Forgive, Unproven time.Duration
	Times, UnprovenPerSecond          float64
}

// FloodPolicy: more than Connections proven ones in a window, and of at least Nothing that came to nothing Share or more.
type FloodPolicy struct {
	Connections, Nothing int
	Share                float64
}

// ChurnPolicy: sessions that their client leaves within Short. More than Sessions of them in five to ten minutes is too much; and
// Regular in a row whose intervals are within Even of their mean (but at least Slack) are no person's.
type ChurnPolicy struct {
	Short             time.Duration
	Sessions, Regular int
	Even              float64
	Slack             time.Duration
}

// SweepPolicy: connections to more than Destinations different ones in five to ten minutes, of which Share came to nothing.
type SweepPolicy struct {
	Destinations int
	Share        float64
}

// PrefixPolicy: of a /24 or /48 so many sources were blocked (Blocked) or had only connections that came to nothing (Nothing), and
// that is Share of all that proved an address there. More than Carpet destinations make it a carpet.
type PrefixPolicy struct {
	Blocked, Nothing, Carpet int
	Share                    float64
}

// HeavyPolicy: more than Packets refused ones of a source within five to ten seconds; of a prefix more than NetPackets, spread over
// more than Destinations and more than Sources. Or of a source what no server answers for as long as Unanswered, with no Pause in it: no
// game's client repeats its first packet for half a minute, each second.
type HeavyPolicy struct {
	Packets, NetPackets   uint64
	Destinations, Sources int
	Unanswered, Pause     time.Duration
}

// SurgePolicy is of services. Rates are new sessions a second.
type SurgePolicy struct {
	Least, Times float64       // above Least, and above Times what is usual
	Hold         time.Duration // below half of that for so long, and it is over
	Entropy      float64       // bits by which the mix of sources differs from the usual
	Uniform      float64       // the share of one packet size, where it usually is less by a third
	Unanswered   float64       // the share of SYNs whose handshake never ended
	Samples      float64       // fewer in ten seconds tell nothing
}

// Sizes bound memory: what is tracked at once. Detector.Bytes tells what that takes.
type Sizes struct {
	Strangers int // sources that have proven nothing
	Sources   int // sources that have
	Prefixes  int
	Offences  int
	Heavy     int
	Services  int
	Games     int // at most 255
}

// Default is parry's policy.
func Default() Policy {
	return Policy{
		Risk: RiskPolicy{
			Window: time.Minute, Connections: 10, GameConnections: 5, Robotic: 3,
			ConnectionsWeight: 0.4, GameWeight: 0.3, RobotWeight: 0.3, Round: 100 * time.Millisecond,
			Above: 0.8, Flagged: 0.9, Vouched: 1,
		},
		Block:  BlockPolicy{First: 10 * time.Minute, Times: 4, Longest: 24 * time.Hour, Forgive: 6 * time.Hour, Unproven: time.Minute, UnprovenPerSecond: 100},
		Flood:  FloodPolicy{Connections: 24, Nothing: 8, Share: 0.8},
		Churn:  ChurnPolicy{Short: 15 * time.Second, Sessions: 24, Regular: 8, Even: 0.03, Slack: 150 * time.Millisecond},
		Sweep:  SweepPolicy{Destinations: 20, Share: 0.8},
		Prefix: PrefixPolicy{Blocked: 8, Nothing: 16, Carpet: 24, Share: 0.75},
		Heavy:  HeavyPolicy{Packets: 500, NetPackets: 10000, Destinations: 16, Sources: 8, Unanswered: 30 * time.Second, Pause: 2500 * time.Millisecond},
		Surge: SurgePolicy{
			Least: 20, Times: 4, Hold: 30 * time.Second, Entropy: 1.5, Uniform: 0.9, Unanswered: 0.8, Samples: 256,
		},
		Sizes:     Sizes{Strangers: 8192, Sources: 32768, Prefixes: 8192, Offences: 32768, Heavy: 1024, Services: 1024, Games: 255},
		Shared:    4,
		Blameless: []string{"no_server", "no_port", "no_route", "no_neighbor", "sessions_full", "sources_full", "race", "internal", "session_killed", "gate_missing", "answer_busy", "strangers_full"},
		Crowding: []string{
			"rate_sessions", "too_many_sessions", "rate_packets", "rate_bytes", "prefix_sessions", "prefix_packets", "prefix_bytes",
			"service_sessions", "service_packets", "service_bytes", "stranger_rate", "greylisted", "syn_proxy", "not_allowed", "geo",
		},
	}
}

// Check tells all that is wrong with a policy.
func (p *Policy) Check() error {
	var errs []error
	want := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("detect: %s", what))
		}
	}
	share := func(x float64) bool { return x >= 0 && x <= 1 }
	r := &p.Risk
	want(r.Window >= time.Second && r.Window <= time.Hour, "the risk's window is not between a second and an hour")
	want(r.Connections > 0 && r.GameConnections > 0 && r.Robotic > 0, "a bound of the risk is not above 0")
	want(share(r.ConnectionsWeight) && share(r.GameWeight) && share(r.RobotWeight), "a weight of the risk is not between 0 and 1")
	want(share(r.Above) && share(r.Flagged) && share(r.Vouched), "a threshold of the risk is not between 0 and 1")
	want(r.Round > 0 && r.Round <= r.Window, "the risk's rounding is not between 0 and its window")
	b := &p.Block
	want(b.First > 0 && b.Longest >= b.First && b.Unproven > 0 && b.Forgive > 0, "a block's duration is not above 0, or the longest is not the longest")
	want(b.Times >= 1 && b.Times <= 1000, "blocks do not grow by 1 to 1000 times")
	want(b.UnprovenPerSecond >= 0 && b.UnprovenPerSecond <= 1e6, "not 0 to a million sources are questioned a second")
	want(share(p.Flood.Share) && share(p.Sweep.Share) && share(p.Prefix.Share) && p.Churn.Even >= 0, "a share is not between 0 and 1")
	want(p.Flood.Connections > 0 && p.Flood.Nothing > 0 && p.Churn.Sessions > 0 && p.Sweep.Destinations > 0, "a bound of connections is not above 0")
	want(p.Churn.Regular >= 4 && p.Churn.Regular < ringSize, fmt.Sprintf("a rhythm is not of 4 to %d sessions", ringSize-1))
	want(p.Prefix.Blocked > 1 && p.Prefix.Nothing > 1, "a prefix of one source is no prefix")
	want(p.Heavy.Packets > 0 && p.Heavy.NetPackets > 0, "a bound of packets is not above 0")
	want(p.Heavy.Pause > 0 && p.Heavy.Unanswered > p.Heavy.Pause, "what no server answers is to go on for longer than a pause")
	s := &p.Surge
	want(s.Least > 0 && s.Times > 1 && s.Hold >= 0 && s.Entropy > 0 && share(s.Uniform) && share(s.Unanswered) && s.Samples > 0, "a bound of surges is out of its range")
	z := &p.Sizes
	want(z.Strangers > 0 && z.Sources > 0 && z.Prefixes > 0 && z.Offences > 0 && z.Heavy > 1 && z.Services > 0 && z.Games > 0 && z.Games <= 255, "a size is not above 0")
	want(p.Shared >= 2, "an address is shared from two people on")
	return errors.Join(errs...)
}

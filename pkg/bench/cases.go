// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"strings"

	"parry/pkg/spell"
)

// Names of floors that have one for all.
const (
	floorEmpty   = "empty"
	floorEmptyTC = "empty_tc"
)

// Target is what a case may cost, as a multiple of something measured in the same rounds.
type Target struct {
	Of    string  `json:"of"`    // floor or case
	Limit float64 `json:"limit"` // times
	Aim   bool    `json:"aim"`   // hoped for; missing it fails nothing
	Ratio float64 `json:"ratio"` // measured: median over the rounds
	OK    bool    `json:"ok"`
}

// Case is one way that a packet can take.
type Case struct {
	Name    string
	What    string // in a few words
	Floor   string
	Targets []Target
}

func atMost(limit float64, of string) Target { return Target{Of: of, Limit: limit} }
func aim(limit float64, of string) Target    { return Target{Of: of, Limit: limit, Aim: true} }

// Cases are all that can be measured, in the order of measuring.
func Cases() []Case {
	const tx, redirect = "established_udp4", "established_udp4_redirect"
	both := func(name, what, floor string, targets func(send string) []Target) []Case {
		return []Case{
			{name, what + ", XDP_TX", floor, targets("")},
			{name + "_redirect", what + ", by redirect", floor + "_redirect", targets("_redirect")},
		}
	}
	none := func(string) []Target { return nil }
	all := both(tx, "established UDP IPv4 NAT (limits, accounting, epoch, next hop)", "nat_floor4", func(send string) []Target {
		return []Target{atMost(1.15, "nat_floor4"+send), aim(4.5, floorEmpty)}
	})
	for _, n := range []string{"_10k", "_100k"} {
		all = append(all, both(tx+n, "the same, a random one of "+n[1:]+" flows", "nat_floor4"+n, func(send string) []Target {
			return []Target{atMost(1.25, "nat_floor4"+n+send)}
		})...)
	}
	all = append(all,
		Case{tx + "_wide", "the first with limits of prefix and service, shared addresses, places", "nat_floor4", []Target{atMost(1.03, tx)}},
		Case{tx + "_bumped", "the first with 25 policy bumps a second", "nat_floor4", []Target{atMost(1.05, tx)}},
		Case{tx + "_10k_bumped", "10k flows with 25 policy bumps a second", "nat_floor4_10k", []Target{aim(1.05, tx+"_10k")}},
		Case{tx + "_100k_bumped", "100k flows with 25 policy bumps a second", "nat_floor4_100k", []Target{aim(1.05, tx+"_100k")}})
	all = append(all, both(tx+"_down", "server to client through its NAT slot", "nat_floor4_down", none)...)
	all = append(all, both(tx+"_transparent", "established UDP IPv4, transparent", "nat_floor4_transparent", none)...)
	all = append(all, both("established_tcp4", "established TCP IPv4 NAT", "nat_floor4_tcp", func(send string) []Target {
		return []Target{atMost(1.1, tx+send)}
	})...)
	all = append(all, both("established_proxied", "the same behind the SYN proxy: numbers translated", "nat_floor4_tcp", func(send string) []Target {
		return []Target{atMost(1.3, "established_tcp4"+send)}
	})...)
	all = append(all, both("established_udp6", "established UDP IPv6 NAT", "nat_floor6", func(send string) []Target {
		return []Target{atMost(1.35, tx+send)}
	})...)
	all = append(all, watchCases(tx)...)
	return append(all, onceCases()...)
}

// watchCases are those of sessions that may be watched, beside ones that may not.
func watchCases(tx string) []Case {
	return []Case{
		{"established_unwatched", "the first where sessions may be watched; this one is not", "nat_floor4", []Target{atMost(1.02, tx)}},
		{"established_watched", "the first, watched: timed to the ns, numbers read", "nat_floor4", []Target{atMost(2.5, tx)}},
		{"established_unwatched6", "established_udp6 where sessions may be watched; this one is not", "nat_floor6", []Target{atMost(1.02, "established_udp6")}},
		{"established_watched6", "established_udp6, watched", "nat_floor6", []Target{atMost(2.5, "established_udp6")}},
	}
}

// onceCases are those of packets that are not forwarded, or whose sending is not what is looked at.
func onceCases() []Case {
	const known = "new_session_known_source"
	return []Case{
		{"blocked_host", "a listed address, counted and dropped: always the same", floorEmpty, []Target{atMost(4, floorEmpty)}},
		{"blocked_host_100k", "a random one of 100,000 listed addresses", floorEmpty, []Target{atMost(14, floorEmpty)}},
		{"blocked_host_1m", "a random one of 1,000,000 listed addresses", floorEmpty, []Target{atMost(36, floorEmpty)}},
		{"blocked_prefix", "in a random one of 4,000 listed prefixes", floorEmpty, []Target{atMost(5, floorEmpty)}},
		{"local_pass", "checked and passed to a server on this host", floorEmpty, []Target{atMost(4.5, floorEmpty)}},
		{"local_reply", "that server's reply, counted at TC egress", floorEmptyTC, nil},
		{known, "new session, NAT: lists, limits, server, port, two routes", floorEmpty, []Target{atMost(55, floorEmpty)}},
		{"new_session_unknown_source", "the same by a source that was never here", floorEmpty, []Target{atMost(75, floorEmpty)}},
		{"new_session_wide", "the first with limits of prefix and service, shared addresses, places", floorEmpty, []Target{atMost(1.25, known)}},
		{"new_session_ports_taken", "the first with 90 % of NAT's ports taken", floorEmpty, []Target{atMost(55, floorEmpty), atMost(1.25, known)}},
		{"source_flood", "a random port of 1,000 sources, refused by its service's gate", floorEmpty, []Target{atMost(5.5, floorEmpty)}},
		{"source_flood_10m", "the same of 10,000,000 sources", floorEmpty, []Target{atMost(5.5, floorEmpty)}},
		{"shape_flood", "source_flood to a game that is told by three shapes", floorEmpty, []Target{atMost(1.35, "source_flood")}},
		{"rules_other_100", "source_flood, beside a service that has 100 rules", floorEmpty, []Target{atMost(1.05, "source_flood")}},
		{"rules_10", "source_flood to a service with 10 rules: at most 3 ns each", floorEmpty, []Target{atMost(1.45, "source_flood")}},
		{"rules_established", "established_udp4, with 10 rules that sessions are asked by", floorEmpty, nil},
		{"greylist_flood", "a new source for each packet, to plain UDP under attack", floorEmpty, []Target{atMost(20, floorEmpty)}},
		{"a2s_challenge", "A2S_INFO of 25 bytes, answered by a challenge of 9", floorEmpty, []Target{atMost(9, floorEmpty)}},
		{"cookie_check", "A2S_PLAYER of 9 bytes with a right challenge, answered by 6", floorEmpty, []Target{atMost(9, floorEmpty)}},
		{"syn_cookie", "a SYN with 20 bytes of options, answered by a cookie with as many", floorEmpty, []Target{atMost(9, floorEmpty)}},
		{"ack_flood", "an ACK of no session without a cookie, dropped", floorEmpty, nil},
		{"a2s_cached", "A2S_INFO of 29 bytes with a right challenge, answered by 250", floorEmpty, []Target{atMost(16, floorEmpty)}},
		{"q3_info_cached", "getinfo of 15 bytes, answered by 210 within the budget", floorEmpty, nil},
		{"raknet_pong_cached", "a ping of 33 bytes, answered by 143 within the budget", floorEmpty, nil},
	}
}

// noCase says that no case's name matches what was asked for, and what names there are.
func noCase(pattern string) error {
	var names []string
	for _, c := range Cases() {
		names = append(names, c.Name)
	}
	list := strings.Join(names, ", ")
	if near, ok := spell.Nearest(pattern, names); ok {
		return fmt.Errorf("%w %q: did you mean %s? There are %s", ErrNoCase, pattern, near, list)
	}
	return fmt.Errorf("%w %q: there are %s", ErrNoCase, pattern, list)
}

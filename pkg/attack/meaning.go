// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"maps"
	"slices"
)

// meaning is what a drop reason says about an attack.
type meaning struct {
	kind    string // of attack; "" = it tells of none
	measure string // that was taken
	hostile bool   // it makes a service elevated or attacked. What a deny list keeps out doesn't
	pressed bool   // such a stranger came as far as stricter gates would have stopped it
}

// The kinds of attacks. randomSources and reflection are said with more detail where there is any.
const (
	randomSources = "random-source"
	fixedSources  = "fixed-source"
	queryFlood    = "query flood"
	connections   = "connection flood"
	reflection    = "reflection"
	fragments     = "fragments"
	malformed     = "malformed packets"
	impossible    = "impossible sources"
	badFirst      = "bad first packets"
	outOfState    = "tcp out of state"
	listed        = "listed sources"
)

// meanings are of reasons of the fast path (enum drop_reason, bpf/abi.h). Those that are none of an attack's (no server, no
// route) have none. Nobody changes it.
var meanings = makeMeanings()

func makeMeanings() map[string]meaning {
	all := map[string]meaning{}
	for _, m := range []struct {
		meaning
		reasons []string
	}{
		{meaning{randomSources, "greylist: a stranger has to come twice", true, true}, []string{"greylisted"}},
		{meaning{randomSources, "bound on sessions of strangers", true, true}, []string{"strangers_full"}},
		{meaning{randomSources, "bound on what the unproven send", true, false}, []string{"unproven_rate"}},
		{meaning{fixedSources, "limit on a stranger's packets", true, false}, []string{"stranger_rate"}},
		{meaning{fixedSources, "limits of a source", true, false}, []string{"rate_packets", "rate_bytes"}},
		{
			meaning{connections, "limits on new sessions of a source", true, false},
			[]string{"rate_sessions", "too_many_sessions", "sources_full", "sessions_full"},
		},
		{meaning{connections, "end of connections that say nothing", true, false}, []string{"silent"}},
		{meaning{badFirst, "gate: first packets that the game never sends", true, false}, []string{"gate_refused"}},
		{meaning{queryFlood, "limit on a source's queries", true, false}, []string{"query_rate", "answer_busy"}},
		{meaning{queryFlood, "budget of answers to unproven sources", true, true}, []string{"answer_budget"}},
		{meaning{reflection, "signatures of reflectors", true, false}, []string{"reflection"}},
		{meaning{fragments, "no fragments from strangers", true, false}, []string{"fragment_refused", "fragment_orphan", "bad_fragment"}},
		{meaning{impossible, "no impossible sources", true, false}, []string{"bad_address", "impossible_source"}},
		{meaning{outOfState, "no segments of no connection", true, false}, []string{"no_session"}},
		{
			meaning{malformed, "packets have to be sound", true, false},
			[]string{
				"packet_size", "bad_ethernet", "bad_ipv4", "bad_ipv6", "bad_extension", "bad_udp", "bad_tcp", "bad_icmp", "icmp_unrelated", "icmp_rate",
			},
		},
		{meaning{fixedSources, "limits of a prefix of sources", true, false}, []string{"prefix_packets", "prefix_bytes"}},
		{meaning{connections, "limits on new sessions of a prefix of sources", true, false}, []string{"prefix_sessions"}},
		{
			meaning{randomSources, "limits of all who are not proven", true, false},
			[]string{"service_packets", "service_bytes", "service_sessions"},
		},
		{meaning{listed, "rules about countries and networks", false, false}, []string{"geo"}},
		{meaning{listed, "deny and allow lists", false, false}, []string{"denied", "not_allowed"}},
		{meaning{connections, "proof of address from doubted sources", true, false}, []string{"doubted"}},
	} {
		for _, reason := range m.reasons {
			all[reason] = m.meaning
		}
	}
	return all
}

// Reasons are the drop reasons that mean something here.
func Reasons() []string { return slices.Sorted(maps.Keys(meanings)) }

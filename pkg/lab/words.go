// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// reasonWords says in words why the edge dropped something. A reason without words here is shown by its own name.
func reasonWords(reason string) string {
	words := map[string]string{
		"bad_ethernet":      "damaged: the frame is shorter than its own headers",
		"bad_ipv4":          "damaged: an IPv4 header that can't be",
		"bad_ipv6":          "damaged: an IPv6 header that can't be",
		"bad_extension":     "damaged: IPv6 extension headers that can't be",
		"bad_udp":           "damaged: a UDP header that can't be",
		"bad_tcp":           "damaged: a TCP header that can't be",
		"bad_icmp":          "damaged: an ICMP message that can't be",
		"bad_fragment":      "damaged: a fragment that can't be",
		"bad_address":       "its source address can't send anything",
		"denied":            "its source is on the block list",
		"not_allowed":       "its source is not on the allow list",
		"packet_size":       "larger than the service takes",
		"rate_packets":      "its source sends too many packets a second",
		"rate_bytes":        "its source sends too many bytes a second",
		"rate_sessions":     "its source opens too many sessions",
		"too_many_sessions": "its source has too many sessions open",
		"host_rate":         "more than the edge's own system may be sent in a second",
		"host_source_rate":  "more than one source may send to the edge's own system",
		"host_always_rate":  "more than ssh and the like may be sent in a second",
		"host_link_rate":    "too much ARP and the like",
		"no_server":         "no server takes players",
		"no_port":           "all ports for translation are taken",
		"no_route":          "no route to where it wants",
		"no_neighbor":       "the next hop is not known yet",
		"sessions_full":     "no room for another stranger",
		"sources_full":      "no room for another source",
		"no_session":        "TCP out of nowhere: no session, not a start of one",
		"fragment_orphan":   "a fragment whose first piece nobody saw",
		"fragment_refused":  "a stranger's first packet in pieces",
		"ttl":               "its time to live ran out",
		"too_big":           "too big for the way; its sender is told",
		"icmp_rate":         "too many ICMP errors",
		"icmp_unrelated":    "an ICMP error about no session",
		"race":              "two first packets at once, one was enough",
		"session_killed":    "its session was ended by hand a moment ago",
		"gate_refused":      "no first packet of this game",
		"gate_missing":      "the game's gate is not there",
		"stranger_rate":     "a stranger that sends too much",
		"greylisted":        "a stranger at first sight, under attack",
		"strangers_full":    "more strangers at once than are taken in",
		"prefix_packets":    "its neighbours and it send too many packets",
		"prefix_bytes":      "its neighbours and it send too many bytes",
		"prefix_sessions":   "its neighbours and it begin too many sessions",
		"service_packets":   "the unproven send this service too many packets",
		"service_bytes":     "the unproven send this service too many bytes",
		"service_sessions":  "the unproven begin too many sessions with this service",
		"geo":               "comes from a country or network that is not let in",
		"unproven_rate":     "goes on and on, and nobody answers",
		"answer_budget":     "an answer to who may not have asked",
		"query_rate":        "its source asks too often",
		"reflection":        "a reflector's answer",
		"impossible_source": "its source address is nobody's",
		"answer_queued":     "a query that the daemon answers",
		"answer_busy":       "a query, and too many before it",
		"silent":            "connected, and said nothing",
		"rule":              "a rule of the operator's",
		"rule_limit":        "over a limit of a rule of the operator's",
		"bad_cookie":        "TCP out of nowhere, without the edge's cookie",
		"tcp_flags":         "TCP flags that nobody sends together",
		"tcp_state":         "TCP that can't be of its session",
		"doubted":           "of an address that has to prove itself",
		"syn_proxy":         "the edge is connecting its server: it is sent again",
		"conntrack_full":    "connection tracking has no room (plain edge)",
		"conntrack_insert":  "two connections wanted one place or port (plain edge)",
		"conntrack_evicted": "connection tracking threw out another for it (plain edge)",
		"internal":          "the edge itself failed at it",
	}
	if w, ok := words[reason]; ok {
		return w
	}
	return strings.ReplaceAll(reason, "_", " ")
}

// byCount lists reasons, the most frequent first.
func byCount(drops map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(drops), func(a, b string) int {
		return cmp.Or(cmp.Compare(drops[b], drops[a]), cmp.Compare(a, b))
	})
}

func sumOf(drops map[string]uint64) uint64 {
	var n uint64
	for _, v := range drops {
		n += v
	}
	return n
}

// grouped writes a number with its thousands apart.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short writes a large number as people say it.
func short(n uint64) string {
	switch {
	case n >= 10_000_000:
		return fmt.Sprintf("%d million", (n+500_000)/1_000_000)
	case n >= 1_000_000:
		return fmt.Sprintf("%.1f million", float64(n)/1e6)
	}
	return grouped(n)
}

// millis writes a time as milliseconds with as many digits as are of use.
func millis(d time.Duration) string {
	m := float64(d) / float64(time.Millisecond)
	switch {
	case m >= 100:
		return fmt.Sprintf("%.0f ms", m)
	case m >= 10:
		return fmt.Sprintf("%.1f ms", m)
	}
	return fmt.Sprintf("%.2f ms", m)
}

// SPDX-License-Identifier: Apache-2.0

// Package explain says in words for players and their supporters what an edge does with an address. What it says can be
// pasted to anybody: nothing in it helps to get around the edge.
package explain

// reason is a drop reason in two lengths: what it means, and what a player can do; "" = nothing.
type reason struct{ means, do string }

const (
	again   = "Close the game, wait a minute and join again."
	network = "If others share your connection (a dormitory, a mobile network, a café), tell us: we can widen the limit."
)

// reasons are those that an address can meet. Those that are missing are faults of the edge or of its network.
func reasons() map[string]reason {
	damaged := reason{"a packet was damaged on its way", "If that goes on, look at your connection, a VPN or a tunnel."}
	busy := reason{"so many packets came at once that the edge had to choose", again}
	table := reason{"the edge was full at that moment", again}
	way := reason{"the edge had no way to the game server, or back to you, at that moment", "That is ours to mend: tell us when it was."}
	many := reason{"more packets came than one player sends", network}
	sessions := reason{"more connections were begun than one player needs", "Wait a minute before you join again. " + network}
	crowd := reason{"together with others in your network, more came than the edge takes in", network}
	noGame := reason{"the first packet was not one that the game sends", "Use the game's own client, in its newest version, and no server browser or tool beside it."}
	return map[string]reason{
		"bad_ethernet": damaged, "bad_ipv4": damaged, "bad_ipv6": damaged, "bad_extension": damaged, "bad_udp": damaged, "bad_tcp": damaged,
		"bad_icmp": damaged, "bad_fragment": damaged, "fragment_orphan": damaged,
		"bad_address": {"a packet came with an address that nobody can have", ""}, "impossible_source": {"a packet came with an address that nobody can have", ""},
		"denied":        {"the address is blocked", "If you think that is a mistake, answer with your player name and when you last played."},
		"not_allowed":   {"this service is for invited players", "Ask for an invitation."},
		"packet_size":   {"a packet was longer than the game's", "A VPN or a modified client may do that."},
		"rate_packets":  many,
		"rate_bytes":    {"more data came than one player sends", network},
		"rate_sessions": sessions, "too_many_sessions": sessions,
		"prefix_packets": crowd, "prefix_bytes": crowd, "prefix_sessions": crowd,
		"service_packets": busy, "service_bytes": busy, "service_sessions": busy,
		"host_rate": {"packets came for no game of ours", ""}, "host_source_rate": {"packets came for no game of ours", ""},
		"host_always_rate": {"packets came for no game of ours", ""}, "host_link_rate": {"packets came for no game of ours", ""},
		"no_server": {"no game server was there to take new players", again},
		"no_port":   table, "sessions_full": table, "sources_full": table, "strangers_full": busy,
		"no_route": way, "no_neighbor": way, "too_big": way, "ttl": way, "internal": way,
		"no_session":       {"a connection went on that the edge does not know any more", "Join again: the game has to connect anew."},
		"icmp_rate":        {"a network's error message was not passed on", ""},
		"icmp_unrelated":   {"an error message came about a connection that is not there", ""},
		"race":             {"one packet was lost as the connection began", ""},
		"session_killed":   {"the connection was ended by a person", "Ask the operator of the game."},
		"fragment_refused": {"the first packet came in pieces", "A VPN or a tunnel may do that: try without."},
		"gate_refused":     noGame,
		"gate_missing":     {"nobody new could be let in", "That is ours to mend: tell us when it was."},
		"stranger_rate":    many,
		"greylisted":       {"during an attack, whom the edge does not know has to knock twice", "The game does that by itself: give it some seconds."},
		"unproven_rate":    {"packets went on coming, and the game server did not answer", again},
		"answer_budget":    {"an answer was held back until your address is proven", again},
		"query_rate":       {"the server list was asked too often", "Close other server browsers."},
		"answer_busy":      {"the server list was asked more than could be answered", again},
		"answer_queued":    {"a question was answered in another way; nothing was lost", ""},
		"reflection":       {"packets looked like answers that nobody asked for, as attackers forge them", "Somebody may be misusing your address, or you use a port like 53, 123 or 1900 behind a VPN."},
		"silent":           {"a connection was opened and nothing was said", again},
		"geo":              {"this service is for players of certain countries or networks", "Play without a VPN, if you use one."},
		"rule":             {"a rule of the operator's refuses it", "Ask the operator of the game."},
		"rule_limit":       {"a rule of the operator's limits it", "Ask the operator of the game."},
		"bad_cookie":       {"a connection went on that had not begun here", again},
		"tcp_flags":        {"a packet was one that no computer sends by itself", "A firewall or a tool between you and us may do that."},
		"tcp_state":        {"a packet did not fit to its connection", again},
		"doubted":          {"somebody attacks in your address's name, so it has to prove itself for a minute", again},
		"syn_proxy":        {"the connection was answered by the edge first; nothing was lost", ""},
	}
}

// Reason says what a drop reason means.
func Reason(name string) string {
	if r, ok := reasons()[name]; ok {
		return r.means
	}
	return "the edge dropped it (" + name + ")"
}

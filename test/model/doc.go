// SPDX-License-Identifier: Apache-2.0

// Package model says what is to happen to a packet: a small edge in plain Go, written to be read. It is what the fast path
// in bpf/ is compared with, packet by packet (test/diff), and knows nothing of it. There is one CPU and one packet at a
// time; nothing is fast, nothing is shared, and nothing is counted in anything but what the rule says.
//
// Edge.Receive is the way of a packet; each other file answers one question about it:
//
//	parse.go     what is this packet?
//	session.go   what is a session, and does this packet belong to one?
//	forward.go   what becomes of a packet of a session?
//	admit.go     may a stranger begin one, and with which server?
//	stranger.go  may one more stranger come in?
//	gate.go, gate_*.go  is it a believable first packet of its game?
//	cookie.go    who echoes what was sent to him?
//	answer.go, cache.go  what does the edge answer itself, and how much to those who have proven nothing?
//	greylist.go  did it come before?
//	sketch.go, prefix.go  how much do strangers send, and what does a prefix get?
//	unproven.go  who goes when a stranger comes?
//	proof.go     is its client where it says it is?
//	first.go     what does a TCP client say first?
//	reflection.go  is it a reflector's answer?
//	policy.go    is its source refused or welcome?
//	limit.go     is it sending too much?
//	rate.go      what is a rate?
//	nat.go       by which address and port does a server see its player?
//	hop.go       where does it leave?
//	rewrite.go   what is changed in it on the way?
//	fragment.go  what of a packet's parts?
//	icmp.go      is it an error about a session?
//	toobig.go    what if it is too large for its way?
//	host.go      what is left for this host, and within what budgets?
//	local.go     what of the answers of a server on this host?
//	life.go      when does a session end, and may it come back?
//	config.go    what does the configuration say?
//	count.go     what is counted?
//
// Time, chance and routes are the caller's: Now, Chance and Route are set from outside. Where a rule needs a unit (a tick,
// the grain of a rate), it is said where the unit is declared.
package model

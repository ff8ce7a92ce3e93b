// SPDX-License-Identifier: Apache-2.0

package history

import (
	"net/netip"
	"strings"
	"time"
)

// Whose doing it was that a session ended.
const (
	ByClient = "client" // TCP: it reset the connection, or closed it first
	ByServer = "server"
	ByIdle   = "idle"   // neither side sent anything any more
	ByPath   = "path"   // what it sent found no way
	ByBlock  = "block"  // its client was refused: a block list, an allow list, a rule, a place
	ByLimit  = "limit"  // what it sent was over a limit; or it was never let in: silent, or pushed out by newer strangers
	ByDrain  = "drain"  // its server was taken out of its pool (or its service out of the configuration) before it went quiet
	ByKilled = "killed" // by hand
	ByEdge   = "edge"   // trouble of the edge's own
)

// EndedBy are all of them.
func EndedBy() []string {
	return []string{ByClient, ByServer, ByIdle, ByPath, ByBlock, ByLimit, ByDrain, ByKilled, ByEdge}
}

// Witness is what is known of a session's end beside the word that the fast path has for it.
type Witness struct {
	ClientLast bool   // the last packet that passed was its client's
	Dropped    string // why packets of its were dropped after that ("" = none are known to be)
	Denied     bool   // an entry that came as its packets ceased to pass keeps its client out
	Gone       bool   // its server is in the pool no more
}

// Ending says whose doing an end was. by is the fast path's word: idle, closed, client, server, killed, evicted or silent.
func Ending(by string, w Witness) string {
	switch by {
	case ByClient, ByKilled:
		return by
	case "evicted", "silent":
		return ByLimit
	case "closed": // who closes first has the last word, which acknowledges the other's end
		if w.ClientLast {
			return ByClient
		}
		by = ByServer
	case ByServer, ByIdle:
	default:
		return ByEdge
	}
	if by == ByIdle {
		if word := cause(w.Dropped); word != "" {
			return word
		}
		if w.Denied {
			return ByBlock
		}
	}
	if w.Gone {
		return ByDrain
	}
	return by
}

// cause is the word for a drop reason by which all that a session sends may be dropped; "" for those that spoil single packets.
func cause(reason string) string {
	switch reason {
	case "denied", "doubted", "not_allowed", "geo", "rule":
		return ByBlock
	case "packet_size", "rule_limit", "unproven_rate", "answer_budget":
		return ByLimit
	case "no_route", "no_neighbor", "too_big":
		return ByPath
	case "session_killed":
		return ByKilled
	case "internal", "no_server", "no_port", "sessions_full", "sources_full", "gate_missing":
		return ByEdge
	}
	for _, level := range []string{"rate_", "prefix_", "service_"} {
		if strings.HasPrefix(reason, level) {
			return ByLimit
		}
	}
	return ""
}

// Tuple is a session's outer addresses.
type Tuple struct {
	Client, Front netip.AddrPort
	Proto         uint8
}

// insists is how long after the last packet that passed another was dropped, so that the drops ended it: a burst that was over a limit, and
// then silence, is an end of the client's own.
const insists = time.Second

// dropsMost is how many sessions' drops are remembered: a minute of the most that samples tell of.
const dropsMost = 1 << 15

// Drops remembers of which sessions packets were dropped lately, and why, by single samples; whoever was sampled least lately is forgotten
// first. It is used by one goroutine.
type Drops struct{ young, old map[Tuple]drop }

type drop struct {
	reason uint8
	at     uint64 // CLOCK_MONOTONIC, ns
}

// NewDrops makes one that remembers nothing.
func NewDrops() *Drops { return &Drops{young: map[Tuple]drop{}, old: map[Tuple]drop{}} }

// Note remembers that a packet was dropped.
func (d *Drops) Note(t Tuple, reason uint8, at uint64) {
	if _, ok := d.young[t]; !ok && len(d.young) >= dropsMost/2 {
		d.old, d.young = d.young, d.old
		clear(d.young)
	}
	d.young[t] = drop{reason, at}
}

// After is the reason for which packets of a session were dropped well after the last one that passed, and forgets it; 0 = none is known.
func (d *Drops) After(t Tuple, last uint64) (reason uint8) {
	v, ok := d.young[t]
	if !ok {
		v, ok = d.old[t]
	}
	delete(d.young, t)
	delete(d.old, t)
	if !ok || v.at < last+uint64(insists) {
		return 0
	}
	return v.reason
}

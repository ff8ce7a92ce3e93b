// SPDX-License-Identifier: Apache-2.0

// Package metrics shows what the edge counts as Prometheus metrics. Nothing is kept here: each scrape asks a
// Source for one Snapshot and turns it into constant metrics, so a scrape costs what reading the maps costs and
// the figures are those of bpftool and the CLI.
//
// Labels are closed sets: services, directions, reasons, states, limits, maps. No address ever becomes a label.
package metrics

import (
	"context"
	"time"
)

// Source gives the figures of one moment. It is called once a scrape, from one goroutine at a time.
type Source interface {
	Snapshot(ctx context.Context) (*Snapshot, error)
}

// Snapshot is what the edge counted up to one moment. Counters are totals since the maps were made, which may be
// longer ago than the daemon's start.
type Snapshot struct {
	Version, GoVersion string // of the daemon
	Enforce            bool   // false: verdicts are counted, policy drops nothing

	Interfaces []Interface
	Services   []Service
	Host       Direction         // packets handed to this host's own stack
	Drops      map[string]uint64 // packets that belonged to no service, by reason
	WouldDrop  map[string]uint64 // the same, where enforce is off
	Maps       []Map
	Strangers  Strangers
	Samples    map[string]map[string]uint64 // single packets that were to be told of, by kind and what became of them: taken, lost, passed_over
	Detect     Detect
	Watching   Watching
	State      State
	Daemon     Daemon
}

// Detect is how the detector of attackers is doing.
type Detect struct {
	Observations, Decisions, Suppressed, Evicted, Lost uint64
	Tracked                                            map[string]uint64  // strangers, sources, prefixes
	Delay                                              map[string]float64 // seconds from the packet that completed the evidence to the block, by quantile, of the latest 4096
}

// Watching is how sessions are watched.
type Watching struct {
	Share             float64 // of all
	Sessions          int     // that are
	PacketsPerSecond  float64 // of those
	Bad               int     // of them, that fare badly
	Cells, CellsTaken int     // one a direction of a session
	Full              uint64  // times that one found none
}

// Strangers is how full the tables for strangers are, which all services share.
type Strangers struct {
	GreylistFill, SketchLoad float64 // shares of 0 to 1
	UnprovenSlots            uint64  // for sessions of strangers
}

// Interface is one interface that the edge is configured on.
type Interface struct {
	Name, Mode string // mode: native or generic
	Protected  bool   // the program is attached there now
}

// Service is what one service counted.
type Service struct {
	Name      string
	State     string            // normal, elevated or attack
	Enforce   bool              // this service's own switch and the edge's
	Up        *Direction        // from players; nil where the edge doesn't see this direction
	Down      *Direction        // from servers; nil where the edge doesn't see this direction
	Drops     map[string]uint64 // packets by reason
	WouldDrop map[string]uint64 // packets by reason, where enforce is off
	Sessions  map[string]uint64 // sessions by state: unproven, proven, closing
	Strangers map[string]uint64 // first packets by what became of them, and sessions by how they were proven
	Moves     map[string]uint64 // how often it came to be in a state, since the daemon's start
	Usual     float64           // strangers a second
	// StrictGates says that strangers have to prove more than usual.
	StrictGates bool
	Limits      map[string]uint64 // configured limits by name, as in the configuration; 0 = unlimited
	Answers     map[string]Answers
}

// Answers sums up what is kept of a service's servers' answers of one kind: info, players, rules, status or pong.
type Answers struct {
	Fresh, Stale uint64        // servers; queries to those of stale answers go to them
	Oldest       time.Duration // age of the oldest answer
	Errors       uint64        // attempts to ask that failed
}

// Direction counts what came from one side.
type Direction struct {
	Packets, Bytes uint64            // all that came, dropped ones included
	Verdicts       map[string]uint64 // packets by verdict: pass, drop, tx, redirect, aborted
}

// Map is how full one of the maps is.
type Map struct {
	Name              string
	Entries, Capacity uint64
}

// Daemon is the health of the daemon itself.
type Daemon struct {
	Uptime         time.Duration
	Reloads        uint64            // reloads that were applied
	FailedReloads  uint64            // reloads that were refused; the old configuration stayed
	LastReload     time.Time         // zero: none since the start
	LastReloadOK   bool              // of the last one; true when there was none
	LastSweep      time.Duration     // how long the last sweep over the session table took
	NetlinkResyncs uint64            // full reads of links, neighbours and routes after lost messages
	Asked          map[string]uint64 // queries that the fast path left to the daemon, by what became of them: answered, refused, stale, failed
	AskedPackets   uint64            // that were sent for them
	Errors         map[string]uint64
}

// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"sync/atomic"
	"time"
)

// Group is what a packet of the lab's players belongs to.
type Group int

// The groups. A player's first packets, until its server welcomes it, are Joining whoever it is: an edge may refuse
// a stranger's first packet, and that breaks no promise.
const (
	Established Group = iota // in a match before the attack
	New                      // joined while it went on
	Suspect                  // the one that the lab blocks to show it
	Joining
	groups
)

// maxPhases bounds the score sheet: the meters have room for 1024 cells.
const maxPhases = 64

// cell is the place in the score sheet of a phase's group; packets carry it.
func cell(phase int, g Group) uint16 { return uint16(phase*int(groups) + int(g)) }

// Score is what the two ends counted by phase and group, while playing.
type Score struct {
	phase atomic.Int64
	cells [maxPhases * int(groups)]scoreCell
}

type scoreCell struct {
	sent       atomic.Uint64 // by players
	atServer   atomic.Uint64 // received there
	fromServer atomic.Uint64 // sent by servers
	received   atomic.Uint64 // by players
}

// Tally is one or more cells added up. Packets that were sent and not received were lost somewhere end to end.
type Tally struct {
	Sent, AtServer, FromServer, Received uint64
}

// setPhase says to which phase packets belong that are sent from now on.
func (s *Score) setPhase(phase int) { s.phase.Store(int64(phase)) }

// cell is the cell that a packet sent now belongs to.
func (s *Score) cell(g Group) uint16 { return cell(int(s.phase.Load()), g) }

// at returns the cell with that number, nil for one that no player could have sent.
func (s *Score) at(c uint16) *scoreCell {
	if int(c) >= len(s.cells) {
		return nil
	}
	return &s.cells[c]
}

// Tally adds up a group over phases; without phases, over all of them.
func (s *Score) Tally(g Group, phases ...int) Tally {
	if len(phases) == 0 {
		for p := range maxPhases {
			phases = append(phases, p)
		}
	}
	var t Tally
	for _, p := range phases {
		c := &s.cells[cell(p, g)]
		t.Sent += c.sent.Load()
		t.AtServer += c.atServer.Load()
		t.FromServer += c.fromServer.Load()
		t.Received += c.received.Load()
	}
	return t
}

// sample is one answer's round-trip time and the phase in which its question was sent.
type sample struct {
	phase int
	rtt   time.Duration
}

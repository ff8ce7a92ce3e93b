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
	// Stranger is an attacker that plays, or says what players say: its packets are in no cell.
	Stranger Group = -1
)

const (
	// maxPhases bounds the score sheet: the meters have room for 1024 cells.
	maxPhases = 64
	// noCell is the cell of packets that are not the players'.
	noCell = 0xffff
)

// cell is the place in the score sheet of a phase's group and game; packets carry it.
func cell(phase int, g Group, game gameID) uint16 {
	if g == Stranger {
		return noCell
	}
	return uint16((phase*int(groups)+int(g))*int(games) + int(game))
}

// phaseOf is the phase that a cell is of.
func phaseOf(cell uint16) int { return int(cell) / int(groups) / int(games) }

// Score is what the two ends counted by phase, group and game, while playing.
type Score struct {
	phase atomic.Int64
	cells [maxPhases * int(groups) * int(games)]scoreCell
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
func (s *Score) cell(g Group, game gameID) uint16 { return cell(int(s.phase.Load()), g, game) }

// at returns the cell with that number, nil for one that no player could have sent.
func (s *Score) at(c uint16) *scoreCell {
	if int(c) >= len(s.cells) {
		return nil
	}
	return &s.cells[c]
}

// Tally adds up a group over phases; without phases, over all of them.
func (s *Score) Tally(g Group, phases ...int) Tally {
	var t Tally
	for game := range games {
		t.add(s.tally(g, game, phases...))
	}
	return t
}

func (t *Tally) add(u Tally) {
	t.Sent += u.Sent
	t.AtServer += u.AtServer
	t.FromServer += u.FromServer
	t.Received += u.Received
}

// tally is Tally of one game.
func (s *Score) tally(g Group, game gameID, phases ...int) Tally {
	var t Tally
	if len(phases) == 0 {
		for p := range maxPhases {
			phases = append(phases, p)
		}
	}
	for _, p := range phases {
		c := &s.cells[cell(p, g, game)]
		t.add(Tally{c.sent.Load(), c.atServer.Load(), c.fromServer.Load(), c.received.Load()})
	}
	return t
}

// lost is how many of a group's packets in a game were in at the edge and not out of it, both ways. up and down are what
// the meters behind it counted by cell.
func (s *Score) lost(up, down []uint64, g Group, game gameID, phases []int) uint64 {
	var n uint64
	for _, p := range phases {
		c := cell(p, g, game)
		t := s.tally(g, game, p)
		n += subtract(t.Sent, up[c]) + subtract(t.FromServer, down[c])
	}
	return n
}

// sample is one answer's round-trip time and the phase in which its question was sent.
type sample struct {
	phase int
	rtt   time.Duration
}

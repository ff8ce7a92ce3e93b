// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"math/bits"
	"time"
)

const (
	ringSize  = 24
	slots     = 12
	retry     = int64(10 * time.Second) // the same port again within it is the same attempt
	term      = int64(5 * time.Minute)  // what came of connections is remembered for one to two terms
	peopleFor = int64(30 * time.Minute) // and who plays at an address for one to two of these
	mostLast  = 4096                    // sessions that last at one address, beyond which a leak is likelier than people
)

// States of a conn.
const (
	proven  = 1 << iota
	refused // for what it did
	crowded // refused by a limit
	ended
	nothing // it came to nothing: its client left at once, or never played
	played  // it lasted
	byHand  // its client said that it leaves
	idled   // as nothing, of one that proved its address weakly
	late    // a limit refused it at first, or for good
)

// conn is one of a source's latest connections.
type conn struct {
	at            int64
	service, port uint16
	state         uint16
	game          uint8
}

// history is what is known of one source. It holds no pointers, and 24 connections at most.
type history struct {
	conns       [ringSize]conn
	made        uint32 // connections there were; the latest is at (made-1) % ringSize
	all, proven rhythm
	counts      window
	weighed     int64 // when a connection last stood for several, 0 = never
	strong      int64 // when it last proved its address, 0 = never
	turned      int64 // when the first of the next three began
	bad, good   [2]uint16
	idle        [2]uint16 // as bad, of those that proved their address weakly
	dests       [2]spread
	lasting     uint16 // sessions that last now
	peak        [2]uint16
	peakTurned  int64
	player      int64 // when it was last known to be one, 0 = never
}

// window counts in slots, for numbers that the ring is too small for.
type window struct {
	slot        int64 // number of the slot that is counted in
	all, proven [slots]uint32
}

func (w *window) turn(now, width int64) {
	slot := now / width
	if slot-w.slot >= slots {
		*w = window{slot: slot}
	}
	for w.slot < slot {
		w.slot++
		w.all[w.slot%slots], w.proven[w.slot%slots] = 0, 0
	}
}

func (w *window) sum() (all, proven int) {
	for i := range w.all {
		all, proven = all+int(w.all[i]), proven+int(w.proven[i])
	}
	return all, proven
}

// spread estimates how many different things there were, up to some 300.
type spread [2]uint64

func (s *spread) add(hash uint64) { s[hash>>6&1] |= 1 << (hash & 63) }

// turnOver forgets what is too old.
func (h *history) turnOver(now int64) {
	if now-h.turned >= term {
		if now-h.turned >= 2*term {
			h.bad[0], h.good[0], h.idle[0], h.dests[0] = 0, 0, 0, spread{}
		}
		h.turned = now
		h.bad[1], h.good[1], h.idle[1], h.dests[1] = h.bad[0], h.good[0], h.idle[0], h.dests[0]
		h.bad[0], h.good[0], h.idle[0], h.dests[0] = 0, 0, 0, spread{}
	}
	if now-h.peakTurned >= peopleFor {
		if now-h.peakTurned >= 2*peopleFor {
			h.peak = [2]uint16{}
		}
		if !h.playing(now) { // ends were missed
			h.lasting = 0
		}
		h.peakTurned = now
		h.peak = [2]uint16{h.lasting, h.peak[0]}
	}
}

// begin takes in an attempt; fresh = false: it is one that is known already.
func (h *history) begin(now int64, service, port uint16, game uint8) (c *conn, fresh bool) {
	if port != 0 {
		if c := h.open(service, port); c != nil && now-c.at < retry {
			return c, false
		}
	}
	c = &h.conns[h.made%ringSize]
	h.made++
	*c = conn{at: now, service: service, port: port, game: game}
	return c, true
}

// open finds the latest connection of that port that has not ended; of an unknown port, the latest to that service.
func (h *history) open(service, port uint16) *conn {
	for i := range h.known() {
		c := h.back(i)
		if c.service == service && c.state&ended == 0 && (port == 0 || c.port == 0 || c.port == port) {
			return c
		}
	}
	return nil
}

// unproven finds the connection that a proof is about: of an unknown port, the first that lacks one.
func (h *history) unproven(service, port uint16) *conn {
	if port != 0 {
		if c := h.open(service, port); c != nil {
			return c
		}
	}
	for i := h.known() - 1; i >= 0; i-- {
		if c := h.back(i); c.service == service && c.state&(ended|proven) == 0 && (port == 0 || c.port == 0) {
			return c
		}
	}
	return nil
}

func (h *history) known() int { return int(min(h.made, ringSize)) }

// back is the i-th connection before the latest.
func (h *history) back(i int) *conn { return &h.conns[(h.made-1-uint32(i))%ringSize] }

// people is how many play at the address, or did lately; at least 1.
func (h *history) people() int { return max(int(h.peak[0]), int(h.peak[1]), int(h.lasting), 1) }

// playing: somebody there plays, or did within the hour.
func (h *history) playing(now int64) bool { return h.player != 0 && now-h.player < 2*peopleFor }

// scale is how many times as much as one player's is to be allowed.
func (h *history) scale(shared int) int {
	if n := h.people(); n >= shared {
		return n
	}
	return 1
}

// fates counts what became of connections lately.
func (h *history) fates() (bad, good int) {
	return int(h.bad[0]) + int(h.bad[1]), int(h.good[0]) + int(h.good[1])
}

// fresh counts connections whose fate is open.
func (h *history) fresh(now int64) (n int) {
	for i := range h.known() {
		c := h.back(i)
		if c.state&proven != 0 && c.state&(ended|refused|crowded|played) == 0 && now-c.at < int64(30*time.Second) {
			n++
		}
	}
	return n
}

// destinations estimates to how many different ones it connected, by linear counting.
func (h *history) destinations() int { return distinct(h.dests[0], h.dests[1]) }

func distinct(a, b spread) int {
	n := bits.OnesCount64(a[0]|b[0]) + bits.OnesCount64(a[1]|b[1])
	// 128·ln(128/(128-n)), in steps of 8 for no logarithm where attempts are counted
	steps := [17]int{0, 8, 17, 27, 37, 48, 60, 74, 89, 106, 125, 148, 177, 214, 266, 355, 500}
	i := n / 8
	if i == len(steps)-1 {
		return steps[i]
	}
	return steps[i] + (steps[i+1]-steps[i])*(n%8)/8
}

// forgive forgets what was evidence, once it has led to a decision: it is used once. Who plays there stays known.
func (h *history) forgive() {
	h.made, h.conns = 0, [ringSize]conn{}
	h.all, h.proven, h.counts = rhythm{}, rhythm{}, window{}
	h.bad, h.good, h.idle, h.dests = [2]uint16{}, [2]uint16{}, [2]uint16{}, [2]spread{}
}

func inc(n *uint16) {
	if *n < 1<<16-1 {
		*n++
	}
}

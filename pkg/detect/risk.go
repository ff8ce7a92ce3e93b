// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"time"
)

// score is the risk of a source's connections within the window, and what makes it up.
type score struct {
	risk               float64
	fast, one, robot   bool // the three factors
	connections, limit int
	proven             int // of connections
	game, gameLimit    int // to one game
	gameID             uint8
	gameService        uint16 // that stands for a game that is not known
	inRhythm           int
	step               time.Duration
	scale              int // how many people it is allowed for
}

// score is the specification's risk; onlyProven: as far as connections proved the address.
func (d *Detector) score(h *history, now int64, onlyProven bool) (r score) {
	p := &d.p.Risk
	since := now - int64(p.Window)
	r.scale = h.scale(d.p.Shared)
	r.limit, r.gameLimit = p.Connections*r.scale, p.GameConnections*r.scale
	all, sure := h.within(since, now, int64(p.Window)/slots)
	r.connections, r.proven = all, sure
	if onlyProven && !d.vouches(sure, r.scale) {
		r.connections = sure
	}
	r.game, r.gameID, r.gameService = h.oneGame(since, onlyProven)
	beat, of := &h.all, all
	if onlyProven {
		beat, of = &h.proven, sure
	}
	if n := h.ringed(since, onlyProven); n > 0 && of > n { // more than are remembered: the latest stand for all
		r.game = max(r.game, r.game*of/n)
	}
	r.inRhythm, r.step = of, time.Duration(beat.step*int64(p.Round))
	r.fast, r.one = r.connections > r.limit, r.game > r.gameLimit
	r.robot = of > p.Robotic && beat.even(since)
	for _, f := range []struct {
		yes    bool
		weight float64
	}{{r.fast, p.ConnectionsWeight}, {r.one, p.GameWeight}, {r.robot, p.RobotWeight}} {
		if f.yes {
			r.risk += f.weight
		}
	}
	r.risk = min(r.risk, 1)
	return r
}

// vouches tells whether so many connections were proven that unproven ones count beside them: of an address that begins sessions up to
// its limit the rest is refused before it proves anything.
func (d *Detector) vouches(sure, scale int) bool {
	return float64(sure) >= d.p.Risk.Vouched*float64(d.p.Risk.Connections*scale)
}

// within counts connections after since: by the ring where it holds them all, else by slots.
func (h *history) within(since, now, width int64) (all, sure int) {
	for i := range h.known() {
		c := h.back(i)
		if c.at <= since {
			continue
		}
		all++
		if c.state&proven != 0 {
			sure++
		}
	}
	h.counts.turn(now, width)
	manyAll, manySure := h.counts.sum()
	if all == ringSize {
		return max(all, manyAll), max(sure, manySure)
	}
	if h.weighed > since { // samples stand for more than themselves
		return max(all, manyAll), sure
	}
	return all, sure
}

// oneGame is the game that most of the remembered connections after since went to. A game that is not known is its service.
func (h *history) oneGame(since int64, onlyProven bool) (most int, game uint8, service uint16) {
	for i := range h.known() {
		a := h.back(i)
		if a.at <= since || onlyProven && a.state&proven == 0 {
			continue
		}
		n := 0
		for j := range h.known() {
			b := h.back(j)
			if b.at > since && b.game == a.game && (a.game != 0 || a.service == b.service) && (!onlyProven || b.state&proven != 0) {
				n++
			}
		}
		if n > most {
			most, game, service = n, a.game, a.service
		}
	}
	return most, game, service
}

func (h *history) ringed(since int64, onlyProven bool) (n int) {
	for i := range h.known() {
		if c := h.back(i); c.at > since && (!onlyProven || c.state&proven != 0) {
			n++
		}
	}
	return n
}

// facts puts a score in words.
func (d *Detector) facts(r *score) []Fact {
	p := &d.p.Risk
	var all []Fact
	window := p.Window.Seconds()
	if r.fast {
		all = append(all, fact("connections", float64(r.connections), float64(r.limit),
			"%d connections in %g s, more than %d (%d of them proved the address)", r.connections, window, r.limit, r.proven))
	}
	if r.one {
		what := d.gameName(r.gameID)
		if what == "" {
			what = fmt.Sprintf("service %d", r.gameService)
		}
		all = append(all, fact("game_connections", float64(r.game), float64(r.gameLimit),
			"%d of them to %s, more than %d", r.game, what, r.gameLimit))
	}
	if r.robot {
		all = append(all, fact("interval_s", r.step.Seconds(), 0,
			"%d in a row, each %.1f s after the other", r.inRhythm, r.step.Seconds()))
	}
	if r.scale > 1 {
		all = append(all, fact("people", float64(r.scale), 0, "%d play at that address: it is allowed so many times as much", r.scale))
	}
	return all
}

// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"net/netip"
	"time"
)

// Factor is one of the risk's three.
type Factor struct {
	Name   string  `json:"name"` // connections, one_game, robotic
	Value  float64 `json:"value"`
	Limit  float64 `json:"limit"`
	Weight float64 `json:"weight"`
	Holds  bool    `json:"holds"`
}

// Standing is all that is known of a source now.
type Standing struct {
	Source       netip.Prefix  `json:"source"`
	Known        bool          `json:"known"` // false: nothing, and the rest says nothing
	Proven       bool          `json:"proven"`
	Player       bool          `json:"player"` // somebody there plays, or did within the hour
	People       int           `json:"people"` // who play there at once, as far as seen
	Risk         float64       `json:"risk"`   // of connections that proved the address: above 0.8 it is blocked
	RiskAll      float64       `json:"risk_all"`
	Factors      []Factor      `json:"factors"`
	Connections  int           `json:"connections"` // within the window
	Game         string        `json:"game"`        // that most of them went to
	Nothing      int           `json:"nothing"`     // in five to ten minutes: that came to nothing
	Lasted       int           `json:"lasted"`
	Destinations int           `json:"destinations"`
	Blocked      bool          `json:"blocked"`
	Reason       string        `json:"reason"`
	Left         time.Duration `json:"left_ns"`    // of the block
	Offences     int           `json:"offences"`   // as they count now
	Refused      uint32        `json:"refused"`    // attempts while it was blocked
	Questioned   bool          `json:"questioned"` // what is unproven of it is blocked
	Network      Neighbours    `json:"network"`
}

// Neighbours is what is known of a source's /24 or /48.
type Neighbours struct {
	Prefix  netip.Prefix `json:"prefix"`
	Active  int          `json:"active"`  // sources that connected in five to ten minutes and proved their address
	Nothing int          `json:"nothing"` // of them: never for anything
	Flagged int          `json:"flagged"` // of them: blocked
	Players int          `json:"players"`
	Blocked bool         `json:"blocked"`
}

// Explain tells how a source stands now; ok = false: nobody can have that address. Nothing changes by it.
func (d *Detector) Explain(a netip.Addr) (w Standing, ok bool) {
	s, ok := sourceOf(a)
	if !ok {
		return w, false
	}
	now := d.clock.now
	w.Source, w.People = s.prefix(), 1
	if f := d.blocked(s, now); f != nil {
		w.Blocked, w.Reason, w.Left, w.Refused = true, f.reason.String(), time.Duration(f.until-now), f.refused
	}
	if f := d.offences.get(s); f != nil {
		as := *f
		as.decay(now, d.p.Block.Forgive)
		w.Offences = int(as.level)
	}
	if until := d.suspects.get(s); until != nil {
		w.Questioned = now < *until
	}
	if known := d.find(s); known != nil {
		h := *known
		d.standing(&w, &h, now)
	}
	if known := d.nets.get(s.network()); known != nil {
		n := *known
		n.turnOver(now)
		w.Network = Neighbours{
			Prefix: s.network().prefix(), Active: count(&n.active, &n.before), Nothing: count(&n.nothing[0], &n.nothing[1]),
			Flagged: count(&n.flagged, &n.flaggedBefore), Players: n.playersOf(),
		}
		if f := d.netOffences.get(s.network()); f != nil {
			w.Network.Blocked = now < f.until
		}
	}
	return w, true
}

func (d *Detector) standing(w *Standing, h *history, now int64) {
	p := &d.p.Risk
	h.turnOver(now)
	sure, all := d.score(h, now, true), d.score(h, now, false)
	w.Known, w.Proven, w.Player, w.People = true, h.strong != 0, h.playing(now), h.people()
	w.Risk, w.RiskAll, w.Connections, w.Game = sure.risk, all.risk, all.connections, d.gameName(all.gameID)
	w.Factors = []Factor{
		{"connections", float64(sure.connections), float64(sure.limit), p.ConnectionsWeight, sure.fast},
		{"one_game", float64(sure.game), float64(sure.gameLimit), p.GameWeight, sure.one},
		{"robotic", float64(sure.inRhythm), float64(p.Robotic), p.RobotWeight, sure.robot},
	}
	w.Nothing, w.Lasted = h.fates()
	w.Destinations = h.destinations()
}

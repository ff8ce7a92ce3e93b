// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Check is one thing that an edge must do for its players, whatever the scenario.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Found  string `json:"found"`
	Wanted string `json:"wanted"`
}

// What is promised.
const (
	inTimeShare   = 0.99 // of newcomers
	answeredShare = 0.99 // of queries
	// slackPPM is by how much the loss end to end may exceed the control's: a machine of two CPUs that plays, attacks and
	// defends drops a packet in a socket now and then, which the edge's own loss (0) doesn't count.
	slackPPM = 1000
	// The reflector guarantee, in kbit/s of what is longer than what was asked, and for how many seconds of it a budget may
	// have been saved up.
	victimKbps, totalKbps = 64, 8000
	savedUp               = 2 * time.Second
)

// judge fills in the checks.
func (r *Report) judge() {
	r.Checks = nil
	r.checkPlayers()
	r.checkNewcomers()
	r.checkQueries()
	r.checkReflector()
	r.checkSeen()
	r.checkDetected()
	r.Passed = true
	for _, c := range r.Checks {
		r.Passed = r.Passed && c.OK
	}
}

func (r *Report) check(name string, ok bool, found, wanted string) {
	r.Checks = append(r.Checks, Check{Name: name, OK: ok, Found: found, Wanted: wanted})
}

// checkPlayers looks at those in a match: nothing lost, nobody thrown out, no memory grown for a flood.
func (r *Report) checkPlayers() {
	r.check("lost_at_edge", r.Lost() == 0, fmt.Sprintf("%d packets of players in matches", r.Lost()), "0")
	r.check("damaged", r.Damaged == 0, fmt.Sprintf("%d wrong checksums", r.Damaged), "0")
	for _, g := range r.Players {
		switch {
		case g.Group != "established":
		case g.Protocol == "tcp":
			r.check("tcp_unbroken", g.Broken == 0, fmt.Sprintf("%d connections broke", g.Broken), "0")
		default:
			r.check("end_to_end", g.LossPPM <= g.LossCalmPPM+slackPPM, fmt.Sprintf("%d ppm of moves unanswered", g.LossPPM),
				fmt.Sprintf("at most %d ppm (control run: %d)", g.LossCalmPPM+slackPPM, g.LossCalmPPM))
		}
	}
	if r.Evicted != nil {
		r.check("evicted", *r.Evicted == 0, fmt.Sprintf("%d sessions of players", *r.Evicted), "0")
	}
	if m := r.Memory; m != nil {
		r.check("memory", m.AfterKB == m.BeforeKB, fmt.Sprintf("%d KiB", m.AfterKB), fmt.Sprintf("%d KiB, as before", m.BeforeKB))
	}
}

// checkNewcomers looks at who came while the edge was attacked, by what their protocol lets one ask for.
func (r *Report) checkNewcomers() {
	for _, g := range r.Players {
		if g.Group != "new" {
			continue
		}
		if g.Protocol == "tcp" {
			r.checkJoiners(&g)
			continue
		}
		for _, limit := range []time.Duration{raknetGame.joinLimit(), arenaGame.joinLimit()} {
			players, in := 0, 0
			for _, part := range g.ByGame {
				if part.LimitMS == limit.Milliseconds() {
					players += part.Players
					in += part.InTime
				}
			}
			name := "join_challenge"
			if limit == arenaGame.joinLimit() {
				name = "join_plain"
			}
			r.check(name, float64(in) >= inTimeShare*float64(players),
				fmt.Sprintf("%d of %d newcomers in within %v", in, players, limit), "99 of 100")
		}
	}
}

// checkJoiners looks at who came by TCP.
func (r *Report) checkJoiners(g *GroupReport) {
	in := 0
	for _, part := range g.ByGame {
		in += part.InTime
	}
	r.check("join_tcp", float64(in) >= inTimeShare*float64(g.Players),
		fmt.Sprintf("%d of %d newcomers by TCP in within %v", in, g.Players, joinTCPLimit), "99 of 100")
}

func (r *Report) checkQueries() {
	asked, answered := 0, 0
	for _, q := range r.Queries {
		asked += q.Asked
		answered += q.Answered
	}
	r.check("queries", float64(answered) >= answeredShare*float64(asked), fmt.Sprintf("%d of %d answered", answered, asked), "99 of 100")
}

// checkSeen: what is spread over many services is one attack on all of them, where the edge says what it saw.
func (r *Report) checkSeen() {
	if r.rooms == 0 || r.Seen == nil {
		return
	}
	var texts []string
	for _, s := range r.Seen {
		texts = append(texts, fmt.Sprintf("%s on %d services", strings.Join(s.Kinds, ", "), s.Services))
	}
	found := strings.Join(texts, "; ")
	if found == "" {
		found = "none"
	}
	r.check("one_attack", len(r.Seen) == 1 && slices.Contains(r.Seen[0].Kinds, "carpet") && r.Seen[0].Services >= r.rooms,
		found, fmt.Sprintf("one carpet, on %d services", r.rooms))
}

func (r *Report) checkReflector() {
	a := r.Attack
	seconds := (a.elapsed + savedUp).Seconds()
	allowed := func(kbps float64) uint64 { return uint64(kbps * 1000 / 8 * seconds) }
	kbps := func(n uint64) float64 {
		if a.elapsed == 0 {
			return 0
		}
		return float64(n) * 8 / 1000 / a.elapsed.Seconds()
	}
	r.check("no_reflector", a.Answers.Excess <= allowed(totalKbps),
		fmt.Sprintf("%.0f kbit/s more than was asked", kbps(a.Answers.Excess)), fmt.Sprintf("%d kbit/s", totalKbps))
	r.check("no_reflector_victim", a.Answers.ExcessVictims <= allowed(victimKbps),
		fmt.Sprintf("%.0f kbit/s more than was asked, to one /24", kbps(a.Answers.ExcessVictims)), fmt.Sprintf("%d kbit/s", victimKbps))
}

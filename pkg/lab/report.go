// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"parry/pkg/netns"
)

// Report is what a run found. Its JSON is a shape that outside tools rely on: fields may be added, never renamed.
type Report struct {
	Scenario   string        `json:"scenario"`
	DurationMS int64         `json:"duration_ms"`
	Players    []GroupReport `json:"players"`
	Attack     AttackReport  `json:"attack"`
	Block      *BlockResult  `json:"block"`   // null where the edge can't block
	Restart    *CrashResult  `json:"restart"` // null where the edge has no daemon
	// LinkDropped are players' and servers' packets that a full link dropped before they were in at the edge.
	LinkDropped uint64 `json:"link_dropped"`
	// SocketDropped are packets that left the edge and found a player's or a server's socket full.
	SocketDropped uint64 `json:"socket_dropped"`
	// Damaged are packets that arrived behind the edge with a wrong UDP checksum. All went in with a right one.
	Damaged uint64 `json:"damaged"`
}

// GroupReport is what one group of players felt. Lost packets were in at the edge and not out of it; unanswered are
// all moves without an answer, wherever they or it stayed.
type GroupReport struct {
	Group          string `json:"group"`    // established or new
	Protocol       string `json:"protocol"` // udp or tcp
	Players        int    `json:"players"`
	Sent           uint64 `json:"sent"`
	Received       uint64 `json:"received"`
	Lost           uint64 `json:"lost"`
	Joined         int    `json:"joined"`
	JoinMS         ms     `json:"join_ms"`     // median
	JoinMaxMS      ms     `json:"join_max_ms"` // of those who joined
	RTT            rttMS  `json:"rtt_ms"`      // while attacked
	RTTCalm        rttMS  `json:"rtt_calm_ms"`
	Unanswered     uint64 `json:"unanswered"`
	UnansweredCalm uint64 `json:"unanswered_calm"` // the control: of them, in the calm phase
	Retransmitted  uint64 `json:"retransmitted"`   // segments, TCP only
	Broken         int    `json:"broken"`          // connections that ended against the player's will, TCP only
}

// AttackReport is what the flood was, and what became of it.
type AttackReport struct {
	Packets uint64            `json:"packets"` // in at the edge
	Sources uint64            `json:"sources"` // different addresses; of forged ones, as many as are to be expected
	Dropped map[string]uint64 `json:"dropped"` // by the edge, by reason
	Reached uint64            `json:"reached_servers"`
	Host    uint64            `json:"reached_host"` // the edge's own system, which has a budget for them
	PPS     uint64            `json:"pps"`          // packets a second, while it went on
	CPU     int               `json:"cpu"`          // that the generator kept to
	CPUMS   ms                `json:"cpu_ms"`       // that it used there, with what the kernel did for the edge on its account
}

// BlockResult is what the block of the suspect did.
type BlockResult struct {
	Address  string `json:"address"`
	Joined   bool   `json:"joined"`    // it was in a match before
	CallMS   ms     `json:"call_ms"`   // until the edge said done
	EffectMS ms     `json:"effect_ms"` // until the last packet that it heard
	Silenced bool   `json:"silenced"`
	Released bool   `json:"released"` // it heard its server again after the block was lifted
}

// CrashResult is what the daemon's death did.
type CrashResult struct {
	DownMS          ms     `json:"down_ms"`  // without a daemon
	StartMS         ms     `json:"start_ms"` // of that, for the new one to answer
	SessionsBefore  uint64 `json:"sessions_before"`
	SessionsAdopted uint64 `json:"sessions_adopted"`
	Lost            uint64 `json:"lost"` // packets of players in matches, in that phase
}

// rttMS is a distribution of round-trip times.
type rttMS struct {
	P50 ms `json:"p50"`
	P99 ms `json:"p99"`
}

// ms is a duration that JSON shows in milliseconds, to a microsecond.
type ms time.Duration

// MarshalJSON writes the milliseconds.
func (d ms) MarshalJSON() ([]byte, error) {
	return json.Marshal(math.Round(float64(d)/float64(time.Microsecond)) / 1000)
}

func (s spread) ms() rttMS { return rttMS{ms(s.P50), ms(s.P99)} }

// Lost is how many packets of players in matches the edge lost.
func (r *Report) Lost() uint64 {
	var n uint64
	for _, g := range r.Players {
		n += g.Lost
	}
	return n
}

// Err is an error if the run shows that the edge broke its promise to a player in a match.
func (r *Report) Err() error {
	if n := r.Lost(); n > 0 {
		return fmt.Errorf("the edge lost %d packets of players in matches", n)
	}
	if r.Damaged > 0 {
		return fmt.Errorf("%d packets came out of the edge with a wrong checksum", r.Damaged)
	}
	for _, g := range r.Players {
		if g.Broken > 0 {
			return fmt.Errorf("%d %s connections of players in matches broke", g.Broken, g.Protocol)
		}
	}
	return nil
}

// WriteJSON writes the report as one document.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// report adds up what the run counted. All players have left by now.
func (l *lab) report(ctx context.Context) (*Report, error) {
	up, err := l.site.toServer.Cells()
	if err != nil {
		return nil, err
	}
	down, err := l.site.toPlayer.Cells()
	if err != nil {
		return nil, err
	}
	r := &Report{Scenario: l.Scenario, DurationMS: l.rec.total.Milliseconds(), Attack: l.rec.attack, Block: l.blocked, Restart: l.crashed}
	if r.LinkDropped, err = l.linkDrops(); err != nil {
		return nil, err
	}
	for _, h := range []*netns.Host{l.site.Players, l.site.Servers} {
		u, err := readUDPErrors(h)
		if err != nil {
			return nil, err
		}
		r.Damaged += u.damaged
		r.SocketDropped += u.overflow
	}
	r.Attack.CPU, r.Attack.CPUMS = l.rec.floods.CPU, ms(l.rec.floods.CPUTime)
	if s := l.rec.floods.Elapsed.Seconds(); s > 0 {
		r.Attack.PPS = uint64(float64(r.Attack.Packets) / s)
	}
	spare := r.LinkDropped
	for _, g := range []Group{Established, New} {
		row := l.groupReport(g)
		lost := l.score.lost(up, down, g, l.allPhases())
		row.Lost = subtract(lost, spare)
		spare = subtract(spare, lost)
		r.Players = append(r.Players, row)
	}
	r.Players = append(r.Players, l.tcpReport())
	if r.Restart != nil {
		in := l.numbers(crash)
		lost := l.score.lost(up, down, Established, in) + l.score.lost(up, down, New, in)
		r.Restart.Lost = subtract(lost, r.LinkDropped)
	}
	return r, ctx.Err()
}

func (l *lab) allPhases() []int { return l.numbers(warm, calm, attack, after, block, crash) }

// lost is how many of a group's packets were in at the edge and not out of it, both ways. up and down are what the
// meters behind it counted by cell.
func (s *Score) lost(up, down []uint64, g Group, phases []int) uint64 {
	var n uint64
	for _, p := range phases {
		c := cell(p, g)
		t := s.Tally(g, p)
		n += subtract(t.Sent, up[c]) + subtract(t.FromServer, down[c])
	}
	return n
}

// linkDrops counts what full links dropped on the way into the edge.
func (l *lab) linkDrops() (uint64, error) {
	var n uint64
	for _, i := range []int{playersLeg, serversLeg} {
		s, err := l.site.legs[i].far.Stats()
		if err != nil {
			return 0, err
		}
		n += s.TxDropped
	}
	return n, nil
}

func (l *lab) groupReport(g Group) GroupReport {
	row := GroupReport{Group: "established", Protocol: "udp"}
	control := l.numbers(calm)
	if g == New {
		row.Group, control = "new", l.numbers(after) // they come when the calm is over
	}
	all := l.score.Tally(g, l.allPhases()...)
	still := l.score.Tally(g, control...)
	row.Sent, row.Received = all.Sent, all.Received
	row.Unanswered, row.UnansweredCalm = subtract(all.Sent, all.Received), subtract(still.Sent, still.Received)
	var joins []time.Duration
	for _, p := range l.players {
		if p.group != g {
			continue
		}
		row.Players++
		joins = append(joins, p.JoinTime())
	}
	row.joined(joins)
	row.RTT = spreadOf(pick(l.rec.rtts[g], l.numbers(attack))).ms()
	row.RTTCalm = spreadOf(pick(l.rec.rtts[g], control)).ms()
	return row
}

func (l *lab) tcpReport() GroupReport {
	row := GroupReport{Group: "established", Protocol: "tcp", Players: len(l.tcp)}
	var joins []time.Duration
	for _, p := range l.tcp {
		joins = append(joins, p.JoinTime())
		row.Sent += p.sent.Load()
		row.Received += p.received.Load()
		row.Retransmitted += p.again.Load()
		if p.Broken() {
			row.Broken++
		}
	}
	// What the edge loses of a connection, the kernel sends again: only what never came is lost.
	row.Unanswered = subtract(row.Sent, row.Received)
	row.Lost = row.Unanswered
	row.joined(joins)
	row.RTT = spreadOf(pick(l.rec.tcp, l.numbers(attack))).ms()
	row.RTTCalm = spreadOf(pick(l.rec.tcp, l.numbers(calm))).ms()
	return row
}

// joined fills in who got in (a time over 0) and how long it took.
func (g *GroupReport) joined(times []time.Duration) {
	in := slices.DeleteFunc(times, func(d time.Duration) bool { return d <= 0 })
	slices.Sort(in)
	g.Joined, g.JoinMS, g.JoinMaxMS = len(in), ms(quantile(in, 0.5)), ms(quantile(in, 1))
}

// pick joins the values of some phases.
func pick(byPhase map[int][]time.Duration, phases []int) []time.Duration {
	var all []time.Duration
	for _, p := range phases {
		all = append(all, byPhase[p]...)
	}
	return all
}

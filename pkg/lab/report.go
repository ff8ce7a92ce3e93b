// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Report is what a run found. Its JSON is a shape that outside tools rely on: fields may be added, never renamed.
type Report struct {
	Scenario   string        `json:"scenario"`
	Edge       string        `json:"edge"` // parry or plain
	DurationMS int64         `json:"duration_ms"`
	Passed     bool          `json:"passed"` // all checks
	Checks     []Check       `json:"checks"`
	Players    []GroupReport `json:"players"`
	Queries    []QueryReport `json:"queries"`
	Attack     AttackReport  `json:"attack"`
	Evicted    *int          `json:"evicted"`  // established players' sessions gone after the attack; null where the edge can't say
	Memory     *MemoryReport `json:"memory"`   // null where the edge can't say
	Seen       []Seen        `json:"seen"`     // the attacks that the edge saw; null where it can't say
	Detected   *Detected     `json:"detected"` // whom the edge kept out by itself; null where it can't say
	Block      *BlockResult  `json:"block"`    // null where the edge can't block
	Restart    *CrashResult  `json:"restart"`  // null where the edge has no daemon
	// LinkDropped are players' and servers' packets that a full link dropped before they were in at the edge.
	LinkDropped uint64 `json:"link_dropped"`
	// SocketDropped are packets that left the edge and found a player's or a server's socket full.
	SocketDropped uint64 `json:"socket_dropped"`
	// Damaged are packets that arrived behind the edge with a wrong UDP checksum. All went in with a right one.
	Damaged uint64 `json:"damaged"`

	rooms int // services beside the games'
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
	// While attacked and in the control phase: of a million moves, how many had no answer.
	LossPPM       uint64       `json:"loss_ppm"`
	LossCalmPPM   uint64       `json:"loss_calm_ppm"`
	Retransmitted uint64       `json:"retransmitted"` // segments, TCP only
	Broken        int          `json:"broken"`        // connections that ended against the player's will, TCP only
	ByGame        []GameReport `json:"by_game"`
}

// GameReport is a group's share in one game. In time is within the time that its protocol lets one ask for.
type GameReport struct {
	Game      string `json:"game"`
	Players   int    `json:"players"`
	Sent      uint64 `json:"sent"`
	Received  uint64 `json:"received"`
	Lost      uint64 `json:"lost"`
	Joined    int    `json:"joined"`
	InTime    int    `json:"joined_in_time"`
	LimitMS   int64  `json:"limit_ms"`
	JoinMS    ms     `json:"join_ms"`
	JoinMaxMS ms     `json:"join_max_ms"`
}

// QueryReport is what server browsers felt while the edge was attacked, and in the control phase.
type QueryReport struct {
	Kind         string `json:"kind"`
	Asked        int    `json:"asked"`
	Answered     int    `json:"answered"`
	TookMS       rttMS  `json:"took_ms"` // of those that were answered, repeats included
	AskedCalm    int    `json:"asked_calm"`
	AnsweredCalm int    `json:"answered_calm"`
	TookCalmMS   rttMS  `json:"took_calm_ms"`
}

// MemoryReport is what the edge has set aside for what it remembers of packets.
type MemoryReport struct {
	BeforeKB uint64 `json:"before_kb"`
	AfterKB  uint64 `json:"after_kb"`
}

// AttackReport is what the flood was, and what became of it.
type AttackReport struct {
	Offered uint64            `json:"offered"` // by the generator
	Packets uint64            `json:"packets"` // of them, in at the edge: what it has no time to take, its link drops
	Sources uint64            `json:"sources"` // different addresses; of forged ones, as many as are to be expected
	Dropped map[string]uint64 `json:"dropped"` // by the edge, by reason
	Reached uint64            `json:"reached_servers"`
	Host    uint64            `json:"reached_host"` // the edge's own system, which has a budget for them
	PPS     uint64            `json:"pps"`          // packets a second, while it went on
	CPU     int               `json:"cpu"`          // that the generator kept to
	CPUMS   ms                `json:"cpu_ms"`       // that it used there, with what the kernel did for the edge on its account
	Answers Answers           `json:"answers"`      // what came out of the edge to strangers
	Waves   []WaveReport      `json:"waves"`        // one after the other; what is above adds them up

	elapsed time.Duration
}

// WaveReport is one stretch of an attack; its fields are those of AttackReport.
type WaveReport struct {
	Name    string            `json:"name"`
	Offered uint64            `json:"offered"`
	Packets uint64            `json:"packets"`
	Sources uint64            `json:"sources"`
	Dropped map[string]uint64 `json:"dropped"`
	Reached uint64            `json:"reached_servers"`
	Host    uint64            `json:"reached_host"`
	PPS     uint64            `json:"pps"`
	Answers Answers           `json:"answers"`

	elapsed time.Duration
}

// add adds a wave.
func (a *AttackReport) add(w WaveReport) {
	a.Offered += w.Offered
	a.Packets += w.Packets
	a.Sources += w.Sources
	a.Reached += w.Reached
	a.Host += w.Host
	a.Answers.Frames += w.Answers.Frames
	a.Answers.Bytes += w.Answers.Bytes
	a.Answers.Excess += w.Answers.Excess
	a.Answers.ExcessVictims += w.Answers.ExcessVictims
	a.elapsed += w.elapsed
	if a.Dropped == nil {
		a.Dropped = map[string]uint64{}
	}
	for reason, n := range w.Dropped {
		a.Dropped[reason] += n
	}
	a.Waves = append(a.Waves, w)
	if s := a.elapsed.Seconds(); s > 0 {
		a.PPS = uint64(float64(a.Packets) / s)
	}
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

// Err is an error that names the checks that failed, if any did.
func (r *Report) Err() error {
	var failed []string
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, fmt.Sprintf("%s (%s, wanted: %s)", c.Name, c.Found, c.Wanted))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("%s, %s edge: failed: %s", r.Scenario, r.Edge, strings.Join(failed, "; "))
}

// WriteJSON writes the report as one document.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

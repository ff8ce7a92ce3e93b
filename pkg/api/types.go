// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"
	"time"
)

// Status is the edge at one moment. Counters are whole numbers since the maps were made, which may be longer ago
// than the daemon's start.
type Status struct {
	Version    string            `json:"version"`
	Node       string            `json:"node"`
	Enforce    bool              `json:"enforce"`   // false: verdicts are counted, policy drops nothing
	UptimeMS   int64             `json:"uptime_ms"` // of the daemon
	Time       time.Time         `json:"time"`      // when the counters were read
	Interfaces []Interface       `json:"interfaces"`
	Services   []Service         `json:"services"`
	Drops      map[string]uint64 `json:"drops"`      // packets by reason, all services and none
	WouldDrop  map[string]uint64 `json:"would_drop"` // the same, where enforce is off
	Host       Traffic           `json:"host"`       // handed to this host's own stack
	Tables     []Table           `json:"tables"`
	Strangers  Strangers         `json:"strangers"`
	Promoted   []ShadowThing     `json:"promoted"` // what only watches by the configuration and was switched on
	Samples    Samples           `json:"samples"`
	Watching   Watching          `json:"watching"`
	History    HistoryCounts     `json:"history"`
}

// HistoryCounts is what is kept of sessions that ended, and what became of their ends since the daemon started.
type HistoryCounts struct {
	Records    uint64 `json:"records"`     // that were written
	Queries    uint64 `json:"queries"`     // that only asked for what anybody may be told: counted alone
	Unproven   uint64 `json:"unproven"`    // that were never proven: counted alone
	PassedOver uint64 `json:"passed_over"` // more brief sessions than are written, which is 1 a second, 10,000 at once
	Lost       uint64 `json:"lost"`        // that were to be written: too many at once, or the disk did not take them
	Damaged    uint64 `json:"damaged"`     // lines that were met and can't be read
	Segments   int    `json:"segments"`
	Bytes      uint64 `json:"bytes"` // on disk
}

// Samples is what became of single packets that were to be told of (capture, explain).
type Samples struct {
	Taken      uint64 `json:"taken"`
	Lost       uint64 `json:"lost"`        // the ring had no room
	PassedOver uint64 `json:"passed_over"` // more than their rate
	Captures   int    `json:"captures"`    // that go on
	// Kinds are the same by what they were told for: capture, and what is told though nobody captures, each within a rate of its own
	// (drop, first, turn).
	Kinds    map[string]SampleKind `json:"kinds"`
	EndsLost uint64                `json:"ends_lost"` // sessions' ends that no analyser was told of: too many at once
}

// SampleKind is what became of samples of one kind.
type SampleKind struct {
	Taken      uint64 `json:"taken"`
	Lost       uint64 `json:"lost"`
	PassedOver uint64 `json:"passed_over"`
}

// Strangers is how full the tables for strangers are, which all services share.
type Strangers struct {
	GreylistFill  float64 `json:"greylist_fill"`  // share of 0 to 1: over a half, many first packets pass at first sight
	SketchLoad    float64 `json:"sketch_load"`    // share of 0 to 1
	Unproven      uint64  `json:"unproven"`       // slots that hold a stranger's session
	UnprovenSlots uint64  `json:"unproven_slots"` // that there are
}

// Interface is one interface that the edge is configured on.
type Interface struct {
	Name      string `json:"name"`
	Mode      string `json:"mode"`             // native or generic
	Protected bool   `json:"protected"`        // the program is attached there now
	Detail    string `json:"detail,omitempty"` // why it isn't protected, and what to do
}

// Service is one service and what it counted.
type Service struct {
	Name      string            `json:"name"`
	Listen    []string          `json:"listen"`   // address:port or address:first-last
	Protocol  []string          `json:"protocol"` // udp, tcp
	Game      string            `json:"game"`
	Class     string            `json:"class"`
	Forward   string            `json:"forward"`      // nat, transparent, tunnel or local
	Enforce   bool              `json:"enforce"`      // this service's own switch and the edge's
	State     string            `json:"state"`        // normal, elevated or attack
	Since     *time.Time        `json:"state_since"`  // when it came to be in this state; null if it never moved since the daemon's start
	Reason    string            `json:"state_reason"` // why, in words
	GateState string            `json:"gate_state"`   // what gates and the greylist follow: normal while an attack is dealt with anyhow
	Strangers map[string]uint64 `json:"strangers"`    // first packets by what became of them
	Usual     float64           `json:"usual_strangers_per_second"`
	Sessions  uint64            `json:"sessions"`
	Packets   uint64            `json:"packets"` // both directions, dropped ones included
	Bytes     uint64            `json:"bytes"`
	Up        *Traffic          `json:"up"`   // from players; null where the edge doesn't see this direction
	Down      *Traffic          `json:"down"` // from servers; null where the edge doesn't see this direction
	Drops     map[string]uint64 `json:"drops"`
	WouldDrop map[string]uint64 `json:"would_drop"`
	Answers   []Answer          `json:"answers"` // that the edge gives in its servers' place; empty where it forwards queries
}

// Answer is one of a server's that the edge keeps.
type Answer struct {
	Kind    string         `json:"kind"`   // info, players, rules, status or pong
	Server  string         `json:"server"` // its name; of a local service, the service's
	Address netip.AddrPort `json:"address"`
	AgeMS   *int64         `json:"age_ms"` // null: it has not answered yet
	Fresh   bool           `json:"fresh"`  // false: queries go to the server
	Errors  uint64         `json:"errors"` // attempts to ask it that failed
	Detail  string         `json:"detail,omitempty"`
}

// Traffic counts what came from one side.
type Traffic struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Table is how full one of the edge's tables is.
type Table struct {
	Name     string `json:"name"`
	Entries  uint64 `json:"entries"`
	Capacity uint64 `json:"capacity"`
}

// The states of a Session.
const (
	Unproven = "unproven"
	Proven   = "proven"
	Closing  = "closing"
)

// Session is one player's flow to one server.
type Session struct {
	ID         string          `json:"id"`
	Service    string          `json:"service"`
	Protocol   string          `json:"protocol"` // udp or tcp
	Client     netip.AddrPort  `json:"client"`
	Edge       netip.AddrPort  `json:"edge"` // what the player sends to
	NAT        *netip.AddrPort `json:"nat"`  // what the server sees instead of the client; null unless the service forwards by nat
	Server     netip.AddrPort  `json:"server"`
	ServerName string          `json:"server_name"`
	State      string          `json:"state"`     // unproven, proven or closing
	Proof      string          `json:"proof"`     // of the client's address: none, weak, lasting (weak, and it has played for a while) or strong
	SYNProxy   bool            `json:"syn_proxy"` // TCP: the edge shook hands with the player before the server did
	AgeMS      int64           `json:"age_ms"`
	IdleMS     int64           `json:"idle_ms"`
	Up         *Direction      `json:"up"`     // from the player; null where the edge doesn't see this direction
	Down       *Direction      `json:"down"`   // from the server; null where the edge doesn't see this direction
	Game       string          `json:"game"`   // its service's; where that leaves it open, what its first packets name
	Named      *Named          `json:"named"`  // by its first packets; null where they name nothing, or were not sampled
	Player     *string         `json:"player"` // null where the protocol doesn't say
}

// Named is what a session's first packets show it to be.
type Named struct {
	Game       string  `json:"game"` // label as `parry classify` has them
	Confidence float64 `json:"confidence"`
	Reason     string  `json:"reason"` // for people
}

// Direction is one way of a session.
type Direction struct {
	Packets  uint64   `json:"packets"`
	Bytes    uint64   `json:"bytes"`
	JitterMS *float64 `json:"jitter_ms"` // null while the session isn't watched
	Loss     *float64 `json:"loss"`      // share of 0 to 1; null while not watched or not readable

	LongestGapMS *float64 `json:"longest_gap_ms"` // null while the session isn't watched
	Reordered    *uint64  `json:"reordered"`      // packets that came after a later one; null while not watched or not readable
	Duplicates   *uint64  `json:"duplicates"`     // packets that came again; likewise
	Timing       *Timing  `json:"timing"`         // what else was timed; null while not watched, and in listings of several sessions
}

// Timing is what was timed of one direction since the session is watched: packets as they came to the edge, those that it dropped included.
type Timing struct {
	WatchedMS    int64             `json:"watched_ms"`
	Packets      uint64            `json:"packets"`
	Bursts       uint32            `json:"bursts"` // of three packets and more that follow each other within a millisecond
	LongestBurst uint32            `json:"longest_burst"`
	Numbers      *uint32           `json:"numbers"`       // that its packets had; null where they can't be read
	Lost         *uint32           `json:"lost"`          // that were left out
	RecentGapMS  float64           `json:"recent_gap_ms"` // the longest of its last half minute
	RecentLoss   *float64          `json:"recent_loss"`   // share, of its last half minute
	Sizes        []Class           `json:"sizes"`         // by bytes of the IP packet
	SpacingsMS   []Class           `json:"spacings_ms"`   // by time since the packet before
	Drops        map[string]uint32 `json:"drops"`         // that the edge dropped, by reason
}

// Class is one bar of a histogram.
type Class struct {
	Below   *float64 `json:"below"` // null: it has no end
	Packets uint32   `json:"packets"`
}

// Watching is how sessions are watched: which share of them is, and how they fare.
type Watching struct {
	Share            float64 `json:"share"`    // of all sessions, 0 to 1; 0 = `watch_packets_per_second` says none
	Sessions         int     `json:"sessions"` // that are watched, at the last look (five seconds at most)
	PacketsPerSecond float64 `json:"packets_per_second"`
	Bad              int     `json:"bad"`         // of them, that fare badly
	Cells            int     `json:"cells"`       // of which each direction of a session takes one
	CellsTaken       int     `json:"cells_taken"` // by them
	Full             uint64  `json:"full"`        // times that one found none, since the maps were made
}

// Server is one server of a pool. Null is unknown, not 0.
type Server struct {
	Name      string     `json:"name"`
	Pool      string     `json:"pool"`
	Address   string     `json:"address"` // address:port or address:first-last
	Region    string     `json:"region"`
	State     string     `json:"state"` // up, down or draining
	LatencyMS *float64   `json:"latency_ms"`
	Players   *int64     `json:"players"`
	Capacity  *int64     `json:"capacity"`
	Load      *float64   `json:"load"` // share of 0 to 1
	Sessions  uint64     `json:"sessions"`
	Score     *float64   `json:"score"` // 0 to 1
	TCP       *ServerTCP `json:"tcp"`   // what the SYN proxy offers in its place; null: no service of it has one
}

// ServerTCP is what a server takes of TCP, learned by handshakes that the edge begins now and then. Null is unknown or none.
type ServerTCP struct {
	Known       bool    `json:"known"` // false: the SYN proxy offers players the least
	MSS         *uint16 `json:"mss"`
	WindowScale *uint8  `json:"window_scale"`
	SACK        *bool   `json:"sack"`
	Timestamps  *bool   `json:"timestamps"`
	AgeMS       *int64  `json:"age_ms,omitempty"` // since it last said so
	Detail      string  `json:"detail,omitempty"` // why the last attempt failed
}

// Where a Gate is from, and how it fares.
const (
	GateBuiltIn  = "built-in"
	GateOperator = "operator"

	GateLoaded  = "loaded"  // some service uses it
	GateUnused  = "unused"  // none does
	GateRefused = "refused" // what is kept of it can't be used
)

// Gate is a program that services show strangers' first packets to.
type Gate struct {
	Name         string   `json:"name"`
	ABI          uint32   `json:"abi"`
	Proof        string   `json:"proof"` // the strongest that it can give of a source's address: none, weak, strong, or netchan (strong, in play)
	About        string   `json:"about"`
	Source       string   `json:"source"`           // built-in or operator
	Services     []string `json:"services"`         // that use it
	State        string   `json:"state"`            // loaded, unused or refused
	Instructions int      `json:"instructions"`     // as compiled
	Detail       string   `json:"detail,omitempty"` // why it is refused
}

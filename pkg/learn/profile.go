// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"parry/pkg/config"
	"parry/pkg/game"
)

// Profile is what was learned.
type Profile struct {
	Files    []string `json:"files"`
	Server   Endpoint `json:"server"`
	Service  string   `json:"service"`
	Game     string   `json:"game"`
	Known    bool     `json:"known"` // parry knows that game: its own gate is better than what can be learned
	Packets  int      `json:"packets"`
	Sessions int      `json:"sessions"`
	Sources  int      `json:"sources"`
	Seconds  float64  `json:"seconds"`
	LeftOut  struct {
		Sources int `json:"unanswered_sources"` // that were never answered: nothing is learned from them
		Late    int `json:"late_connections"`   // of TCP, that began before the capture
		Packets int `json:"beyond_bounds"`
	} `json:"left_out"`
	First   []ShapeText `json:"first_packet"`
	HeldOut *HeldOut    `json:"held_out"`
	Replay  *Replay     `json:"replay"` // null: it was not replayed
	WhyNot  string      `json:"why_no_first_packet,omitempty"`
	Limits  []Figure    `json:"limits"`
	Notes   []string    `json:"notes"`
	YAML    string      `json:"config"`

	own        bool // it is a game of the file's own
	gate       string
	confidence string
	firsts     int
	fromServer int // bytes, the longest packet
}

// ShapeText is a shape as a configuration writes it.
type ShapeText struct {
	Length string `json:"length"`
	At     int    `json:"at"`
	Bytes  string `json:"bytes"`
}

// Figure is one value of the configuration, and where it comes from.
type Figure struct {
	Section string `json:"section"` // of a service: limits, limits.source ...
	Key     string `json:"key"`
	Value   string `json:"value"`
	Why     string `json:"why"`
}

// profile makes of what was seen what is proposed.
func (w *watcher) profile(o *Options) (*Profile, error) {
	players := w.players()
	if len(players) == 0 {
		return nil, errors.New("no source was answered: nothing to learn from")
	}
	p := &Profile{
		Files: o.Files, Server: w.server, Packets: w.packets, Sessions: w.sessions, Sources: len(players), Seconds: w.end.Sub(w.begun).Seconds(), fromServer: w.longest[0],
		First: []ShapeText{}, Limits: []Figure{}, Notes: []string{},
	}
	p.LeftOut.Sources, p.LeftOut.Late, p.LeftOut.Packets = len(w.sources)-len(players), w.late, w.unread
	heard := slices.DeleteFunc(slices.Clone(w.firsts), func(f first) bool { return !f.source.answered })
	p.firsts = len(heard)
	p.named(w, o, players)
	if !p.Known {
		p.shaped(o, heard)
	}
	p.bounded(w, players)
	p.remarks(o)
	p.YAML = p.yaml()
	if _, err := config.Parse("learned.yaml", []byte(p.YAML)); err != nil {
		return nil, fmt.Errorf("what was learned makes no configuration: %w", err)
	}
	return p, nil
}

// named says which game it is: one that parry knows, if nearly all flows are taken for it.
func (p *Profile) named(w *watcher, o *Options, players []*source) {
	label, n := most(w.names)
	flows := 0
	for _, s := range players {
		flows += s.flows
	}
	known, ok := game.Lookup(label.String())
	if o.Name == "" && ok && !known.Open() && slices.Contains(known.Protos, w.server.Protocol) && n*10 >= flows*8 {
		p.Known, p.Game, p.gate = true, known.Name, known.Gate
		p.confidence = fmt.Sprintf("%d of %d flows are taken for it", n, flows)
	}
	if !p.Known {
		p.Game = cmp.Or(o.Name, fmt.Sprintf("game-%d", w.server.Address.Port()))
	}
	p.Service = cmp.Or(o.Service, p.Game)
}

// shaped learns first packets. A game of which nothing is known but that is the family of all.
func (p *Profile) shaped(o *Options, heard []first) {
	found, held, why := shapes(heard, p.Server.Address)
	p.HeldOut, p.WhyNot = held, why
	for _, s := range found {
		p.First = append(p.First, ShapeText{Length: s.Length.String(), At: s.At, Bytes: s.Bytes.String()})
	}
	if p.own = len(found) > 0 || o.Name != ""; !p.own {
		p.Game = "generic_" + p.Server.Protocol
	}
}

// peak is the most of any player, whose that was, and what half of the players stay under.
func peak(players []*source, of func(*source) uint64) (top uint64, who netip.Addr, half uint64) {
	all := make([]uint64, 0, len(players))
	for _, s := range players {
		n := of(s)
		all = append(all, n)
		if n > top || n == top && s.addr.Less(who) {
			top, who = n, s.addr
		}
	}
	slices.Sort(all)
	return top, who, all[len(all)/2]
}

// Below these a source's limits only tell how quiet the capture was.
const (
	leastRate  = 100
	leastBytes = 100_000
)

// bounded proposes limits: twice what any player did, and parry's own default where too few were seen or that is more.
func (p *Profile) bounded(w *watcher, players []*source) {
	enough := len(players) >= leastSources && w.sessions >= leastFlows
	d := config.Default()
	add := func(section, key, value, why string, a ...any) {
		p.Limits = append(p.Limits, Figure{section, key, value, fmt.Sprintf(why, a...)})
	}
	number := func(n uint64) string { return fmt.Sprint(n) }
	if size := uint64(w.longest[1]); enough && w.server.Protocol == "udp" {
		limit := max(576, round(2*size))
		if size <= 1500 {
			limit = min(limit, 1500)
		}
		add("limits", "max_packet", number(min(limit, 65535)), "bytes from the IP header on; the longest of %d packets had %d", w.up, size)
	}
	packets, who, half := peak(players, func(s *source) uint64 { return s.second.most })
	if rate := max(leastRate, round(2*packets)); enough || rate > d.Limits.Source.PacketsPerSecond {
		add("limits.source", "packets_per_second", number(rate), "twice the busiest second, %d (%s; half of all have %d at most), and %d at least", packets, who, half, leastRate)
	}
	bytes, who, half := peak(players, func(s *source) uint64 { return s.bytes.most })
	if enough {
		add("limits.source", "bytes_per_second", number(max(leastBytes, round(2*bytes))), "likewise: %d (%s; half %d at most), and %d at least", bytes, who, half, leastBytes)
	}
	begun, who, _ := peak(players, func(s *source) uint64 { return s.minute.most })
	if n := 2 * begun; n > uint64(d.Limits.Source.NewSessions) {
		add("limits.source", "new_sessions", number(round(n)), "within a minute; twice the most, %d (%s)", begun, who)
	}
	flows, who, _ := peak(players, func(s *source) uint64 { return uint64(s.flows) })
	if n := 2 * flows; n > uint64(d.Limits.Source.Sessions) {
		add("limits.source", "sessions", number(round(n)), "at a time; twice what %s had in all, %d", who, flows)
	}
	asked, who, _ := peak(players, func(s *source) uint64 { return s.begin.most })
	if n := 2 * asked; n > uint64(d.Strangers.SourcePacketsPerSecond) {
		add("strangers", "source_packets_per_second", number(round(n)), "twice the most before an answer, %d in a second (%s)", asked, who)
	}
	if n := 2 * w.alone; n > int(d.Strangers.UnansweredPackets) {
		add("strangers", "unanswered_packets", number(round(uint64(n))), "twice the most that a client sent before its first answer, %d", w.alone)
	}
	if w.server.Protocol == "udp" && 2*w.quiet > d.Timeouts.UDP {
		add("timeouts", "udp", ceilSeconds(2*w.quiet).String(), "twice the longest silence in play, %v", w.quiet.Round(time.Second))
	}
	if w.server.Protocol == "tcp" && 2*w.silent > d.Timeouts.Silent && (p.own || p.gate != "") {
		add("timeouts", "silent", min(time.Hour, ceilSeconds(2*w.silent)).String(), "twice the longest that a client was silent at first, %v", w.silent.Round(time.Millisecond))
	}
	if !enough {
		p.Notes = append(p.Notes, fmt.Sprintf("few players: limits stay as parry has them, where this play fits (want %d sessions of %d sources)", leastFlows, leastSources))
	}
}

// remarks are what the reader should know before he trusts it.
func (p *Profile) remarks(o *Options) {
	if n := p.LeftOut.Sources; n > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d sources were never answered, and nothing is learned from them: what they send may be dropped", n))
	}
	if n := p.LeftOut.Late; n > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d connections began before the capture: parry drops what belongs to no connection that it saw begin", n))
	}
	if n := p.LeftOut.Packets; n > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d packets are of flows beyond the %d that are kept, and were left out", n, maxFlows))
	}
	if o.LoosenGate && p.Known && p.gate != "" {
		p.gate = "watch"
	}
	if h := p.HeldOut; h != nil && h.Passed < h.Asked {
		p.Notes = append(p.Notes, "what was learned of half of the players did not fit all of the others: more play would tell more")
	}
}

// Summary is what was learned, in a few lines.
func (p *Profile) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d packets, %d sessions, %d sources\n", p.Server, p.Packets, p.Sessions, p.Sources)
	switch {
	case p.Known:
		fmt.Fprintf(&b, "game: %s (%s)\n", p.Game, p.confidence)
	case len(p.First) > 0:
		for _, s := range p.First {
			fmt.Fprintf(&b, "first packets: %s\n", s)
		}
	default:
		fmt.Fprintf(&b, "first packets: any, for %s\n", p.WhyNot)
	}
	if h := p.HeldOut; h != nil {
		fmt.Fprintf(&b, "held out: learned of %d first packets, %d of %d others pass\n", h.Learned, h.Passed, h.Asked)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	if p.Replay != nil {
		fmt.Fprintln(&b, p.Replay)
	}
	return b.String()
}

func (s ShapeText) String() string {
	text := s.Length + " bytes"
	if s.Bytes != "" {
		text += fmt.Sprintf(", %s from byte %d on", s.Bytes, s.At)
	}
	return text
}

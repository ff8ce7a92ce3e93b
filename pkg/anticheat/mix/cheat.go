// SPDX-License-Identifier: Apache-2.0

package mix

import (
	"slices"
	"time"

	"parry/pkg/anticheat"
	"parry/pkg/game"
)

// Half is one half of the split: a seed, and the figures of its cheats.
type Half struct {
	Name    string
	Seed    uint64
	Cut     Range // length of a lag switch's use, s
	Between Range // two uses, s
	Choke   Range // fake lag's, s
	Copies  Range // of a repeated packet, beside itself
	Copied  Range // share of packets that are repeated
	Replays Range // share of packets that an old one follows
	Back    Range // by how many packets it is old
	Garbage Range // packets of a flood for each of the client's
	Forged  Range // share of packets that one with another number follows
	Faster  Range // times the most of its game that a client sends
	Longer  Range // times the longest payload of its game
}

// Halves are the two: what is tuned, is tuned on dev; eval was first looked at when the bounds stood.
func Halves() (dev, eval Half) {
	dev = Half{
		Name: "dev", Seed: 1, Cut: Range{0.4, 1.2}, Between: Range{4, 7}, Choke: Range{0.15, 0.5}, Copies: Range{1, 2}, Copied: Range{0.5, 1},
		Replays: Range{0.1, 0.2}, Back: Range{1, 128}, Garbage: Range{4, 8}, Forged: Range{0.05, 0.15},
		Faster: Range{1.3, 1.8}, Longer: Range{1.1, 1.5},
	}
	eval = Half{
		Name: "eval", Seed: 20261125, Cut: Range{0.45, 1.6}, Between: Range{3, 12}, Choke: Range{0.12, 0.4}, Copies: Range{1, 3}, Copied: Range{0.3, 1},
		Replays: Range{0.05, 0.25}, Back: Range{1, 500}, Garbage: Range{3, 12}, Forged: Range{0.03, 0.2},
		Faster: Range{1.2, 1.9}, Longer: Range{1.01, 2},
	}
	return dev, eval
}

// quietBegin is the part of a play before a cheat begins.
const quietBegin = 10 * time.Second

// Cheats are those that can be made of one session of a game.
func Cheats(g Game) []anticheat.Kind {
	all := []anticheat.Kind{anticheat.LagHold, anticheat.FakeLag}
	if g.Proto == 17 {
		all = append(all, anticheat.Flood)
	}
	if g.Numbered {
		all = append(all, anticheat.LagDrop, anticheat.Duplicate, anticheat.Replay, anticheat.Tampered)
	}
	if p, _ := game.Lookup(g.Name); p.Rate > 0 {
		all = append(all, anticheat.Frequency)
	}
	if p, _ := game.Lookup(g.Name); p.MaxPayload > 0 && g.Proto == 17 {
		all = append(all, anticheat.Size)
	}
	return all
}

// cheat sits between the client and its line.
func (m *Maker) cheat(p *Play, g *Game, all []sent, length time.Duration) []sent {
	begin, end := quietBegin+m.between(0, 4*time.Second), length-4*time.Second
	p.Spans = []Span{{begin, end}}
	within := func(s *sent) bool { return s.at >= begin && s.at < end }
	switch p.Cheat {
	case anticheat.LagDrop, anticheat.LagHold:
		return m.lagSwitch(p, all, begin, end)
	case anticheat.FakeLag:
		return m.choke(all, begin, end)
	case anticheat.Duplicate:
		return m.repeat(all, within)
	case anticheat.Replay:
		return m.replay(all, within)
	case anticheat.Flood:
		return m.flood(g, all, within)
	case anticheat.Tampered:
		return m.forge(g, all, within)
	case anticheat.Frequency:
		p.Spans[0].From = 0
		profile, _ := game.Lookup(g.Name)
		fast := *g
		rate := m.half.Faster.pick(m.rnd) * float64(profile.Rate)
		fast.Rate, fast.Pauses, fast.acknowledge = Range{rate, rate}, false, nil
		return m.client(&fast, length)
	case anticheat.Size:
		profile, _ := game.Lookup(g.Name)
		for i := range all {
			if within(&all[i]) && all[i].numbered == g.Numbered && m.rnd.IntN(100) == 0 {
				more := int(m.half.Longer.pick(m.rnd) * float64(profile.MaxPayload))
				all[i].payload = append(slices.Clone(all[i].payload), make([]byte, more-len(all[i].payload))...)
			}
		}
		return all
	}
	return all
}

func (m *Maker) lagSwitch(p *Play, all []sent, begin, end time.Duration) []sent {
	p.Spans = nil
	for at := begin; at < end; {
		to := at + time.Duration(m.half.Cut.pick(m.rnd)*float64(time.Second))
		p.Spans = append(p.Spans, Span{at, to})
		at = to + time.Duration(m.half.Between.pick(m.rnd)*float64(time.Second))
	}
	cut := func(at time.Duration) (Span, bool) {
		for _, s := range p.Spans {
			if at >= s.From && at < s.To {
				return s, true
			}
		}
		return Span{}, false
	}
	if p.Cheat == anticheat.LagDrop {
		return slices.DeleteFunc(all, func(s sent) bool { _, is := cut(s.at); return is })
	}
	for i := range all {
		if s, is := cut(all[i].at); is {
			all[i].at = s.To
		}
	}
	return all
}

func (m *Maker) choke(all []sent, begin, end time.Duration) []sent {
	choke := time.Duration(m.half.Choke.pick(m.rnd) * float64(time.Second))
	for i := range all {
		if at := all[i].at; at >= begin && at < end {
			all[i].at = begin + (at-begin+choke-1)/choke*choke
		}
	}
	return all
}

func (m *Maker) repeat(all []sent, within func(*sent) bool) []sent {
	copies, share := int(m.half.Copies.pick(m.rnd)+0.5), m.half.Copied.pick(m.rnd)
	var more []sent
	for i := range all {
		if within(&all[i]) && m.rnd.Float64() < share {
			for range max(copies, 1) {
				c := all[i]
				c.at += 50 * time.Microsecond
				more = append(more, c)
			}
		}
	}
	return append(all, more...)
}

func (m *Maker) replay(all []sent, within func(*sent) bool) []sent {
	share := m.half.Replays.pick(m.rnd)
	var more, numbered []sent
	for i := range all {
		if all[i].numbered {
			numbered = append(numbered, all[i])
		}
		back := int(m.half.Back.pick(m.rnd))
		if within(&all[i]) && back < len(numbered) && m.rnd.Float64() < share {
			c := numbered[len(numbered)-1-back]
			c.at = all[i].at + 50*time.Microsecond
			more = append(more, c)
		}
	}
	return append(all, more...)
}

func (m *Maker) flood(g *Game, all []sent, within func(*sent) bool) []sent {
	// Where a client sends little, a flood sends so many more for each.
	garbage := int(m.half.Garbage.pick(m.rnd)*max(60/g.Rate.To, 1) + 0.5)
	var more []sent
	for i := range all {
		if !within(&all[i]) {
			continue
		}
		for k := range garbage {
			c := sent{at: all[i].at + time.Duration(k+1)*20*time.Microsecond, payload: m.payload(len(all[i].payload))}
			copy(c.payload, all[i].payload[:min(2, len(all[i].payload))])
			more = append(more, c)
		}
	}
	return append(all, more...)
}

func (m *Maker) forge(g *Game, all []sent, within func(*sent) bool) []sent {
	share := m.half.Forged.pick(m.rnd)
	var more []sent
	n := uint32(0)
	for i := range all {
		if !all[i].numbered {
			continue
		}
		n++
		if !within(&all[i]) || m.rnd.Float64() >= share {
			continue
		}
		c := all[i]
		c.payload = slices.Clone(c.payload)
		g.number(c.payload, []uint32{n + 5000, n + 100000, n - 40, n + 2000}[m.rnd.IntN(4)])
		c.at += 50 * time.Microsecond
		more = append(more, c)
	}
	return append(all, more...)
}

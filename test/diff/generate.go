// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"parry/test/model"
	"parry/test/packet"
)

// draw is a source of chance for one move: what a seed and the model's state say happens next. Who is spoken of is chosen by
// address, not by how many came before, so that a move means much the same in a shorter sequence.
type draw struct {
	*rand.Rand
	w *world
}

func (w *world) draw(seed uint64) draw {
	return draw{rand.New(rand.NewPCG(seed, seed>>7)), w}
}

// one of so many.
func (d draw) one(of int) bool { return d.IntN(of) == 0 }

func pick[T any](d draw, all []T) T { return all[d.IntN(len(all))] }

// move is a kind of thing that can happen.
type move struct {
	weight int
	steps  func(draw) []step
}

// moves are all kinds, with how often each happens. A reload costs as much as thousands of packets.
func moves() []move {
	frame := func(f func(draw) packet.Packet) func(draw) []step {
		return func(d draw) []step { return d.frames(f(d).Bytes()) }
	}
	return []move{
		{300, frame(draw.fromClient)},
		{260, frame(draw.up)},
		{260, frame(draw.down)},
		{10, frame(draw.zeroSum)},
		{40, frame(draw.firstWord)},
		{60, draw.repeated},
		{25, draw.played},
		{8, draw.contested},
		{60, draw.parts},
		{6, draw.orphaned},
		{60, draw.aboutSession},
		{80, draw.toHost},
		{120, draw.hostile},
		{60, draw.fromHost},
		{120, func(d draw) []step { return passing(time.Duration(d.IntN(20_000)) * time.Microsecond) }},
		{10, func(d draw) []step { return passing(time.Duration(1900+d.IntN(300)) * time.Millisecond) }}, // as long as a loan and a check last
		{40, func(d draw) []step { return passing(time.Duration(d.IntN(3_000)) * time.Millisecond) }},
		{4, func(d draw) []step { return passing(time.Duration(d.IntN(1_300)) * time.Second) }},
		{25, draw.listed},
		{12, draw.recalled},
		{12, draw.unlisted},
		{16, func(draw) []step { return []step{{op: "sweep"}} }},
		{6, draw.swept},
		{6, draw.killed},
		{3, func(draw) []step { return []step{{op: "bump"}} }},
		{2, draw.flood},
		{1, draw.loans},
		{8, func(d draw) []step { return []step{{op: "route", n: d.IntN(len(d.w.routes()))}} }},
		{12, func(d draw) []step { return []step{{op: "route", n: 0}, {op: "hop", n: 0}} }},
		{6, func(d draw) []step { return []step{{op: "hop", n: d.IntN(len(d.w.hops()))}} }},
	}
}

// rulesMoves are those of an edge that has rules.
func rulesMoves() []move {
	return []move{
		{4, func(d draw) []step { return []step{{op: "rules", n: d.IntN(len(ruleSets()))}} }},
		{30, func(d draw) []step { // what rules tell by its first bytes, or its length
			p := d.up()
			p.Payload = make([]byte, 2+d.IntN(400))
			p.Payload[0] = byte(d.IntN(256))
			return d.frames(p.Bytes())
		}},
	}
}

// reload is another configuration: not among the moves, for it is chosen by sequence.
func (d draw) reload() []step { return []step{{op: "plan", n: d.IntN(len(d.w.edge.plans))}} }

// chooser draws a move by weight.
type chooser struct {
	moves []move
	sum   int
}

// newChooser draws from all moves; strangers, rules, shaken (the SYN proxy and the PROXY header): also from those that are about these.
func newChooser(strangers, rules, shaken bool) *chooser {
	c := &chooser{moves: moves()}
	if strangers {
		c.moves = append(c.moves, strangersMoves()...)
	}
	if rules {
		c.moves = append(c.moves, rulesMoves()...)
	}
	if shaken {
		c.moves = append(c.moves, shakenMoves()...)
	}
	for _, m := range c.moves {
		c.sum += m.weight
	}
	return c
}

func (c *chooser) next(d draw) []step {
	n := d.IntN(c.sum)
	for _, m := range c.moves {
		if n -= m.weight; n < 0 {
			return m.steps(d)
		}
	}
	return nil
}

func passing(t time.Duration) []step { return []step{{op: "pass", pass: t}} }

func (d draw) frames(all ...[]byte) []step {
	var steps []step
	for _, f := range all {
		if len(f) <= longest {
			steps = append(steps, step{op: "receive", frame: f})
		}
	}
	return steps
}

// longest is the longest frame that the kernel's test run puts into one buffer.
const longest = 4096 - 256 - 320

// swept is a sweep that deletes: a second after another.
func (d draw) swept() []step {
	return []step{{op: "sweep"}, {op: "pass", pass: time.Second + time.Duration(d.IntN(200))*time.Millisecond}, {op: "sweep"}}
}

func (d draw) killed() []step {
	s := d.session()
	if s == nil {
		return nil
	}
	return []step{{op: "kill", key: s.Key()}}
}

// session is one of those there are, nil if there is none: it belongs to somebody who is drawn first.
func (d draw) session() *model.Session {
	all := d.w.model.Sessions()
	if len(all) == 0 {
		return nil
	}
	best, least := all[0], ^uint64(0)
	salt := d.Uint64()
	for _, s := range all { // the one whose key hashes lowest: the same one while it is there
		h := salt ^ uint64(s.Client.Port())<<32 ^ uint64(s.Front.Port())<<8 ^ uint64(s.Proto)
		b := s.Client.Addr().As16()
		h = (h ^ uint64(b[15])<<48 ^ uint64(b[7])<<20 ^ uint64(b[14])<<12) * 0x9e3779b97f4a7c15
		h ^= h >> 29
		if h *= 0xbf58476d1ce4e5b9; h < least {
			best, least = s, h
		}
	}
	return best
}

// listed puts somebody on a list.
func (d draw) listed() []step {
	s := step{op: "list", list: model.List(d.IntN(2)), entry: d.entry(), free: d.one(3)}
	if s.list == model.Deny {
		s.free = false
	}
	s.ttl = pick(d, []time.Duration{0, 300 * time.Millisecond, 2500 * time.Millisecond, 20 * time.Second, time.Minute})
	if s.entry.Prefix.IsSingleIP() && d.one(4) {
		s.op = "quietly"
	}
	return []step{s}
}

// contested is one address that is denied, and welcome to some service, and asks several at once.
func (d draw) contested() []step {
	a := d.player()
	k := model.EntryKey{Prefix: netip.PrefixFrom(a, a.BitLen())}
	steps := []step{{op: "list", list: model.Deny, entry: k, ttl: time.Minute}}
	k.Service = 1 + d.IntN(len(d.w.model.Names)-1)
	if d.one(3) {
		k.Prefix = netip.PrefixFrom(a, a.BitLen()-8).Masked()
	}
	steps = append(steps, step{op: "list", list: model.Allow, entry: k, ttl: 20 * time.Second})
	for range 12 {
		p := packet.NewUDP(d.from(a), at(vip(a), pick(d, d.w.ports())), "hello")
		steps = append(steps, d.frames(p.Bytes())...)
	}
	return steps
}

func (d draw) unlisted() []step {
	return []step{{op: "unlist", list: model.List(d.IntN(2)), entry: d.entry()}}
}

func (d draw) entry() model.EntryKey {
	a := d.player()
	bits := a.BitLen()
	if d.one(2) {
		bits = pick(d, []int{32, 24, 23, 16})
		if a.Is6() {
			bits = pick(d, []int{128, 96, 64, 48, 40})
		}
		if d.one(20) && (a.Is4() || d.one(10)) { // a filter of prefixes is marked bit by bit, and taken back likewise
			bits = 8
		}
	}
	p, err := a.Prefix(bits)
	if err != nil {
		panic(err)
	}
	k := model.EntryKey{Prefix: p}
	if d.one(3) {
		k.Service = 1 + d.IntN(len(d.w.model.Names)-1)
	}
	return k
}

// players are who plays: two of one /24 and /64, two apart, and one on the servers' side.
func players() (four, six []netip.Addr) {
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "192.0.9.9", "198.18.0.1", "198.51.100.200", "192.0.2.77"} {
		four = append(four, netip.MustParseAddr(a))
	}
	for _, a := range []string{"2001:db8:c::1", "2001:db8:c::2", "2001:db8:c:7::1", "2001:db9::1", "2001:db8:5::200", "2001:db8:c:8::1"} {
		six = append(six, netip.MustParseAddr(a))
	}
	return four, six
}

// nobodies are addresses that no player has, and near misses.
func nobodies() (four, six []netip.Addr) {
	for _, a := range []string{"0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "223.255.255.255", "128.0.0.1", "203.0.113.10", "203.0.113.20",
		"203.0.113.21", "198.51.100.11", "198.51.100.21"} {
		four = append(four, netip.MustParseAddr(a))
	}
	for _, a := range []string{"::", "::1", "::2", "::5:100", "ff02::1", "fe80::1", "::ffff:192.0.2.1", "2001:db8::10", "2001:db8::20", "2001:db8:5::11"} {
		six = append(six, netip.MustParseAddr(a))
	}
	return four, six
}

func (d draw) player() netip.Addr {
	four, six := d.w.four, d.w.six
	if d.w.kind == "plain" || d.IntN(5) < 3 {
		return pick(d, four)
	}
	return pick(d, six)
}

// anybody is a player, or now and then nobody that could be one.
func (d draw) anybody() netip.Addr {
	if d.one(40) {
		if d.one(2) {
			return pick(d, d.w.nobody4)
		}
		return pick(d, d.w.nobody6)
	}
	return d.player()
}

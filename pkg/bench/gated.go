// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"

	"parry/loader"
	"parry/loader/gates"
	"parry/pkg/game"
)

const (
	floodFew  = 1_000
	floodMany = 10_000_000
	forgeries = 1 << 30 // addresses that spread knows
	forever   = 1 << 62 // ns: answers don't go stale
)

// openGated is an edge with one service as a configuration has it that says little: all tables are as large as by default, all bounds
// are on, and those that a case is not about are far away. gate is "" for none; its server's answers are cached.
func (b *bench) openGated(gate string, reasons ...string) (*edge, error) {
	s := sizes()
	s.Blocks, s.Allows, s.Prefixes = listSize, 16384, 131072
	s.Unproven, s.Greylist, s.Regulars = 32768, 4194304, 65536
	e, err := b.openEdge(s)
	if err != nil {
		return nil, err
	}
	e.reasons = reasons
	p, err := gatedPlan(gate)
	if err != nil {
		return nil, err
	}
	return e, e.use(p)
}

func gatedPlan(gate string) (*loader.Plan, error) {
	p := newPlan()
	p.Answers = loader.AnswerBudget{Prefix: 10_000_000_000, Total: 10_000_000_000}
	lead(p, loader.NAT, crowdVIP(), at("198.51.100.9", gamePort), netip.MustParseAddr("198.51.100.6"))
	p.Services[0].Strangers = loader.Strangers{
		Packets: 30_000_000, Sessions: 4096, Admissions: 1, Queries: 100_000_000, Unanswered: 20, Weak: tableSize / 4, WeakPrefix: 64,
	}
	if gate != "" {
		g, err := loader.ReadGate(gates.Objects()[gate])
		if err != nil {
			return nil, err
		}
		p.Gates, p.Services[0].Gate, p.Services[0].Answers = []loader.Gate{g}, gate, true
		if gate == game.GateShape {
			params, err := game.ShapeParams("udp", floodShapes())
			if err != nil {
				return nil, err
			}
			p.Services[0].Answers = false
			copy(p.Services[0].GateParams[:], params)
		}
	}
	return p, nil
}

// floodShapes are what the gate of shapes looks at longest: three of them, whose lengths the flood has and whose bytes it hasn't.
func floodShapes() []game.Shape {
	var all []game.Shape
	for n := range int16(3) {
		all = append(all, game.Shape{Length: game.Bounds{Min: 1}, Bytes: game.Pattern{'G', 'A', 'M', 'E', n}})
	}
	return all
}

// floodMakers: sources that nobody has seen before, and who get nowhere.
func (b *bench) floodMakers(m map[string]func() (*probe, error)) {
	flood := func(name string, sources uint32, open func() (*edge, error)) {
		m[name] = func() (*probe, error) {
			e, err := open()
			if err != nil {
				return nil, err
			}
			d, err := b.forgers(name, crowdVIP(), sources)
			in, _ := e.Programs()
			return &probe{driver: d, program: in, frames: [][]byte{strangerTo(crowdVIP())}, want: loader.XDPDrop,
				before: e.Lists().NoticeAllowed}, err // as the daemon does each second
		}
	}
	// Of all ports there is one whose zeros are a reflector's answer.
	refusing := func() (*edge, error) { return b.openGated("quake3", "gate_refused", "reflection") }
	flood("source_flood", floodFew, refusing)
	flood("source_flood_10m", floodMany, refusing)
	flood("shape_flood", floodFew, func() (*edge, error) { return b.openGated(game.GateShape, "gate_refused", "reflection") })
	flood("rules_other_100", floodFew, func() (*edge, error) { return b.openRuled(100, true) })
	flood("rules_10", floodFew, func() (*edge, error) { return b.openRuled(10, false) })
	flood("greylist_flood", forgeries, func() (*edge, error) {
		e, err := b.openGated("", "greylisted", "reflection", "strangers_full") // one in a few hundred is taken for one that comes again
		if err != nil {
			return nil, err
		}
		return e, e.SetState(1, loader.StateAttack)
	})
}

// question is what a case asks, and what its server's answer is, by the number of its kind.
type question struct {
	name, gate string
	ask        func(cookie []byte) []byte
	kind       int
	answer     []byte // of the server's, in the cache; nil = there is none
	proven     bool   // it is asked with a right cookie
	length     int    // of the payload that comes back
}

// answerMakers: questions that the edge answers.
func (b *bench) answerMakers(m map[string]func() (*probe, error)) {
	info := func(cookie []byte) []byte {
		return append([]byte("\xff\xff\xff\xffTSource Engine Query\x00"), cookie...)
	}
	players := func(cookie []byte) []byte { return append([]byte("\xff\xff\xff\xffU"), cookie...) }
	plain := func(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }
	magic := "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"
	pong := "\x1c\x00\x00\x00\x00\x00\x00\x00\x00ServerID" + magic + "\x00\x6c" + string(filler(108))
	for _, q := range []question{
		{name: "a2s_challenge", gate: "source", ask: info, length: 9},
		{name: "a2s_cached", gate: "source", ask: info, answer: append([]byte("\xff\xff\xff\xffI"), filler(245)...), proven: true, length: 250},
		{name: "cookie_check", gate: "source", ask: players, kind: 1, answer: []byte("\xff\xff\xff\xffD\x00"), proven: true, length: 6},
		{name: "q3_info_cached", gate: "quake3", ask: plain("\xff\xff\xff\xffgetinfo k7w"), answer: append([]byte("\xff\xff\xff\xffinfoResponse\n"), filler(179)...), length: 210},
		{name: "raknet_pong_cached", gate: "raknet", ask: plain("\x01\x00\x00\x00\x00\x00\x01\xe2\x40" + magic + "ClientID"), answer: []byte(pong), length: 143},
	} {
		m[q.name] = func() (*probe, error) { return b.openQuestion(q) }
	}
}

func filler(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }

// openQuestion makes the probe of a question; it is the same client's each time.
func (b *bench) openQuestion(q question) (*probe, error) {
	e, err := b.openGated(q.gate)
	if err != nil {
		return nil, err
	}
	if q.answer != nil {
		cell := loader.AnswerCell{Pool: crowdVIP().Addr().String(), Server: "s"}
		if err := e.SetAnswer(cell, q.kind, q.answer, false, forever); err != nil {
			return nil, err
		}
	}
	from := stranger(0, crowdVIP())
	anew := func() ([]byte, error) {
		if !q.proven {
			return from.datagram(q.ask(nil)), nil
		}
		cookie, err := e.challenge(from)
		return from.datagram(q.ask(cookie)), err
	}
	frame, err := anew()
	if err != nil {
		return nil, err
	}
	if r, err := e.Process(frame); err != nil || r.Code != loader.XDPTX || len(r.Out) != from.l4At()+udpLen+q.length {
		return nil, fmt.Errorf("its answer is %q, XDP code %d, reason %q: %w", r.Out, r.Code, r.Reason, err)
	}
	d, err := b.asker(q.name, len(frame))
	if err != nil {
		return nil, err
	}
	in, _ := e.Programs()
	p := &probe{driver: d, program: in, frames: [][]byte{frame}, want: loader.XDPTX}
	p.before = func() error {
		frame, err := anew()
		if err != nil {
			return err
		}
		return errors.Join(e.Lists().NoticeAllowed(), d.ask(frame))
	}
	return p, p.before()
}

// challenge is what a client is given, for a sample that lasts less than the 17 s that it holds for.
func (e *edge) challenge(from tuple) ([]byte, error) {
	r, err := e.Process(from.datagram([]byte("\xff\xff\xff\xffTSource Engine Query\x00")))
	if err != nil {
		return nil, err
	}
	payload := r.Out[min(len(r.Out), from.l4At()+udpLen):]
	if r.Code != loader.XDPTX || len(payload) != 9 || payload[4] != 'A' {
		return nil, fmt.Errorf("asked for a challenge, got XDP code %d, %d bytes", r.Code, len(payload))
	}
	return payload[5:], nil
}

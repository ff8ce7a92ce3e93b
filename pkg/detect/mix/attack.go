// SPDX-License-Identifier: Apache-2.0

package mix

import (
	"encoding/binary"
	"net/netip"
	"time"

	"parry/pkg/detect"
)

// Bot connects at intervals of which noise percent is chance, stays, and leaves.
type Bot struct {
	Every Bounds // drawn once a bot
	Noise float64
	Stay  Bounds // drawn each time
	Plays bool
	By    detect.EndedBy
	To    []*Service // one each bot; Wander: one each time
	Wander,
	Chained bool // the interval begins where the last session ended
}

// Attack lets a bot attack.
func (w *World) Attack(a *Actor, b Bot) {
	every, s := b.Every.of(w), Pick(w, b.To)
	var join func()
	join = func() {
		if b.Wander {
			s = Pick(w, b.To)
		}
		p := Plan{Stay: b.Stay.of(w), Plays: b.Plays, By: b.By}
		next := func() {
			wait := w.About(every, b.Noise)
			if a.Blocked != 0 { // it notices, and only looks now and then
				wait *= 10
			}
			w.After(wait, join)
		}
		if b.Chained {
			p.Then, p.Refused = func(detect.EndedBy) { next() }, func(string) { next() }
		} else {
			next()
		}
		w.Connect(a, s, p)
	}
	join()
}

// Bots lets many attack, each from a network of its own, within a time; in: all from there.
func (w *World) Bots(family string, n int, within time.Duration, in netip.Prefix, b Bot) {
	for i := range n {
		var a *Actor
		if in.IsValid() {
			a = w.Actor(family, true, In(in, i))
		} else {
			a = w.Alone(family, true)
		}
		w.At(w.Between(0, within), func() { w.Attack(a, b) })
	}
}

// Noise is a flood of SYNs and first packets from random forged addresses, so many a second.
func (w *World) Noise(perSecond int, s *Service) {
	a := Actor{}
	each := time.Second / time.Duration(perSecond)
	var send func()
	send = func() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], w.Rand.Uint32()>>1|1<<30)
		a.Addr = netip.AddrFrom4(b)
		o := detect.Observation{Kind: detect.Refused, Client: uint16(w.Rand.Uint32()), Reason: "greylisted", Length: 40}
		if s.Proto == TCP {
			o.Kind = detect.SYN
		}
		w.Tell(&a, s, o)
		w.After(each, send)
	}
	send()
}

// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"net/netip"
	"time"

	"parry/test/model"
	"parry/test/packet"
)

// The moves that take several packets to mean something.

// zeroSum is a datagram whose checksum comes out as 0 when it leaves.
func (d draw) zeroSum() packet.Packet {
	s := d.session()
	if s == nil || s.Proto != packet.UDP {
		return d.fromClient()
	}
	out := packet.NewUDP(s.Face, s.Server, "")
	out.Payload = append(d.bytes(2*d.IntN(20)), 0, 0)
	frame := out.Bytes()
	if at := len(frame) - len(out.Payload) - 2; at > 0 {
		copy(out.Payload[len(out.Payload)-2:], frame[at:at+2])
	}
	out.From, out.To = s.Client, s.Front
	return out
}

// played is a session that plays for a while, and may end as TCP's do.
func (d draw) played() []step {
	s := d.session()
	if s == nil {
		return nil
	}
	say := func(from, to netip.AddrPort, flags uint8) step {
		p := packet.NewUDP(from, to, "")
		if s.Proto == packet.TCP {
			p = packet.NewTCP(from, to, flags, "")
		}
		p.Payload = d.bytes(d.IntN(40))
		return step{op: "receive", frame: p.Bytes()}
	}
	up := func(flags uint8) step { return say(s.Client, s.Front, flags) }
	down := func(flags uint8) step {
		if !s.Local {
			return say(s.Server, s.Face, flags)
		}
		answer := say(s.Front, s.Client, flags)
		answer.op, answer.n = "send", 1
		return answer
	}
	steps := []step{up(packet.SYN), down(packet.SYN | packet.ACK)}
	for range 1 + d.IntN(10) {
		steps = append(steps, up(packet.ACK), down(packet.ACK|packet.PSH))
	}
	switch d.IntN(4) {
	case 0:
		steps = append(steps, up(packet.FIN|packet.ACK), down(packet.FIN|packet.ACK), up(packet.ACK))
	case 1:
		steps = append(steps, down(packet.RST))
	case 2:
		return steps
	}
	return append(steps, step{op: "pass", pass: 4*time.Second + time.Duration(d.IntN(2000))*time.Millisecond}, step{op: "sweep"})
}

// repeated is one packet many times: what limits are for.
func (d draw) repeated() []step {
	f := d.up
	if d.one(3) {
		f = d.fromClient
	}
	p, n := f(), 2+d.IntN(60)
	if d.one(8) {
		n += 500
	}
	if len(p.Payload) > 200 {
		p.Payload = p.Payload[:200]
	}
	fresh := d.one(3) // from a port of its own each time
	var steps []step
	for i := range n {
		if fresh {
			p.From = at(p.From.Addr(), 40000+uint16(i%12))
		}
		steps = append(steps, d.frames(p.Bytes())...)
		if d.one(5 + n/8) {
			steps = append(steps, step{op: "pass", pass: 4e6})
		}
	}
	return steps
}

// loans are sessions of one source at its limit, each with what it last borrowed, for about as long as that lasts.
func (d draw) loans() []step {
	var all [][]byte
	a := d.player()
	for n := range uint16(3) {
		p := packet.NewUDP(at(a, 40010+n), at(vip(a), lentPort), "")
		p.Payload = d.bytes(d.IntN(8))
		all = append(all, p.Bytes())
	}
	steps := append(d.frames(all...), step{op: "flood", n: 520, frame: all[0]})
	for range 12 {
		steps = append(steps, step{op: "pass", pass: time.Duration(1950+d.IntN(180)) * time.Millisecond}, step{op: "flood", n: 37 + d.IntN(8), frame: all[0]})
		for range 1 + d.IntN(4) {
			steps = append(steps, d.frames(pick(d, all[1:]))...)
		}
	}
	return steps
}

// flood is more than a budget that nobody configures gives away at once.
func (d draw) flood() []step {
	s := step{op: "flood", n: 90 + d.IntN(40)}
	switch d.IntN(30) {
	case 0: // the ports that must always work
		s.n += 10_000
		s.frame = packet.NewTCP(d.from(d.w.four[0]), at(host4, 22), packet.SYN, "").Bytes()
	case 1, 2, 3: // the link's needs
		s.n += 1_000
		s.frame = packet.Frame(packet.EdgeSide, packet.ClientSide, packet.TypeARP, make([]byte, 28))
	default: // ICMP errors
		all := d.aboutSession()
		if len(all) != 1 {
			return all
		}
		s.frame = all[0].frame
	}
	return []step{s}
}

// recalled is one denied address or prefix whose packets come before and after something that ends or changes that.
func (d draw) recalled() []step {
	four := d.w.four
	a := pick(d, four)
	p, err := a.Prefix(pick(d, []int{32, 32, 26, 24, 16}))
	if err != nil {
		panic(err)
	}
	k := model.EntryKey{Prefix: p}
	if d.one(3) {
		k.Service = 1 + d.IntN(len(d.w.model.Names)-1)
	}
	from := func(b netip.Addr) step {
		return step{op: "receive", frame: packet.NewUDP(d.from(b), at(vip(b), pick(d, d.w.ports())), "hello").Bytes()}
	}
	asked := func() (steps []step) {
		port := pick(d, d.w.ports())
		for _, b := range []netip.Addr{a, a, pick(d, four), pick(d, four), a} {
			steps = append(steps, step{op: "receive", frame: packet.NewUDP(d.from(b), at(vip(b), port), "hello").Bytes()})
		}
		return append(steps, from(a))
	}
	ttl := pick(d, []time.Duration{0, 300 * time.Millisecond, 2500 * time.Millisecond, 20 * time.Second})
	steps := append([]step{{op: "list", list: model.Deny, entry: k, ttl: ttl}}, asked()...)
	other := model.EntryKey{Prefix: netip.PrefixFrom(pick(d, four), 32)}
	steps = append(steps, pick(d, [][]step{
		{{op: "unlist", list: model.Deny, entry: k}},
		{{op: "list", list: model.Allow, entry: other, ttl: 20 * time.Second}},
		{{op: "quietly", list: model.Allow, entry: model.EntryKey{Prefix: netip.PrefixFrom(a, 32)}, ttl: 20 * time.Second}},
		{{op: "quietly", list: model.Deny, entry: model.EntryKey{Prefix: netip.PrefixFrom(a, 32), Service: k.Service}, ttl: 300 * time.Millisecond}},
		{{op: "list", list: model.Deny, entry: k, ttl: 300 * time.Millisecond}, {op: "pass", pass: 299 * time.Millisecond}, from(a), {op: "pass", pass: time.Millisecond}},
		{{op: "pass", pass: ttl + time.Duration(d.IntN(2_500))*time.Millisecond}},
		{{op: "pass", pass: ttl}},
	})...)
	return append(steps, asked()...)
}

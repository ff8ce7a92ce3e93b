// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"encoding/binary"
	"net/netip"
	"time"

	"parry/test/packet"
)

// anything is a good packet of any kind.
func (d draw) anything() packet.Packet {
	switch d.IntN(6) {
	case 0, 1:
		return d.fromClient()
	case 2, 3:
		return d.up()
	case 4:
		return d.down()
	}
	a := d.anybody()
	return d.ping(a, pick(d, []netip.Addr{vip(a), addrOf(a.Is4(), host4, host6)}))
}

// parts are a datagram's fragments: in order, or not, or not all of them, or cut as nobody would.
func (d draw) parts() []step {
	p := d.anything()
	if len(p.Payload) < 60 {
		p.Payload = d.bytes(60 + d.IntN(900))
	}
	id := pick(d, []uint32{1, 2, 0x5a5a, 0xdeadbeef})
	all := p.Fragments(id, 8*(1+d.IntN(80)))
	if len(all) > 6 {
		all = all[:6]
	}
	switch d.IntN(8) {
	case 0:
		d.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	case 1:
		all = all[len(all)-1:]
	case 2:
		all = append(all, p.Part(id, 8*d.IntN(8), 1+d.IntN(40), d.one(2)), p.Part(id, 65528-8*d.IntN(3), d.IntN(24), false))
	case 3:
		all = append(all, all[len(all)-1], all[0])
	}
	steps := d.frames(all...)
	if d.one(5) && len(steps) > 1 {
		later := step{op: "pass", pass: pick(d, []time.Duration{time.Second, 9 * time.Second, 10500 * time.Millisecond})}
		steps = append(append(append([]step{}, steps[:1]...), later), steps[1:]...)
	}
	return steps
}

// orphaned are a datagram's fragments whose session ends between them.
func (d draw) orphaned() []step {
	s := d.session()
	if s == nil || s.Proto != packet.UDP {
		return nil
	}
	p := packet.NewUDP(s.Client, s.Front, "")
	if d.one(2) && !s.Local {
		p = packet.NewUDP(s.Server, s.Face, "")
	}
	p.Payload = d.bytes(100 + d.IntN(200))
	parts := d.frames(p.Fragments(uint32(d.IntN(1<<16)), 8*(4+d.IntN(8)))...)
	ends := pick(d, [][]step{{{op: "kill", key: s.Key()}}, d.swept()})
	return append(append(parts[:1:1], ends...), parts[1:]...)
}

// aboutSession is an ICMP error about a packet of a session, or one that says so.
func (d draw) aboutSession() []step {
	var x packet.Packet
	var to netip.Addr
	if s := d.session(); s != nil && !d.one(8) {
		if d.one(2) { // from the servers' side, about what the client sent
			x, to = d.packet(s.Face, s.Server, s.Proto), s.Face.Addr()
		} else {
			x, to = d.packet(s.Front, s.Client, s.Proto), s.Front.Addr()
		}
	} else { // about a packet that nobody sent
		a := d.player()
		x = d.packet(at(vip(a), pick(d, []uint16{natPort, 9, 2001, withinPort})), d.from(a), d.proto())
		if d.one(3) {
			x.From = at(addrOf(a.Is4(), nat4, nat6), 2000+uint16(d.IntN(30)))
		}
		to = x.From.Addr()
	}
	x.Exts = nil
	quote := x.L3()
	if d.one(4) {
		quote = x.Fragments(7, 8*(1+d.IntN(20)))[0][14+4*len(x.Tags):]
	}
	headers := 28
	if to.Is6() {
		headers = 48
	}
	if d.one(2) && len(quote) > headers {
		quote = quote[:headers+d.IntN(len(quote)-headers)]
	}
	if d.one(10) {
		quote = quote[:d.IntN(len(quote))]
	}
	p := d.icmpError(to, quote)
	if d.one(12) {
		return d.frames(d.mutate(p.Bytes()))
	}
	if d.one(20) {
		return d.frames(p.Fragments(9, 64)...)
	}
	return d.frames(p.Bytes())
}

func (d draw) icmpError(to netip.Addr, quote []byte) packet.Packet {
	from := addrOf(to.Is4(), netip.MustParseAddr("192.0.2.254"), netip.MustParseAddr("2001:db8:c:ffff::1"))
	if d.one(8) {
		for from = d.anybody(); from.Is4() != to.Is4(); {
			from = d.anybody()
			if d.w.kind == "plain" {
				from = d.w.four[0]
				break
			}
		}
	}
	kind := pick(d, []uint8{3, 3, 11, 12, 5})
	if to.Is6() {
		kind = pick(d, []uint8{1, 2, 2, 3, 4, 128})
	}
	p := packet.NewICMP(from, to, kind, uint8(d.IntN(5)), uint32(d.IntN(1600)), append([]byte{}, quote...))
	d.shape(&p)
	return p
}

// hostile is a frame that somebody spoilt, or that is nothing at all.
func (d draw) hostile() []step {
	var frame []byte
	switch d.IntN(12) {
	case 0:
		frame = d.junk()
	case 1:
		if all := d.parts(); len(all) > 0 {
			frame = all[0].frame
		}
	default:
		frame = d.anything().Bytes()
	}
	if len(frame) < 14 {
		return nil
	}
	return d.frames(d.mutate(frame))
}

func (d draw) junk() []byte {
	b := make([]byte, 14+d.IntN(120))
	for i := range b {
		b[i] = byte(d.Uint32())
	}
	binary.BigEndian.PutUint16(b[12:], pick(d, []uint16{packet.TypeIPv4, packet.TypeIPv6, packet.TypeVLAN, packet.TypeQinQ}))
	if len(b) > 15 && d.one(2) {
		b[14] = pick(d, []byte{0x45, 0x46, 0x60, 0x44})
	}
	return b
}

// mutate changes a few bytes, where it is likeliest to matter, or the frame's length.
func (d draw) mutate(frame []byte) []byte {
	b := append([]byte{}, frame...)
	for range 1 + d.IntN(3) {
		switch d.IntN(7) {
		case 0: // any byte of the headers
			b[d.IntN(min(len(b), 100))] ^= byte(1 << d.IntN(8))
		case 1:
			b[d.IntN(min(len(b), 100))] = byte(d.Uint32())
		case 2: // ends too early
			b = b[:max(14, d.IntN(len(b)+1))]
		case 3:
			b = append(b, d.bytes(d.IntN(40))...)
		case 4: // another tag
			if len(b) < 3000 {
				tag := []byte{0x81, 0, byte(d.Uint32()), byte(d.Uint32())}
				b = append(append(append([]byte{}, b[:12]...), tag...), b[12:]...)
			}
		default:
			d.mutateHeader(b)
		}
	}
	return b
}

// mutateHeader sets a field of a header to something that it should not be.
func (d draw) mutateHeader(b []byte) {
	l3 := 14
	for l3 < 22 && len(b) > l3 && (binary.BigEndian.Uint16(b[l3-2:]) == packet.TypeVLAN || binary.BigEndian.Uint16(b[l3-2:]) == packet.TypeQinQ) {
		l3 += 4
	}
	four := []int{0, 2, 3, 6, 7, 8, 9, 20, 22, 24, 25, 26, 27, 32, 33}
	six := []int{0, 4, 5, 6, 7, 40, 41, 42, 43, 44, 45, 46, 47, 52, 53}
	at := pick(d, four)
	if len(b) > l3 && b[l3]>>4 == 6 {
		at = pick(d, six)
	}
	if l3+at >= len(b) {
		return
	}
	if d.one(2) {
		b[l3+at] = pick(d, []byte{0, 1, 2, 4, 5, 6, 7, 8, 17, 44, 43, 51, 58, 60, 0x20, 0x40, 0x45, 0x50, 0x60, 0xff})
		return
	}
	b[l3+at] += byte(d.IntN(9)) - 4
}

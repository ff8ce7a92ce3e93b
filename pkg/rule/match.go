// SPDX-License-Identifier: Apache-2.0

package rule

import "encoding/binary"

// Packet is what a rule is shown of a frame: the IP packet in it, and how long the frame is.
type Packet struct {
	IP     []byte // from the IP header to the end of the frame, padding included
	V6     bool   // as the frame says
	Length uint32 // of the frame, tags of VLANs left out: what `length` is
}

// outcome is what came of a test. spoilt: it asked for what the packet has not. Then the expression is false whatever else it
// says, as in tcpdump's programs: `not udp[100] = 1` is true of no packet that ends before.
type outcome uint8

const (
	no outcome = iota
	yes
	spoilt
)

func truth(b bool) outcome {
	if b {
		return yes
	}
	return no
}

// Match tells whether a packet is one that the expression means.
func (e *Expr) Match(p *Packet) bool { return p.judge(e.root) == yes }

func (p *Packet) judge(n node) outcome {
	switch n := n.(type) {
	case and:
		if o := p.judge(n.l); o != yes {
			return o
		}
		return p.judge(n.r)
	case or:
		if o := p.judge(n.l); o != no {
			return o
		}
		return p.judge(n.r)
	case not:
		switch p.judge(n.x) {
		case yes:
			return no
		case no:
			return yes
		}
		return spoilt
	case family:
		return truth(p.V6 == n.v6)
	case proto:
		return p.proto(n)
	case host4:
		return p.host4(n)
	case host6:
		return p.host6(n)
	case ports:
		return p.ports(n)
	case relation:
		return p.relation(n)
	}
	return spoilt // there is no other
}

// at reads size bytes; false where the packet ends before.
func (p *Packet) at(i uint32, size uint8) (uint32, bool) {
	if uint64(i)+uint64(size) > uint64(len(p.IP)) {
		return 0, false
	}
	switch b := p.IP[i:]; size {
	case 1:
		return uint32(b[0]), true
	case 2:
		return uint32(binary.BigEndian.Uint16(b)), true
	default:
		return binary.BigEndian.Uint32(b), true
	}
}

// is compares bytes.
func (p *Packet) is(i uint32, size uint8, mask, want uint32) outcome {
	v, ok := p.at(i, size)
	if !ok {
		return spoilt
	}
	return truth(v&mask == want)
}

// all is yes where each is, asked in order until one is not.
func all(asked ...func() outcome) outcome {
	for _, ask := range asked {
		if o := ask(); o != yes {
			return o
		}
	}
	return yes
}

// some is yes where one is, asked in order until one is not no.
func some(asked ...func() outcome) outcome {
	for _, ask := range asked {
		if o := ask(); o != no {
			return o
		}
	}
	return no
}

// proto: of IPv6 the first next header, or the one behind a fragment header.
func (p *Packet) proto(n proto) outcome {
	const all8 = 0xff
	if p.V6 {
		if n.of == 4 {
			return no
		}
		return some(
			func() outcome { return p.is(6, 1, all8, uint32(n.n)) },
			func() outcome {
				return all(func() outcome { return p.is(6, 1, all8, protoFragment) }, func() outcome { return p.is(40, 1, all8, uint32(n.n)) })
			})
	}
	if n.of == 6 {
		return no
	}
	return p.is(9, 1, all8, uint32(n.n))
}

// either asks what is asked of a direction.
func either(d direction, of func(destination bool) outcome) outcome {
	src, dst := func() outcome { return of(false) }, func() outcome { return of(true) }
	switch d {
	case dirSource:
		return src()
	case dirDestination:
		return dst()
	case dirBoth:
		return all(src, dst)
	}
	return some(src, dst)
}

func (p *Packet) host4(n host4) outcome {
	if p.V6 {
		return no
	}
	return either(n.dir, func(destination bool) outcome {
		at := uint32(12)
		if destination {
			at = 16
		}
		return p.is(at, 4, n.mask, n.addr)
	})
}

func (p *Packet) host6(n host6) outcome {
	if !p.V6 {
		return no
	}
	return either(n.dir, func(destination bool) outcome {
		at := uint32(8)
		if destination {
			at = 24
		}
		for i := range n.addr {
			if o := p.is(at+uint32(4*i), 4, n.mask[i], n.addr[i]); o != yes {
				return o
			}
		}
		return yes
	})
}

// later tells of IPv4: is it a fragment that is not the first?
func (p *Packet) later() outcome {
	v, ok := p.at(6, 2)
	if !ok {
		return spoilt
	}
	return truth(v&0x1fff != 0)
}

// header is the length of an IPv4 header, as that says.
func (p *Packet) header() (uint32, bool) {
	v, ok := p.at(0, 1)
	return v & 15 * 4, ok
}

func (p *Packet) ports(n ports) outcome {
	protocols := []uint8{protoSCTP, protoTCP, protoUDP}
	if n.of != 0 {
		protocols = []uint8{n.of}
	}
	for _, number := range protocols {
		if o := p.portsOf(n, number); o != no {
			return o
		}
	}
	return no
}

func (p *Packet) portsOf(n ports, number uint8) outcome {
	at, where := uint32(40), uint32(6)
	if !p.V6 {
		where = 9
	}
	if o := p.is(where, 1, 0xff, uint32(number)); o != yes {
		return o
	}
	if !p.V6 {
		switch p.later() {
		case yes:
			return no
		case spoilt:
			return spoilt
		}
		var ok bool
		if at, ok = p.header(); !ok {
			return spoilt
		}
	}
	return either(n.dir, func(destination bool) outcome {
		i := at
		if destination {
			i += 2
		}
		v, ok := p.at(i, 2)
		if !ok {
			return spoilt
		}
		return truth(v >= uint32(n.from) && v <= uint32(n.to))
	})
}

// relation: numbers are taken only of a packet of all protocols that they are of.
func (p *Packet) relation(n relation) outcome {
	if o := all(func() outcome { return p.has(n.l) }, func() outcome { return p.has(n.r) }); o != yes {
		return o
	}
	l, ok := p.number(n.l)
	if !ok {
		return spoilt
	}
	r, ok := p.number(n.r)
	if !ok {
		return spoilt
	}
	return truth(compare(n.op, l, r))
}

func compare(op string, l, r uint32) bool {
	switch op {
	case "=":
		return l == r
	case "!=":
		return l != r
	case "<":
		return l < r
	case "<=":
		return l <= r
	case ">":
		return l > r
	}
	return l >= r
}

// has tells whether a packet is of all the protocols that a number is taken from.
func (p *Packet) has(a arith) outcome {
	switch a := a.(type) {
	case negative:
		return p.has(a.x)
	case operation:
		return all(func() outcome { return p.has(a.l) }, func() outcome { return p.has(a.r) })
	case load:
		own := func() outcome { return truth(p.V6 == (a.layer == layerIP6 || a.layer == layerICMP6)) }
		index := func() outcome { return p.has(a.index) }
		if a.layer.transport() { // in tcpdump's order, which tells where a packet is cut off
			own, index = index, own
		}
		return all(index, own, func() outcome { return p.carries(a.layer) })
	}
	return yes
}

func (p *Packet) carries(l layer) outcome {
	switch {
	case l == layerICMP6:
		return p.is(6, 1, 0xff, protoICMP6)
	case !l.transport():
		return yes
	}
	if o := p.is(9, 1, 0xff, uint32(l.number())); o != yes {
		return o
	}
	switch p.later() {
	case no:
		return yes
	case yes:
		return no
	}
	return spoilt
}

func (p *Packet) number(a arith) (uint32, bool) {
	switch a := a.(type) {
	case constant:
		return uint32(a), true
	case length:
		return p.Length, true
	case negative:
		v, ok := p.number(a.x)
		return -v, ok
	case load:
		return p.take(a)
	case operation:
		l, ok := p.number(a.l)
		if !ok {
			return 0, false
		}
		r, ok := p.number(a.r)
		if !ok {
			return 0, false
		}
		return compute(a.op, l, r)
	}
	return 0, false
}

func (p *Packet) take(a load) (uint32, bool) {
	i, ok := p.number(a.index)
	if !ok {
		return 0, false
	}
	switch {
	case a.layer.transport():
		header, ok := p.header()
		if !ok {
			return 0, false
		}
		i += header // in 32 bits, as the kernel does
	case a.layer == layerICMP6:
		if i > maxOffset-40 {
			return 0, false
		}
		i += 40
	}
	if i > maxOffset-uint32(a.size) {
		return 0, false
	}
	return p.at(i, a.size)
}

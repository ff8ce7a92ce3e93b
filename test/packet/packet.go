// SPDX-License-Identifier: Apache-2.0

// Package packet composes frames for tests, right by construction: a Packet says what is on the wire, Bytes computes
// every length and checksum. Tests make one good packet and change a copy of it; Check recomputes from scratch what a
// frame claims.
package packet

import (
	"encoding/binary"
	"net/netip"
)

// Protocols of IP.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// Extension headers of IPv6.
const (
	HopByHop    = 0
	Routing     = 43
	Fragment    = 44
	Auth        = 51
	Destination = 60
	NoNext      = 59
)

// TCP's flags.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Ethertypes.
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeIPv6 = 0x86dd
	TypeVLAN = 0x8100
	TypeQinQ = 0x88a8
)

// MAC is a link address.
type MAC [6]byte

// Tag is a VLAN tag: its own ethertype, then priority and VLAN number as on the wire.
type Tag struct{ Proto, TCI uint16 }

// Ext is an IPv6 extension header. Body is what follows its first two bytes; Bytes pads it to what the header counts in.
type Ext struct {
	Type uint8
	Body []byte
}

// Packet is one packet, or before it is cut into fragments one datagram. The addresses' family decides the IP version;
// ports of 0 and a protocol without ports are written as such.
type Packet struct {
	Dst, Src MAC
	Tags     []Tag
	From, To netip.AddrPort
	Proto    uint8
	TTL      uint8 // or hop limit
	TOS      uint8 // or traffic class
	ID       uint16
	DF       bool
	Options  []byte // IPv4, padded to 4
	Exts     []Ext  // IPv6

	NoSum      bool // UDP over IPv4 without a checksum
	Flags      uint8
	Seq, Ack   uint32
	TCPOptions []byte // padded to 4

	Type, Code uint8  // ICMP
	Rest       uint32 // the four bytes after its checksum

	Payload []byte
	Trailer []byte // after the IP packet: Ethernet's padding
}

// The link addresses of a frame that a builder makes, until its test says otherwise.
var (
	ClientSide = MAC{2, 0, 0, 0, 0, 0xc1}
	EdgeSide   = MAC{2, 0, 0, 0, 0, 0xed}
)

func base(proto uint8, from, to netip.AddrPort, payload []byte) Packet {
	return Packet{Dst: EdgeSide, Src: ClientSide, From: from, To: to, Proto: proto, TTL: 64, ID: 0x1234, Payload: payload}
}

// NewUDP is a datagram.
func NewUDP(from, to netip.AddrPort, payload string) Packet {
	return base(UDP, from, to, []byte(payload))
}

// NewTCP is a segment.
func NewTCP(from, to netip.AddrPort, flags uint8, payload string) Packet {
	p := base(TCP, from, to, []byte(payload))
	p.Flags, p.Seq, p.Ack = flags, 0x01020304, 0x0a0b0c0d
	return p
}

// NewICMP is an ICMP or ICMPv6 message, by the family of its addresses.
func NewICMP(from, to netip.Addr, typ, code uint8, rest uint32, payload []byte) Packet {
	proto := uint8(ICMP)
	if from.Is6() {
		proto = ICMPv6
	}
	p := base(proto, netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0), payload)
	p.Type, p.Code, p.Rest = typ, code, rest
	return p
}

// With returns a copy that the function has changed.
func (p Packet) With(change func(*Packet)) Packet {
	change(&p)
	return p
}

// Bytes is the whole frame.
func (p Packet) Bytes() []byte { return p.frame(p.l4(), nil) }

// L3 is the frame's IP packet alone: what an ICMP error quotes from.
func (p Packet) L3() []byte {
	p.Tags, p.Trailer = nil, nil
	return p.Bytes()[14:]
}

// Frame is a frame that holds no IP.
func Frame(dst, src MAC, etherType uint16, payload []byte) []byte {
	b := append(append([]byte{}, dst[:]...), src[:]...)
	b = binary.BigEndian.AppendUint16(b, etherType)
	return append(b, payload...)
}

// fragment is one part of a datagram.
type fragment struct {
	id     uint32
	offset int // in bytes
	more   bool
}

// Part is one fragment of the datagram p, with n bytes from the given offset of what follows its IP header (and
// extension headers): the rows of broken fragments are made with it. more = others are to follow it.
func (p Packet) Part(id uint32, offset, n int, more bool) []byte {
	l4 := p.l4()
	for len(l4) < offset+n {
		l4 = append(l4, 0)
	}
	return p.frame(l4[offset:offset+n], &fragment{id, offset, more})
}

// Fragments cuts the datagram into fragments of at most size bytes, a multiple of 8, each.
func (p Packet) Fragments(id uint32, size int) [][]byte {
	var all [][]byte
	n := len(p.l4())
	for at := 0; at < n; at += size {
		all = append(all, p.Part(id, at, min(size, n-at), at+size < n))
	}
	return all
}

func (p *Packet) frame(payload []byte, f *fragment) []byte {
	b := append(append([]byte{}, p.Dst[:]...), p.Src[:]...)
	for _, t := range p.Tags {
		b = binary.BigEndian.AppendUint16(b, t.Proto)
		b = binary.BigEndian.AppendUint16(b, t.TCI)
	}
	if p.From.Addr().Is4() {
		b = binary.BigEndian.AppendUint16(b, TypeIPv4)
		b = append(b, p.ipv4(len(payload), f)...)
	} else {
		b = binary.BigEndian.AppendUint16(b, TypeIPv6)
		b = append(b, p.ipv6(len(payload), f)...)
	}
	return append(append(b, payload...), p.Trailer...)
}

func (p *Packet) ipv4(n int, f *fragment) []byte {
	options := pad(p.Options, 4, 0)
	b := make([]byte, 20, 60)
	b[0] = 4<<4 | byte(20+len(options))/4
	b[1] = p.TOS
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(options)+n))
	binary.BigEndian.PutUint16(b[4:], p.ID)
	if p.DF {
		b[6] = 0x40
	}
	if f != nil {
		binary.BigEndian.PutUint16(b[4:], uint16(f.id))
		binary.BigEndian.PutUint16(b[6:], uint16(f.offset/8)|more(f)<<13)
	}
	b[8], b[9] = p.TTL, p.Proto
	from, to := p.From.Addr().As4(), p.To.Addr().As4()
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	b = append(b, options...)
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(b)))
	return b
}

func more(f *fragment) uint16 {
	if f.more {
		return 1
	}
	return 0
}

func (p *Packet) ipv6(n int, f *fragment) []byte {
	var chain []byte
	next := p.Proto
	if f != nil {
		chain = append([]byte{next, 0}, 0, 0, 0, 0, 0, 0)
		binary.BigEndian.PutUint16(chain[2:], uint16(f.offset)|more(f))
		binary.BigEndian.PutUint32(chain[4:], f.id)
		next = Fragment
	}
	for i := len(p.Exts) - 1; i >= 0; i-- {
		chain = append(p.Exts[i].bytes(next), chain...)
		next = p.Exts[i].Type
	}
	b := make([]byte, 40, 40+len(chain))
	b[0], b[1] = 6<<4|p.TOS>>4, p.TOS<<4
	binary.BigEndian.PutUint16(b[4:], uint16(len(chain)+n))
	b[6], b[7] = next, p.TTL
	from, to := p.From.Addr().As16(), p.To.Addr().As16()
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	return append(b, chain...)
}

func (e Ext) bytes(next uint8) []byte {
	b := pad(append([]byte{next, 0}, e.Body...), 8, 0)
	b[1] = byte(len(b)/8 - 1)
	if e.Type == Auth {
		b[1] = byte(len(b)/4 - 2)
	}
	return b
}

func pad(b []byte, to int, with byte) []byte {
	b = append([]byte{}, b...)
	for len(b)%to != 0 {
		b = append(b, with)
	}
	return b
}

// Len is the length of the IP packet.
func (p Packet) Len() int { return len(p.L3()) }

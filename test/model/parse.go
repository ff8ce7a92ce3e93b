// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// Protocols, by their IP numbers.
const (
	icmp4 = 1
	tcp   = 6
	udp   = 17
	icmp6 = 58
)

// TCP's flags.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	ack = 0x10
)

// lastHeader is the last byte of a frame at which an L4 header may begin.
const lastHeader = 1023

// part is which part of a datagram a packet is.
type part int

const (
	whole part = iota
	first      // fragment
	later      // fragment
)

// view is a packet and what is known of it so far.
type view struct {
	frame    []byte
	tags     int // VLAN tags that it came with
	l3, l4   int // offsets in the frame; l4 = 0: not found
	family   int // 4 or 6; 0 = no IP
	src, dst netip.Addr
	proto    uint8
	length   int // of the IP packet, by its own header; 0 = it can't be told
	part     part
	id       uint32 // of a fragment's datagram
	sport    uint16
	dport    uint16
	flags    uint8 // TCP's
	whole    int   // UDP: bytes of the datagram, by its own header

	service   int
	offset    uint16     // of its port among the service's
	down      bool       // from server to client
	shadow    Reason     // what policy would have dropped it for, were it enforced
	unlimited bool       // source limits don't hold for it
	learn     bool       // its sender's link address may be taken for the way to where it came from
	proof     Proof      // of its source, by its gate
	query     bool       // so its gate says
	again     bool       // it had to come again, and did
	heard     bool       // its gate has seen it
	ruled     bool       // its service's rules have
	told      *Outcome   // what became of it there, in a session that has only asked so far
	refused   Reason     // and would have none of it: it goes on as a reset
	shaken    *side      // it brought a cookie back: what was agreed on
	client    netip.Addr // on the way back: whom it is for
	player    bool       // that one is known to be one
}

func (p *view) from() netip.AddrPort { return netip.AddrPortFrom(p.src, p.sport) }
func (p *view) to() netip.AddrPort   { return netip.AddrPortFrom(p.dst, p.dport) }

// ip is the IP packet, and what may lie behind it in the frame.
func (p *view) ip() []byte { return p.frame[p.l3:] }

// hasPorts tells whether the packet begins with the ports of UDP or TCP.
func (p *view) hasPorts() bool { return p.part != later && (p.proto == udp || p.proto == tcp) }

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// parse reads a frame as far as it can be read. A reason = it is damaged, and how.
func parse(frame []byte) (*view, Reason) {
	p := &view{frame: frame, l3: 14}
	if len(frame) < 14 {
		return p, BadEthernet
	}
	kind := be16(frame[12:])
	for ; isTag(kind); p.l3, p.tags = p.l3+4, p.tags+1 {
		if p.tags == 2 || len(frame) < p.l3+4 {
			return p, BadEthernet
		}
		kind = be16(frame[p.l3+2:])
	}
	var damage Reason
	switch kind {
	case 0x0800:
		damage = p.parseIPv4()
	case 0x86dd:
		damage = p.parseIPv6()
	default:
		return p, None
	}
	if damage != None || p.part == later {
		return p, damage
	}
	rest := p.ip()[p.l4-p.l3 : p.length] // within the packet, whatever lies behind it
	switch {
	case p.proto == udp:
		return p, p.parseUDP(rest)
	case p.proto == tcp:
		return p, p.parseTCP(rest)
	case p.isICMP() && len(rest) < 8:
		return p, BadICMP
	}
	return p, None
}

func isTag(kind uint16) bool { return kind == 0x8100 || kind == 0x88a8 }

func (p *view) isICMP() bool {
	return p.family == 4 && p.proto == icmp4 || p.family == 6 && p.proto == icmp6
}

func (p *view) parseIPv4() Reason {
	b := p.ip()
	if len(b) < 20 {
		return BadIPv4
	}
	p.family, p.proto = 4, b[9]
	p.src, p.dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	header, total := int(b[0]&15)*4, int(be16(b[2:]))
	if b[0]>>4 != 4 || header < 20 || total < header || total > len(b) {
		return BadIPv4
	}
	p.length, p.l4 = total, p.l3+header
	off := be16(b[6:])
	if off&0x3fff == 0 {
		return None
	}
	p.id = uint32(be16(b[4:]))
	return p.parseFragment(int(off&0x1fff)*8, total-header, off&0x2000 != 0)
}

// parseFragment: a datagram's parts lie within 65535 bytes, all but the last are multiples of 8 long, and none begins within
// an L4 header or holds part of one (RFC 1858, RFC 3128).
func (p *view) parseFragment(offset, length int, more bool) Reason {
	p.part = first
	if offset > 0 {
		p.part = later
	}
	header := 8
	if p.proto == tcp {
		header = 20
	}
	switch {
	case length == 0, more && length%8 != 0, offset+length > 65535:
		return BadFragment
	case offset > 0 && offset < header, offset == 0 && length < header:
		return BadFragment
	}
	return None
}

func (p *view) parseIPv6() Reason {
	b := p.ip()
	if len(b) < 40 {
		return BadIPv6
	}
	p.family, p.proto = 6, b[6]
	p.src, p.dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	payload := int(be16(b[4:])) // 0 is a jumbogram's, which no link here carries
	if b[0]>>4 != 6 || payload == 0 || 40+payload > len(b) {
		return BadIPv6
	}
	p.length, p.l4 = 40+payload, p.l3+40
	return p.parseExtensions()
}

// IPv6's extension headers.
const (
	hopByHop    = 0
	routing     = 43
	fragment    = 44
	auth        = 51
	destination = 60
)

func isExtension(proto uint8) bool {
	switch proto {
	case hopByHop, routing, fragment, auth, destination:
		return true
	}
	return false
}

// parseExtensions: there are at most six, each lies within the packet, none routes elsewhere, and what follows them begins
// early enough. A fragment header ends the walk, but for one that says that the datagram is whole (RFC 6946).
func (p *view) parseExtensions() Reason {
	b := p.frame[:p.l3+p.length]
	at := p.l4
	for range 6 {
		if !isExtension(p.proto) {
			break
		}
		if at > lastHeader || at+8 > len(b) {
			return BadExtension
		}
		h := b[at:]
		size := (int(h[1]) + 1) * 8
		switch {
		case p.proto == routing && h[3] != 0: // segments left
			return BadExtension
		case p.proto == auth:
			size = (int(h[1]) + 2) * 4
		case p.proto == fragment:
			size = 8
		}
		if off := be16(h[2:]); p.proto == fragment && off&^6 != 0 {
			if at+size > lastHeader {
				return BadExtension
			}
			p.proto, p.l4, p.id = h[0], at+size, be32(h[4:])
			return p.parseFragment(int(off&^7), len(b)-p.l4, off&1 != 0)
		}
		p.proto = h[0]
		if at += size; at > len(b) {
			return BadExtension
		}
	}
	if at > lastHeader || isExtension(p.proto) {
		return BadExtension
	}
	p.l4 = at
	return None
}

func (p *view) parseUDP(b []byte) Reason {
	if len(b) < 8 {
		return BadUDP
	}
	p.sport, p.dport = be16(b), be16(b[2:])
	length := int(be16(b[4:])) // of the whole datagram
	p.whole = length
	if length < 8 || p.part == whole && length > len(b) || p.family == 6 && be16(b[6:]) == 0 {
		return BadUDP
	}
	return None
}

func (p *view) parseTCP(b []byte) Reason {
	if len(b) < 20 {
		return BadTCP
	}
	p.sport, p.dport, p.flags = be16(b), be16(b[2:]), b[13]
	header := int(b[12]>>4) * 4
	switch {
	case header < 20:
		return BadTCP
	case header > len(b) && p.part == first:
		return BadFragment
	case header > len(b):
		return BadTCP
	}
	return None
}

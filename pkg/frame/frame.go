// SPDX-License-Identifier: Apache-2.0

// Package frame reads what an Ethernet frame carries, as far as it was kept: of which flow it is, and what it says.
package frame

import (
	"encoding/binary"
	"net/netip"
)

// Protocols of IP that have ports.
const (
	TCP = 6
	UDP = 17
)

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	etherOld  = 0x9100 // of QinQ before it had a number of its own
	etherPPP  = 0x8864 // PPPoE, in a session

	maxTags       = 2
	maxExtensions = 8

	protoFragment = 44
)

// Packet is what a frame says of its flow, and its payload.
type Packet struct {
	Proto    uint8
	Src, Dst netip.AddrPort // of a later fragment, a cut header and what has no ports: port 0
	Payload  []byte         // within the frame: as much as was kept
	Length   int            // of the payload on the wire
	Seq      uint32         // this and the next two: of TCP
	Flags    uint8
	Options  bool // it has some
}

// Parse reads a frame: behind two VLAN tags at most, or PPPoE, IPv4 or IPv6. It reports false of what is no IP, or damaged; allocates nothing.
func Parse(frame []byte, p *Packet) bool {
	if len(frame) < 14 {
		return false
	}
	kind, b := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	for range maxTags {
		if (kind == etherVLAN || kind == etherQinQ || kind == etherOld) && len(b) >= 4 {
			kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		}
	}
	if kind == etherPPP && len(b) >= 8 { // its header, and PPP's protocol
		switch binary.BigEndian.Uint16(b[6:]) {
		case 0x0021:
			kind = etherIPv4
		case 0x0057:
			kind = etherIPv6
		}
		b = b[8:]
	}
	*p = Packet{}
	switch kind {
	case etherIPv4:
		return p.ipv4(b)
	case etherIPv6:
		return p.ipv6(b)
	}
	return false
}

func (p *Packet) ipv4(b []byte) bool {
	if len(b) < 20 || b[0]>>4 != 4 || b[0]&15 < 5 || len(b) < int(b[0]&15)*4 {
		return false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	p.Proto = b[9]
	p.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), 0)
	p.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), 0)
	if total == 0 { // segmentation was left to the NIC
		total = len(b)
	}
	if total < header {
		return false
	}
	later := binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	return p.transport(b[header:min(total, len(b))], total-header, later)
}

func (p *Packet) ipv6(b []byte) bool {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	p.Proto = b[6]
	p.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), 0)
	p.Dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), 0)
	b = b[40:]
	if length == 0 {
		length = len(b)
	}
	b = b[:min(length, len(b))]
	later := false
	for range maxExtensions {
		size := 0
		switch p.Proto {
		case 0, 43, 60, 135: // hop by hop, routing, destination, mobility
			if len(b) >= 2 {
				size = 8 + int(b[1])*8
			}
		case 51: // authentication
			if len(b) >= 2 {
				size = 8 + int(b[1])*4
			}
		case protoFragment:
			size = 8
			later = len(b) >= 8 && binary.BigEndian.Uint16(b[2:])&0xfff8 != 0
		default:
			return p.transport(b, length, later)
		}
		if size == 0 || len(b) < size {
			return p.transport(nil, 0, true)
		}
		p.Proto, b, length = b[0], b[size:], length-size
	}
	return p.transport(b, length, later)
}

// transport reads ports and payload; size is how long it was on the wire. Of what has no ports (a later fragment, another protocol,
// a header that was cut off) the addresses alone make the flow.
func (p *Packet) transport(b []byte, size int, later bool) bool {
	if later || p.Proto != UDP && p.Proto != TCP || len(b) < 4 {
		return true
	}
	p.Src = netip.AddrPortFrom(p.Src.Addr(), binary.BigEndian.Uint16(b))
	p.Dst = netip.AddrPortFrom(p.Dst.Addr(), binary.BigEndian.Uint16(b[2:]))
	if p.Proto == UDP {
		if len(b) < 8 {
			return true
		}
		if said := int(binary.BigEndian.Uint16(b[4:])); said >= 8 && said <= size {
			size = said
		}
		p.Payload, p.Length = b[8:min(size, len(b))], size-8
		return true
	}
	if len(b) < 20 {
		return true
	}
	header := int(b[12]>>4) * 4
	p.Seq, p.Flags, p.Options = binary.BigEndian.Uint32(b[4:]), b[13], header > 20
	if header < 20 || header > size {
		return true
	}
	p.Payload, p.Length = b[min(header, len(b)):], size-header
	return true
}

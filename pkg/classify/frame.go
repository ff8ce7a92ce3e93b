// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"encoding/binary"
	"net/netip"

	"parry/pkg/naming"
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

	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44
)

// parsed is what a frame says of its flow, and its payload.
type parsed struct {
	proto    uint8
	src, dst netip.AddrPort // without ports: 0
	segment  naming.Segment // of TCP; of UDP its payload and length alone
}

// parse reads a frame as far as it was captured. It reports false of what is no IP, or damaged.
func parse(frame []byte, p *parsed) bool {
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
	*p = parsed{}
	switch kind {
	case etherIPv4:
		return p.ipv4(b)
	case etherIPv6:
		return p.ipv6(b)
	}
	return false
}

func (p *parsed) ipv4(b []byte) bool {
	if len(b) < 20 || b[0]>>4 != 4 || b[0]&15 < 5 || len(b) < int(b[0]&15)*4 {
		return false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	p.proto = b[9]
	p.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), 0)
	p.dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), 0)
	if total == 0 { // segmentation was left to the NIC
		total = len(b)
	}
	if total < header {
		return false
	}
	later := binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	return p.transport(b[header:min(total, len(b))], total-header, later)
}

func (p *parsed) ipv6(b []byte) bool {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	p.proto = b[6]
	p.src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), 0)
	p.dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), 0)
	b = b[40:]
	if length == 0 {
		length = len(b)
	}
	b = b[:min(length, len(b))]
	later := false
	for range maxExtensions {
		size := 0
		switch p.proto {
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
		p.proto, b, length = b[0], b[size:], length-size
	}
	return p.transport(b, length, later)
}

// transport reads ports and payload; size is how long it was on the wire. Of what has no ports (a later fragment, another protocol,
// a header that was cut off) the addresses alone make the flow.
func (p *parsed) transport(b []byte, size int, later bool) bool {
	if later || p.proto != protoUDP && p.proto != protoTCP || len(b) < 4 {
		return true
	}
	p.src = netip.AddrPortFrom(p.src.Addr(), binary.BigEndian.Uint16(b))
	p.dst = netip.AddrPortFrom(p.dst.Addr(), binary.BigEndian.Uint16(b[2:]))
	s := &p.segment
	if p.proto == protoUDP {
		if len(b) < 8 {
			return true
		}
		if said := int(binary.BigEndian.Uint16(b[4:])); said >= 8 && said <= size {
			size = said
		}
		s.Payload, s.Length = b[8:min(size, len(b))], size-8
		return true
	}
	if len(b) < 20 {
		return true
	}
	header := int(b[12]>>4) * 4
	s.Seq, s.Flags, s.Options = binary.BigEndian.Uint32(b[4:]), b[13], header > 20
	if header < 20 || header > size {
		return true
	}
	s.Payload, s.Length = b[min(header, len(b)):], size-header
	return true
}

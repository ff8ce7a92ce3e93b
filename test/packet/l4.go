// SPDX-License-Identifier: Apache-2.0

package packet

import "encoding/binary"

// l4 is what follows the IP header and its extensions, checksum filled in.
func (p *Packet) l4() []byte {
	switch p.Proto {
	case UDP:
		return p.udp()
	case TCP:
		return p.tcp()
	case ICMP, ICMPv6:
		return p.icmp()
	}
	return append([]byte{}, p.Payload...)
}

func (p *Packet) udp() []byte {
	b := make([]byte, 8, 8+len(p.Payload))
	binary.BigEndian.PutUint16(b, p.From.Port())
	binary.BigEndian.PutUint16(b[2:], p.To.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(p.Payload)))
	b = append(b, p.Payload...)
	if p.NoSum {
		return b
	}
	check := ^fold(sum(b) + p.pseudo(len(b)))
	if check == 0 {
		check = 0xffff // RFC 768: 0 means that there is none
	}
	binary.BigEndian.PutUint16(b[6:], check)
	return b
}

func (p *Packet) tcp() []byte {
	options := pad(p.TCPOptions, 4, 1)
	b := make([]byte, 20, 60+len(p.Payload))
	binary.BigEndian.PutUint16(b, p.From.Port())
	binary.BigEndian.PutUint16(b[2:], p.To.Port())
	binary.BigEndian.PutUint32(b[4:], p.Seq)
	binary.BigEndian.PutUint32(b[8:], p.Ack)
	b[12] = byte(20+len(options)) / 4 << 4
	b[13] = p.Flags
	binary.BigEndian.PutUint16(b[14:], 0xfaf0)
	b = append(append(b, options...), p.Payload...)
	binary.BigEndian.PutUint16(b[16:], ^fold(sum(b)+p.pseudo(len(b))))
	return b
}

func (p *Packet) icmp() []byte {
	b := []byte{p.Type, p.Code, 0, 0}
	b = binary.BigEndian.AppendUint32(b, p.Rest)
	b = append(b, p.Payload...)
	s := sum(b)
	if p.Proto == ICMPv6 {
		s += p.pseudo(len(b))
	}
	binary.BigEndian.PutUint16(b[2:], ^fold(s))
	return b
}

// pseudo is the sum over the pseudo-header (RFC 768, RFC 8200 8.1).
func (p *Packet) pseudo(n int) uint32 {
	return sum(p.From.Addr().AsSlice()) + sum(p.To.Addr().AsSlice()) + uint32(p.Proto) + uint32(n)
}

func sum(b []byte) uint32 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// mostHeaders is how long the headers of a packet that is quoted may be.
const mostHeaders = 112

// tooBig: the packet is larger than its next hop takes. It is dropped, and its sender told the MTU (RFC 792, RFC 1191; RFC
// 4443 3.2) as a router would: by the way it came, with its headers and 8 bytes quoted, within the budget of ICMP errors.
func (e *Edge) tooBig(p *view, w way, mtu int) Outcome {
	headers := p.l4 - p.l3
	if headers > mostHeaders || !e.icmpBucket.take(icmpRate, e.Now, 1, 0) {
		return drop(TooBig)
	}
	from := p.dst // the address that it was sent to, which is ours
	if w.isDown && !w.NAT {
		from = w.Front.Addr() // but that a server knows the client's own
	}
	quoted := p.ip()[:headers+8]
	var ip []byte
	if p.family == 4 {
		ip = tooBig4(from, p.src, mtu, quoted)
	} else {
		ip = tooBig6(from, p.src, mtu, quoted)
	}
	out := append(append([]byte{}, p.frame[6:12]...), p.frame[:6]...)
	out = append(append(out, p.frame[12:p.l3]...), ip...)
	return Outcome{Verdict: TX, Reason: TooBig, Out: out}
}

func tooBig4(from, to netip.Addr, mtu int, quoted []byte) []byte {
	b := make([]byte, 28, 28+len(quoted))
	b[0], b[8], b[9] = 0x45, 64, icmp4
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(quoted)))
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(b[:20]))
	b[20], b[21] = 3, 4 // destination unreachable: fragmentation needed
	binary.BigEndian.PutUint16(b[26:], uint16(mtu))
	b = append(b, quoted...)
	binary.BigEndian.PutUint16(b[22:], checksum(b[20:]))
	return b
}

func tooBig6(from, to netip.Addr, mtu int, quoted []byte) []byte {
	b := make([]byte, 48, 48+len(quoted))
	n := 8 + len(quoted)
	b[0], b[6], b[7] = 0x60, icmp6, 64
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	copy(b[8:], from.AsSlice())
	copy(b[24:], to.AsSlice())
	b[40] = 2 // packet too big
	binary.BigEndian.PutUint32(b[44:], uint32(mtu))
	b = append(b, quoted...)
	pseudo := append(append([]byte{}, b[8:40]...), 0, 0, byte(n>>8), byte(n), 0, 0, 0, icmp6)
	binary.BigEndian.PutUint16(b[42:], checksum(append(pseudo, b[40:]...)))
	return b
}

// checksum is the Internet checksum (RFC 1071) of whole words.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(be16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

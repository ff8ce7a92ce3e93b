// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// amend is a checksum after some of what it covers has changed. It is as right, or as wrong, as it was: the receiver is to
// see that, so nothing is computed anew. Both slices are whole 16-bit words. (RFC 1624; the sum over what is covered stays
// the same modulo 65535, and is never written as ffff.)
func amend(check uint16, was, is []byte) uint16 {
	sum := uint32(^check)
	for i := 0; i < len(was); i += 2 {
		sum += 65535 - uint32(be16(was[i:]))
	}
	for i := 0; i < len(is); i += 2 {
		sum += uint32(be16(is[i:]))
	}
	if sum %= 65535; sum == 0 {
		return 0
	}
	return uint16(65535 - sum)
}

// change writes words into b and amends the checksum at another place for it.
func change(b []byte, at, check int, is []byte) {
	was := b[at : at+len(is)]
	binary.BigEndian.PutUint16(b[check:], amend(be16(b[check:]), was, is))
	copy(was, is)
}

// ends are two addresses and ports as words, as a pseudo-header and an L4 header hold them.
func ends(from, to netip.AddrPort) []byte {
	b := append(from.Addr().AsSlice(), to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return binary.BigEndian.AppendUint16(b, to.Port())
}

// copyIP is the packet, to be changed, and where its L4 header is.
func (p *view) copyIP() (ip []byte, l4 int) {
	return append([]byte{}, p.ip()...), p.l4 - p.l3
}

// ttl is what is left of its time to live, or hop limit.
func (p *view) ttl() byte {
	if p.family == 4 {
		return p.ip()[8]
	}
	return p.ip()[7]
}

// readdress gives an IP packet other addresses and one hop less to live. Only IPv4's header has a checksum.
func readdress(ip []byte, src, dst netip.Addr) {
	if src.Is4() {
		change(ip, 12, 10, append(src.AsSlice(), dst.AsSlice()...))
		change(ip, 8, 10, []byte{ip[8] - 1, ip[9]})
		return
	}
	copy(ip[8:], src.AsSlice())
	copy(ip[24:], dst.AsSlice())
	ip[7]--
}

// rewrite is the packet with other ends.
func (p *view) rewrite(from, to netip.AddrPort) []byte {
	ip, l4 := p.copyIP()
	readdress(ip, from.Addr(), to.Addr())
	h := ip[l4:]
	binary.BigEndian.PutUint16(h, from.Port())
	binary.BigEndian.PutUint16(h[2:], to.Port())
	amendL4(h, p.proto, p.family, ends(p.from(), p.to()), ends(from, to))
	return ip
}

// checkAt is where an L4 header's checksum is.
func checkAt(proto uint8) int {
	if proto == udp {
		return 6
	}
	return 16
}

// amendL4 amends the checksum of UDP or TCP. 0 is UDP's word for none (RFC 768), which only IPv4 knows: it stays, and a
// checksum that comes out as 0 is sent as ffff.
func amendL4(h []byte, proto uint8, family int, was, is []byte) {
	at := checkAt(proto)
	check := be16(h[at:])
	if proto == udp && check == 0 && family == 4 {
		return
	}
	check = amend(check, was, is)
	if proto == udp && check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(h[at:], check)
}

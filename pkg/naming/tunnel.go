// SPDX-License-Identifier: Apache-2.0

package naming

// Tunnels and encrypted transports. Sources: RFC 9000, 9369 (QUIC); the WireGuard white paper; the OpenVPN protocol page; RFC 7296 (IKE);
// RFC 6347 (DTLS).
var tunnelRules = [...]rule{
	{QUIC, 95, "a long header of QUIC, of a version that is known", quicLong},
	{QUIC, 85, "Google's QUIC", quicGoogle},
	{WireGuard, 97, "WireGuard's handshake, as long as it must be", wireguardHandshake},
	{WireGuard, 65, "what WireGuard's data looks like", wireguardData},
	{VPNOther, 85, "OpenVPN's reset", func(p *packet) bool { return openVPN(p, 0) }},
	{VPNOther, 85, "IKE, as long as it says", ike},
	{OtherUDP, 80, "DTLS", dtls},
}

// quicLong: form and fixed bit, a version, two connection ids of at most 20 bytes.
func quicLong(p *packet) bool {
	if p.u8(0)&0x80 == 0 || !p.has(7) {
		return false
	}
	if v := p.be32(1); v != 1 && v != 0x6b3343cf && v>>8 != 0xff0000 && v>>4 != 0xfaceb00 && v>>24 != 'Q' && v>>24 != 'T' {
		return false
	} else if (v>>24 == 'Q' || v>>24 == 'T') && (p.u8(2) != '0' || p.u8(3) < '3' || p.u8(3) > '5') {
		return false
	}
	size := int(p.u8(5))
	if size&0xf0 == 0x50 || size == 0x05 { // Google's older header has both lengths in a byte
		return p.n >= 20
	}
	return size <= 20 && p.u8(6+size) <= 20 && p.n >= 7+size
}

// quicGoogle: flags, an id of eight bytes, "Q0" and the version.
func quicGoogle(p *packet) bool {
	return p.u8(0)&0x09 == 0x09 && p.is(9, "Q0") && p.u8(11) >= '2' && p.u8(11) <= '5'
}

// wireguardHandshake: a type, three zeros; 1 has 148 bytes, 2 has 92, 3 has 64.
func wireguardHandshake(p *packet) bool {
	if !p.zeros(1, 4) || !p.has(8) {
		return false
	}
	return p.u8(0) == 1 && p.n == 148 && p.be32(4) != 0 && !p.zeros(8, 40) || p.u8(0) == 2 && p.n == 92 && p.be32(4) != 0 && p.be32(8) != 0 && !p.zeros(12, 44)
}

// wireguardData: 4, three zeros, who it is for, a counter that begins at 0, and whole blocks of 16 bytes.
func wireguardData(p *packet) bool {
	return p.is(0, "\x04\x00\x00\x00") && p.n >= 32 && p.n%16 == 0 && p.be32(4) != 0 && p.zeros(11, 16)
}

// openVPN: a hard reset of the client or the server in the upper five bits, eight bytes of session; without TLS authentication
// no acknowledgement and number 0, with it those at the end.
func openVPN(p *packet, at int) bool {
	if c := p.u8(at); c != 0x38 && c != 0x40 && c != 0x50 || p.be32(at+1) == 0 {
		return false
	}
	switch p.n - at {
	case 14, 42, 54, 58, 86:
		return p.zeros(p.n-5, p.n)
	case 26:
		return p.u8(at) == 0x40 && p.u8(at+9) == 1
	}
	return false
}

// ike: who begins, who answers, the first payload, the version, the exchange, flags, a number, and the length of all.
func ike(p *packet) bool {
	at := 0
	if p.zeros(0, 4) { // behind a NAT
		at = 4
	}
	v := p.u8(at + 17)
	return int(p.be32(at+24)) == p.n-at && (v == 0x10 || v == 0x20) && p.be32(at) != 0 && p.u8(at+18) >= 2 && p.u8(at+18) <= 43
}

// ikeAnswer: it offers what to agree on (payload 1, or 33 of version 2), and who answers is named: who asks can't name it yet.
func ikeAnswer(p *packet) bool {
	at := 0
	if p.zeros(0, 4) {
		at = 4
	}
	return ike(p) && (p.be32(at+8) != 0 || p.be32(at+12) != 0) && (p.u8(at+16) == 1 || p.u8(at+16) == 33)
}

// dtls: a type from 20 to 23, a version, an epoch that is still low, and a length that fits.
func dtls(p *packet) bool {
	kind, v := p.u8(0), p.be16(1)
	return kind >= 20 && kind <= 23 && (v == 0xfeff || v == 0xfefd || v == 0x0100) && p.be16(3) <= 8 && p.n >= 13+int(p.be16(11)) && p.be16(11) > 0
}

// SPDX-License-Identifier: Apache-2.0

package naming

// STUN and TURN. Sources: RFC 8489, RFC 8656; RFC 3489 for what has no cookie.
var stunRules = [...]rule{
	{StunTurn, 96, "STUN: its cookie and length", stunMessage},
	{StunTurn, 80, "STUN of RFC 3489: its attributes add up", stunClassic},
	{StunTurn, 45, "what TURN's channel data looks like", turnChannel},
}

// stunMessage: two zero bits, a method and class, a length in words of 4 bytes, the cookie.
func stunMessage(p *packet) bool {
	size := int(p.be16(2))
	return p.u8(0)&0xc0 == 0 && p.be32(4) == 0x2112a442 && size%4 == 0 && p.n >= 20+size
}

// stunClassic: binding or shared secret, a request or its answer, and attributes.
func stunClassic(p *packet) bool {
	switch p.be16(0) {
	case 0x0001, 0x0101, 0x0111, 0x0002, 0x0102, 0x0112, 0x0003, 0x0103, 0x0113, 0x0004, 0x0115:
	default:
		return false
	}
	if p.n != 20+int(p.be16(2)) || !p.has(20) || p.be32(4) == 0x2112a442 || p.zeros(4, 20) {
		return false
	}
	at := 20
	for at < p.n {
		if at+4 > len(p.b) {
			return p.cut() && at > 20
		}
		if kind := p.be16(at); kind == 0 || kind > 0x30 && kind < 0x8000 {
			return false
		}
		at += 4 + (int(p.be16(at+2))+3)&^3
	}
	return at == p.n
}

// turnChannel: a channel from 4000 to 4FFF, and a length.
func turnChannel(p *packet) bool {
	size := int(p.be16(2))
	return p.u8(0)&0xf0 == 0x40 && size >= 12 && (p.n == 4+size || p.n == 4+(size+3)&^3)
}

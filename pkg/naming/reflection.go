// SPDX-License-Identifier: Apache-2.0

package naming

// What reflectors send to whom they are aimed at. Source: US-CERT TA14-017A, protocols.md.
var reflectionRules = [...]rule{
	{AmpReflection, 90, "a message of NTP's control or private modes", ntpControl},
	{AmpReflection, 85, "a long answer of SNMP that nobody here asked for", func(p *packet) bool { return unasked(p) && p.n >= 400 && snmpKind(p) == 0xa2 }},
	{AmpReflection, 90, "CLDAP: LDAP's search over UDP", cldap},
	{AmpReflection, 90, "DVRs' DHIP", func(p *packet) bool { return p.is(0, "\x20\x00\x00\x00DHIP") }},
	{AmpReflection, 90, "memcached over UDP", memcached},
	{AmpReflection, 87, "IKE's answer that nobody here asked for", func(p *packet) bool { return unasked(p) && ikeAnswer(p) }},
	{AmpReflection, 85, "BACnet's answer that nobody here asked for", func(p *packet) bool {
		return unasked(p) && bacnet(p) && p.u8(4) == 1 && p.u8(5)&0x2c == 0 && p.u8(6)>>4 == 3
	}},
}

// unasked reports whether it is what a session begins with, and so no answer to anything in it.
func unasked(p *packet) bool { return p.up && p.nth == 0 }

// ntpControl: mode 6 (RFC 9327) with an operation, a length and as much, or mode 7 of an implementation that is known, with a code.
func ntpControl(p *packet) bool {
	version := p.u8(0) >> 3 & 7
	switch p.u8(0) & 7 {
	case 6:
		return p.u8(0)&0xc0 == 0 && version >= 1 && version <= 4 && p.u8(1)&0x1f >= 1 && p.u8(1)&0x1f <= 31 && p.n >= 12 && p.n >= 12+int(p.be16(10)) && p.n <= 12+int(p.be16(10))+24
	case 7:
		size := int(p.be16(4)&0xfff) * int(p.be16(6)&0xfff)
		return version == 2 && (p.u8(2) == 2 || p.u8(2) == 3) && p.u8(3) <= 0x2c && p.n >= 8 && p.n <= 520 && (size == p.n-8 || p.zeros(4, 8))
	}
	return false
}

// cldap: a sequence, a number, and a search (63) or its entry or end (64, 65).
func cldap(p *packet) bool {
	at := p.ber(0, 0x30)
	if at == 0 || p.u8(at) != 2 || p.u8(at+1) < 1 || p.u8(at+1) > 4 {
		return false
	}
	kind := p.u8(at + 2 + int(p.u8(at+1)))
	return kind >= 0x63 && kind <= 0x65
}

// memcached: a frame's header of 8 bytes, the last two zero, then a word.
func memcached(p *packet) bool {
	if p.be16(6) != 0 || p.be16(4) == 0 {
		return false
	}
	for _, w := range [...]string{"STAT ", "VALUE ", "get ", "gets ", "stats", "END\r\n"} {
		if p.is(8, w) {
			return true
		}
	}
	return false
}

// SPDX-License-Identifier: Apache-2.0

package naming

// DNS and its kin by multicast (RFC 1035, 6762, 4795), NTP (RFC 5905).
var dnsRules = [...]rule{
	{DNS, 92, "DNS: a header and a question that can be read", func(p *packet) bool { return dnsMessage(p, 0) }},
	{DNS, 90, "DNSCrypt's magic", func(p *packet) bool { return p.is(0, "r6fnvWj8") }},
	{NTP, 88, "NTP: mode, version, stratum and poll within their bounds", ntp},
}

// dnsMessage: an operation up to 5, counts that are small, and the first name with a type and a class; the names of NetBIOS,
// of 32 letters each, are none.
func dnsMessage(p *packet, at int) bool {
	flags, questions, answers := p.be16(at+2), p.be16(at+4), p.be16(at+6)
	if p.n < at+17 || !p.has(at+17) || flags>>11&15 > 5 || flags&0x40 != 0 || questions > 32 || answers > 512 || p.be16(at+8) > 512 || p.be16(at+10) > 512 {
		return false
	}
	if questions == 0 && (answers == 0 || flags>>15 == 0) {
		return false
	}
	name := at + 12
	if p.u8(name) == 32 && p.u8(name+33) == 0 {
		return false
	}
	for p.u8(name) != 0 {
		size := int(p.u8(name))
		if size > 63 || name-at > 12+255 {
			return false
		}
		for i := name + 1; i <= name+size; i++ {
			if c := p.u8(i); c < 0x20 || c == 0x7f {
				return false
			}
		}
		name += 1 + size
	}
	kind, class := p.be16(name+1), p.be16(name+3)&0x7fff
	return p.has(name+5) && kind != 0 && (kind <= 65 || kind >= 249 && kind <= 258 || kind == 32768 || kind == 32769) && (class == 1 || class == 3 || class == 255)
}

// ntp: 48 bytes, or with keys; mode 1 to 5, version 1 to 4, a stratum up to 16; a poll from 2^-6 s to 2^17 s.
func ntp(p *packet) bool {
	mode, version, poll := p.u8(0)&7, p.u8(0)>>3&7, int8(p.u8(2))
	if p.n != 48 && p.n != 60 && p.n != 68 && p.n != 72 || !p.has(48) || mode < 1 || mode > 5 || version < 1 || version > 4 || p.u8(1) > 16 || poll < -6 || poll > 17 {
		return false
	}
	sent := p.be32(40) // seconds since 1900: none, or after 1999, or random in new clients' requests
	return sent == 0 && mode == 3 || sent >= 0xbc000000 || mode == 3 && p.zeros(1, 16)
}

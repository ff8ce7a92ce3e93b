// SPDX-License-Identifier: Apache-2.0

package naming

// Well-known services over UDP, by what their specifications fix. They are here so that they are not taken for games.
var serviceRules = [...]rule{
	{OtherUDP, 90, "DHCP (RFC 2131)", func(p *packet) bool { return p.is(236, "\x63\x82\x53\x63") && p.u8(0) >= 1 && p.u8(0) <= 2 }},
	{OtherUDP, 90, "SSDP", func(p *packet) bool { return p.is(0, "M-SEARCH ") || p.is(0, "NOTIFY *") || p.is(0, "HTTP/1.1 200") }},
	{OtherUDP, 90, "a name of NetBIOS's (RFC 1002)", netBIOSName},
	{OtherUDP, 85, "a datagram of NetBIOS's (RFC 1002)", func(p *packet) bool {
		return p.u8(0) >= 0x10 && p.u8(0) <= 0x13 && int(p.be16(10)) == p.n-14 && p.n > 80
	}},
	{OtherUDP, 85, "Syslog (RFC 3164)", syslog},
	{OtherUDP, 90, "ONC RPC (RFC 5531)", oncRPC},
	{OtherUDP, 80, "BACnet/IP, as long as it says", bacnet},
	{OtherUDP, 80, "BFD (RFC 5880), as long as it says", func(p *packet) bool { return p.u8(0)>>5 == 1 && int(p.u8(3)) == p.n && p.n >= 24 && p.n <= 52 }},
	{OtherUDP, 90, "a report to Nintendo's monitoring server", piaReport},
	{OtherUDP, 85, "text in JSON or XML", func(p *packet) bool { return p.is(0, `{"`) || p.is(0, "<?xml") }},
	{OtherUDP, 80, "SNMP (RFC 3416)", func(p *packet) bool { return snmpKind(p) != 0 }},
}

func netBIOSName(p *packet) bool {
	if p.u8(12) != 32 || p.u8(45) != 0 || !p.has(50) {
		return false
	}
	for _, c := range p.b[13:45] { // half a byte a letter
		if c < 'A' || c > 'P' {
			return false
		}
	}
	return true
}

func bacnet(p *packet) bool { return p.u8(0) == 0x81 && p.u8(1) <= 0x0c && int(p.be16(2)) == p.n }

// syslog: a priority up to 191 between angles.
func syslog(p *packet) bool {
	if p.u8(0) != '<' {
		return false
	}
	for at := 1; at <= 4; at++ {
		switch c := p.u8(at); {
		case c == '>':
			return at > 1
		case c < '0' || c > '9':
			return false
		}
	}
	return false
}

// oncRPC: a number, a call of version 2 to a program and its version, or an answer.
func oncRPC(p *packet) bool {
	switch p.be32(4) {
	case 0:
		return p.be32(8) == 2 && p.be32(12) >= 100000 && p.be32(12) < 0x60000000 && p.be32(16) <= 10 && p.n >= 40
	case 1:
		return p.has(24) && p.be32(8) <= 1 && p.be32(0) != 0 && p.be32(12) == 0 && p.be32(16) == 0 && p.n >= 24 && p.n < 200 && p.n%4 == 0
	}
	return false
}

// snmpKind tells the kind of an SNMP message of version 1 or 2: A0 to A8; 0 where it is none.
func snmpKind(p *packet) byte {
	at := p.ber(0, 0x30)
	if at == 0 || !p.is(at, "\x02\x01") || p.u8(at+2) > 1 || p.u8(at+3) != 4 {
		return 0
	}
	at += 5 + int(p.u8(at+4))
	if kind := p.u8(at); kind >= 0xa0 && kind <= 0xa8 {
		return kind
	}
	return 0
}

// ber passes over a tag and its length in BER, and returns where its value begins; 0 where it isn't there.
func (p *packet) ber(at int, tag byte) int {
	if p.u8(at) != tag || !p.has(at+2) {
		return 0
	}
	size := p.u8(at + 1)
	switch {
	case size < 0x80:
		return at + 2
	case size <= 0x84:
		return at + 2 + int(size&0x7f)
	}
	return 0
}

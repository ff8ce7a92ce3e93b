// SPDX-License-Identifier: Apache-2.0

package model

import "bytes"

// A reflector's answer, sent to a victim whose address somebody forged, is told by the port that it comes from and by its shape,
// both: a player behind a NAT can have any port. (Ports and shapes: US-CERT TA14-017A, and captures.)

// isReflection tells of which protocol's servers it is an answer, 0 = of none.
func isReflection(p *view) int {
	if p.proto != udp || p.l4+8+8 > len(p.frame) || !answers(p) {
		return 0
	}
	return map[uint16]int{
		53: 1, 5353: 1, 123: 2, 389: 3, 161: 4, 1900: 5, 11211: 6, 19: 7, 17: 7, 111: 8, 137: 9, 520: 10, 3283: 11, 3702: 12, 5683: 13, 37810: 14,
		47808: 15, 27960: 16, 27015: 16,
	}[p.sport]
}

// answers tells whether it has the shape of one.
func answers(p *view) bool {
	b, length := p.frame[p.l4+8:], p.length-(p.l4-p.l3)-8
	response := b[2]&0x80 != 0 // as DNS and NetBIOS say it
	starts := func(s string) bool { return bytes.HasPrefix(b, []byte(s)) }
	switch p.sport {
	case 53, 5353: // DNS
		return length >= 12 && response
	case 123: // NTP, modes 6 and 7
		return b[0]&7 == 7 && b[0]&0x80 != 0 || b[0]&7 == 6 && b[1]&0x80 != 0
	case 389, 161: // CLDAP, SNMP
		return b[0] == 0x30 && length >= 20
	case 1900: // SSDP
		return starts("HTTP")
	case 11211: // memcached
		return length >= 8 && b[6] == 0 && b[7] == 0
	case 19, 17: // CHARGEN, QOTD
		return length >= 64
	case 111: // portmap
		return length >= 24 && be32(b[4:]) == 1
	case 137: // NetBIOS
		return length >= 50 && response
	case 520: // RIPv1
		return b[0] == 2 && length >= 24
	case 3283: // Apple remote desktop
		return length >= 1000
	case 3702: // WS-Discovery
		return starts("<?x") || starts("<SO")
	case 5683: // CoAP
		return b[0]>>6 == 1 && b[1] >= 0x40 && b[1] < 0xc0
	case 37810: // DVR
		return starts("\x20\x00\x00\x00DHIP")
	case 47808: // BACnet
		return b[0] == 0x81 && length >= 12
	case 27960, 27015: // another game's server
		return starts("\xff\xff\xff\xff") && length >= 60
	}
	return false
}

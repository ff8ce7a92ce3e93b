// SPDX-License-Identifier: Apache-2.0

package rule

import "encoding/binary"

// PacketOf is what a rule is shown of an Ethernet frame: the IP packet in it, behind up to two VLAN tags. wire is how long the frame
// was, however much of it is here. False: there is none.
func PacketOf(frame []byte, wire int) (Packet, bool) {
	const header, tag, ipv4, ipv6 = 14, 4, 0x0800, 0x86dd
	at := header
	for range 3 {
		if len(frame) < at {
			return Packet{}, false
		}
		switch binary.BigEndian.Uint16(frame[at-2:]) {
		case ipv4, ipv6:
			v6 := binary.BigEndian.Uint16(frame[at-2:]) == ipv6
			return Packet{IP: frame[at:], V6: v6, Length: uint32(max(wire, len(frame)) - (at - header))}, true
		case 0x8100, 0x88a8:
			at += tag
		default:
			return Packet{}, false
		}
	}
	return Packet{}, false
}

// SPDX-License-Identifier: Apache-2.0

package model

import "encoding/binary"

// STUN (RFC 8489): a header of 20 bytes, then attributes, each padded to four.

const (
	stunCookie   = 0x2112a442
	stunBinding  = 0x0001
	stunAllocate = 0x0003

	stunAttributesMost = 23
	stunMost           = 1280 // bytes of them
)

func gateSTUN(g *First) Said {
	b := g.Payload
	if len(b) < 20 || be32(b[4:]) != stunCookie {
		return Said{}
	}
	kind, length := be16(b), int(be16(b[2:]))
	if kind != stunBinding && kind != stunAllocate || length%4 != 0 {
		return Said{}
	}
	if length != len(b)-20 {
		return Said{}
	}
	sound, plain := stunAttributes(b[20:])
	switch {
	case !sound:
		return Said{}
	case kind == stunAllocate:
		return Said{Word: Admit}
	case !plain:
		return Said{Word: Admit}
	case g.Watch:
		return Said{Word: Query}
	}
	return Said{Word: Reply, Payload: g.stunAnswer()}
}

// stunAttributes tells whether attributes fill their message, and whether they ask for nothing but an address: none of them
// must be understood. A fingerprint is the last.
func stunAttributes(b []byte) (sound, plain bool) {
	if len(b) > stunMost {
		return false, false
	}
	plain = true
	for n := 0; len(b) > 0; n++ {
		if n == stunAttributesMost {
			return false, false
		}
		kind, size := be16(b), (int(be16(b[2:]))+3)&^3
		if 4+size > len(b) {
			return false, false
		}
		if b = b[4+size:]; kind == 0x8028 && len(b) > 0 {
			return false, false
		}
		plain = plain && kind >= 0x8000
	}
	return true, plain
}

// stunAnswer says which address and port the request came from, veiled by the cookie and, IPv6's, its transaction.
func (g *First) stunAnswer() []byte {
	addr := append([]byte{}, g.From.Addr().AsSlice()...)
	family := byte(1)
	if len(addr) == 16 {
		family = 2
	}
	for i := range addr {
		addr[i] ^= g.Payload[4+i]
	}
	out := binary.BigEndian.AppendUint16(nil, 0x0101)
	out = binary.BigEndian.AppendUint16(out, uint16(8+len(addr)))
	out = append(out, g.Payload[4:20]...)
	out = binary.BigEndian.AppendUint16(out, 0x0020) // XOR-MAPPED-ADDRESS
	out = binary.BigEndian.AppendUint16(out, uint16(4+len(addr)))
	out = append(out, 0, family)
	out = binary.BigEndian.AppendUint16(out, g.From.Port()^stunCookie>>16)
	return append(out, addr...)
}

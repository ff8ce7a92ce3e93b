// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// LinkHeader is the length of a frame's before the IP packet.
const LinkHeader = 14

// Frame makes an Ethernet frame that holds a packet of IP: with options, in fragments, of various protocols, with padding, and where
// damaged allows it cut off anywhere and with a header that says anything.
func Frame(r *rand.Rand, damaged bool) []byte {
	g := g{r}
	frame := make([]byte, LinkHeader)
	for i := range 12 {
		frame[i] = byte(g.Uint32())
	}
	if g.IntN(3) == 0 {
		binary.BigEndian.PutUint16(frame[12:], 0x86dd)
		frame = append(frame, g.packet6()...)
	} else {
		binary.BigEndian.PutUint16(frame[12:], 0x0800)
		frame = append(frame, g.packet4(damaged)...)
	}
	for range g.IntN(4) * g.IntN(2) {
		frame = append(frame, 0)
	}
	if damaged {
		frame = frame[:LinkHeader+g.IntN(len(frame)-LinkHeader+1)]
	}
	return frame
}

func (g g) packet4(damaged bool) []byte {
	options := 0
	if g.IntN(3) == 0 {
		options = 4 * g.IntN(11)
	}
	b := make([]byte, 20+options)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	b[0] = 0x45 + byte(options/4)
	if damaged && g.IntN(4) == 0 {
		b[0] = byte(g.Uint32())
	}
	binary.BigEndian.PutUint16(b[6:], uint16(g.IntN(2))<<14)
	switch g.IntN(8) {
	case 0:
		binary.BigEndian.PutUint16(b[6:], 0x2000)
	case 1:
		binary.BigEndian.PutUint16(b[6:], uint16(1+g.IntN(64))|uint16(g.IntN(2))<<13)
	}
	b[9] = g.protocol(1)
	copy(b[12:], netip.MustParseAddr(g.address4()).AsSlice())
	copy(b[16:], netip.MustParseAddr(g.address4()).AsSlice())
	b = append(b, g.upper(b[9])...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func (g g) packet6() []byte {
	b := make([]byte, 40)
	b[0], b[7] = 0x60, 64
	b[6] = g.protocol(58)
	copy(b[8:], netip.MustParseAddr(g.address6()).AsSlice())
	copy(b[24:], netip.MustParseAddr(g.address6()).AsSlice())
	inner := b[6]
	if b[6] == 44 || b[6] == 0 {
		inner = g.protocol(58)
		b = append(b, inner, 0, 0, byte(g.IntN(2)), 1, 2, 3, 4)
	}
	b = append(b, g.upper(inner)...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

func (g g) protocol(icmp byte) byte {
	return []byte{17, 17, 17, 17, 6, 6, 6, icmp, icmp, 132, 44, 0, 2, 58}[g.IntN(14)]
}

// upper is a header with ports where the protocol has them, and some payload.
func (g g) upper(proto byte) []byte {
	header := map[byte]int{17: 8, 6: 20, 132: 12}[proto]
	b := make([]byte, header+8+g.IntN(64))
	for i := range b {
		b[i] = byte(g.Uint32()) >> g.IntN(8)
	}
	if header > 0 {
		binary.BigEndian.PutUint16(b, uint16(g.port()))
		binary.BigEndian.PutUint16(b[2:], uint16(g.port()))
	}
	if proto == 17 {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	}
	if proto == 6 {
		b[12] = 5 << 4
		b[13] &= 0x3f
	}
	return b
}

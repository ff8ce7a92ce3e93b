// SPDX-License-Identifier: Apache-2.0

package lab

import "encoding/binary"

// The lab's game: a player says hello until it is welcome, then moves 60 times a second; the server answers each
// move with the state of the world. All datagrams start alike; the meters read the first ten bytes. Players of other games
// carry the same in theirs.
const (
	magic      = 0x70617272794c4142 // "parryLAB"
	packetSize = 64

	kindHello   = 1
	kindWelcome = 2
	kindMove    = 3
	kindState   = 4
)

// packet is what a datagram of the game says.
type packet struct {
	cell   uint16
	kind   byte
	player uint32
	seq    uint32
	sent   int64 // ns, the player's own clock
}

func (p packet) encode(b *[packetSize]byte) {
	binary.BigEndian.PutUint64(b[0:], magic)
	binary.BigEndian.PutUint16(b[8:], p.cell)
	b[10] = p.kind
	binary.BigEndian.PutUint32(b[12:], p.player)
	binary.BigEndian.PutUint32(b[16:], p.seq)
	binary.BigEndian.PutUint64(b[24:], uint64(p.sent))
}

// bytes is the packet as a datagram of its own.
func (p packet) bytes() []byte {
	var b [packetSize]byte
	p.encode(&b)
	return b[:]
}

// decode reads a datagram; false means that it is none of the game's.
func decode(b []byte) (packet, bool) {
	if len(b) < packetSize || binary.BigEndian.Uint64(b) != magic {
		return packet{}, false
	}
	return packet{
		cell: binary.BigEndian.Uint16(b[8:]), kind: b[10],
		player: binary.BigEndian.Uint32(b[12:]), seq: binary.BigEndian.Uint32(b[16:]),
		sent: int64(binary.BigEndian.Uint64(b[24:])),
	}, true
}

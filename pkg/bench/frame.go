// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/binary"
	"net/netip"

	"parry/loader"
)

const (
	frameLen = 64 // or as long as the headers, where they need more
	frameTTL = 64
	ethLen   = 14
	udpLen   = 8
	tcpACK   = 1 << 4
	tcpSYN   = 1 << 1
)

// tuple is what identifies a packet.
type tuple struct {
	from, to netip.AddrPort
	proto    uint8
}

// back is the tuple of an answer.
func (t tuple) back() tuple { return tuple{t.to, t.from, t.proto} }

func (t tuple) is4() bool { return t.from.Addr().Is4() }

// frame is a packet of the tuple, right in all its lengths and checksums. flags are TCP's.
func (t tuple) frame(flags uint8) []byte {
	l4 := udpLen
	if t.proto == loader.ProtoTCP {
		l4 = 20
	}
	b := make([]byte, max(frameLen, t.l4At()+l4))
	t.put(b, flags)
	return b
}

// datagram is one of UDP with this payload, and nothing behind it.
func (t tuple) datagram(payload []byte) []byte {
	b := append(make([]byte, t.l4At()+udpLen), payload...)
	t.put(b, 0)
	return b
}

// l4At is where UDP or TCP begin in a frame.
func (t tuple) l4At() int {
	if t.is4() {
		return ethLen + 20
	}
	return ethLen + 40
}

func (t tuple) put(b []byte, flags uint8) {
	copy(b, []byte{2, 0, 0, 0, 0, 0xed, 2, 0, 0, 0, 0, 0xc1})
	binary.BigEndian.PutUint16(b[12:], t.etherType())
	t.putL3(b[ethLen:])
	t.putL4(b[t.l4At():], flags)
}

func (t tuple) putL3(b []byte) {
	from, to := t.from.Addr().AsSlice(), t.to.Addr().AsSlice()
	if !t.is4() {
		b[0] = 0x60
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		b[6], b[7] = t.proto, frameTTL
		copy(b[8:], from)
		copy(b[24:], to)
		return
	}
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8], b[9] = frameTTL, t.proto
	copy(b[12:], from)
	copy(b[16:], to)
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(b[:20])))
}

func (t tuple) putL4(b []byte, flags uint8) {
	binary.BigEndian.PutUint16(b, t.from.Port())
	binary.BigEndian.PutUint16(b[2:], t.to.Port())
	check := 6
	if t.proto == loader.ProtoTCP {
		check = 16
		b[12], b[13], b[14] = 5<<4, flags, 0xff
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	}
	pseudo := sum(t.from.Addr().AsSlice()) + sum(t.to.Addr().AsSlice()) + uint32(t.proto) + uint32(len(b))
	binary.BigEndian.PutUint16(b[check:], ^fold(sum(b)+pseudo))
}

// sum adds the 16-bit words of a buffer; a last byte is a word's first.
func sum(b []byte) uint32 {
	var s uint32
	if len(b)%2 == 1 {
		s = uint32(b[len(b)-1]) << 8
	}
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

func (t tuple) etherType() uint16 {
	if t.is4() {
		return 0x0800
	}
	return 0x86dd
}

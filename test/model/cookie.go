// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"math/bits"
)

// A cookie is a keyed hash of a packet's whole tuple, its service, what it is for, and the time in steps of 2^34 ns. Nothing
// is kept of one that was sent: it holds in its step and in the next.

// CookieStep is the shift from a time to its step.
const CookieStep = 34

// Purpose is what a cookie is for.
type Purpose byte

const (
	PurposeChallenge Purpose = 1 // A2S
	PurposeOpening   Purpose = 3 // RakNet
)

// sipHash is SipHash-1-3 (Aumasson, Bernstein 2012): one round a word, three at the end.
func sipHash(key [2]uint64, message []byte) uint64 {
	v0, v1 := key[0]^0x736f6d6570736575, key[1]^0x646f72616e646f6d
	v2, v3 := key[0]^0x6c7967656e657261, key[1]^0x7465646279746573
	rounds := func(n int) {
		for range n {
			v0, v2 = v0+v1, v2+v3
			v1, v3 = bits.RotateLeft64(v1, 13)^v0, bits.RotateLeft64(v3, 16)^v2
			v0 = bits.RotateLeft64(v0, 32)
			v2, v0 = v2+v1, v0+v3
			v1, v3 = bits.RotateLeft64(v1, 17)^v2, bits.RotateLeft64(v3, 21)^v0
			v2 = bits.RotateLeft64(v2, 32)
		}
	}
	last := uint64(len(message)) << 56
	for ; len(message) >= 8; message = message[8:] {
		m := binary.LittleEndian.Uint64(message)
		v3 ^= m
		rounds(1)
		v0 ^= m
	}
	for i, b := range message {
		last |= uint64(b) << (8 * i)
	}
	v3 ^= last
	rounds(1)
	v0 ^= last
	v2 ^= 0xff
	rounds(3)
	return v0 ^ v1 ^ v2 ^ v3
}

// Cookie is the cookie of a step. Its lowest bit says which step it is of; 0 and all ones mean none, and are not given out.
func (g *First) Cookie(p Purpose, step uint64) uint32 {
	m := append(append([]byte{}, g.From.Addr().AsSlice()...), g.To.Addr().AsSlice()...)
	m = binary.BigEndian.AppendUint16(m, g.From.Port())
	m = binary.BigEndian.AppendUint16(m, g.To.Port())
	m = append(m, g.Proto, byte(p))
	m = binary.LittleEndian.AppendUint16(m, uint16(g.Service))
	m = append(m, binary.LittleEndian.AppendUint64(nil, step)[:7]...)
	c := uint32(sipHash(g.Secret, m))&^1 | uint32(step)&1
	if c == 0 || c == ^uint32(0) {
		c ^= 0x5a5a5a5a
	}
	return c
}

// cookie is the one to give out now, as it lies in the packet.
func (g *First) cookie(p Purpose) []byte {
	return binary.LittleEndian.AppendUint32(nil, g.Cookie(p, g.Now>>CookieStep))
}

// holds tells whether these four bytes are a cookie that was made for this tuple within its time.
func (g *First) holds(p Purpose, c []byte) bool {
	step, cookie := g.Now>>CookieStep, binary.LittleEndian.Uint32(c)
	if uint32(step)&1 != cookie&1 {
		step--
	}
	return cookie == g.Cookie(p, step)
}

// CookieBytes is the one to give out now.
func (g *First) CookieBytes(p Purpose) []byte { return g.cookie(p) }

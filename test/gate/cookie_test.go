// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/binary"
	"math/bits"
	"testing"
)

// siphash is SipHash-c-d (Aumasson, Bernstein 2012) of whole words and a last one that ends with the message's length.
func siphash(c, d int, k [2]uint64, last uint64, words ...uint64) uint64 {
	v := [4]uint64{k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d, k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573}
	rounds := func(n int) {
		for range n {
			v[0] += v[1]
			v[2] += v[3]
			v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
			v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
			v[0] = bits.RotateLeft64(v[0], 32)
			v[2] += v[1]
			v[0] += v[3]
			v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
			v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
			v[2] = bits.RotateLeft64(v[2], 32)
		}
	}
	for _, m := range append(words, last) {
		v[3] ^= m
		rounds(c)
		v[0] ^= m
	}
	v[2] ^= 0xff
	rounds(d)
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

// The paper's own vector, of SipHash-2-4: bytes 0 to 14 under the key of bytes 0 to 15.
func TestSipHashIsThePapers(t *testing.T) {
	if got := siphash(2, 4, key, 0x0f0e0d0c0b0a0908, 0x0706050403020100); got != 0xa129ca6149be45e5 {
		t.Errorf("siphash = %#x, want 0xa129ca6149be45e5", got)
	}
}

// cookie is the one that an edge gives at a time to whom a box names.
func cookie(b box, purpose uint8, at uint64) []byte {
	le := binary.LittleEndian
	words := []uint64{le.Uint64(b.Src[:]), le.Uint64(b.Src[8:]), le.Uint64(b.Dst[:]), le.Uint64(b.Dst[8:])}
	if b.Family == 4 {
		words = []uint64{uint64(le.Uint32(b.Src[:])) | uint64(le.Uint32(b.Dst[:]))<<32}
	}
	step := at >> 34
	words = append(words, uint64(le.Uint16(b.Sport[:]))|uint64(le.Uint16(b.Dport[:]))<<16|uint64(b.Proto)<<32|
		uint64(purpose)<<40|uint64(b.Service)<<48)
	c := uint32(siphash(1, 3, key, step|uint64(8*len(words)+7)<<56, words...))&^1 | uint32(step&1)
	if c == 0 || c == ^uint32(0) {
		c ^= 0x5a5a5a5a
	}
	return le.AppendUint32(nil, c)
}

// theft is a box that a cookie was not made for.
type theft struct {
	name   string
	change func(*rig)
}

// thefts are all the ways in which a tuple, a service or a time can be another's.
func thefts() []theft {
	return []theft{
		{"another source", func(r *rig) { r.box.Src[3]++ }},
		{"another destination", func(r *rig) { r.box.Dst[3]++ }},
		{"another source port", func(r *rig) { r.box.Sport[1]++ }},
		{"another destination port", func(r *rig) { r.box.Dport[1]++ }},
		{"another service", func(r *rig) { r.box.Service++ }},
		{"two steps later", func(r *rig) { r.box.Now += 2 << 34 }},
		{"three steps later", func(r *rig) { r.box.Now += 3 << 34 }},
		{"a step before", func(r *rig) { r.box.Now -= 1 << 34 }},
	}
}

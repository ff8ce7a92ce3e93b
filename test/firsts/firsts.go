// SPDX-License-Identifier: Apache-2.0

// Package firsts makes the first packets of sessions: of each game and voice protocol that pkg/naming knows, and of
// much that is none. They are written from the protocols' descriptions, not from the rules, with all that a description leaves
// open drawn at random: what they show of the rules holds for sessions that nobody captured.
package firsts

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
)

// Packet is a payload; Up says that it comes from who begins.
type Packet struct {
	Up      bool
	Payload []byte
}

// Flow is a session's beginning.
type Flow struct {
	Label   string // as labels.tsv has it
	What    string
	TCP     bool
	Port    uint16 // that the other side listens on; nothing may rest on it but where Label is mumble
	Packets []Packet
}

// maker makes one.
type maker struct {
	label, what string
	tcp         bool
	port        uint16
	make        func(r *rand.Rand) []Packet
}

// Flows makes n sessions of each kind.
func Flows(seed uint64, n int) []Flow {
	r := rand.New(rand.NewPCG(seed, 6))
	var all []Flow
	for _, list := range [][]maker{games(), small(), voice(), others()} {
		for _, m := range list {
			for range n {
				port := m.port
				if port == 0 {
					port = uint16(1024 + r.IntN(64000))
				}
				all = append(all, Flow{Label: m.label, What: m.what, TCP: m.tcp, Port: port, Packets: m.make(r)})
			}
		}
	}
	return all
}

func up(b ...[]byte) Packet   { return Packet{true, join(b...)} }
func down(b ...[]byte) Packet { return Packet{false, join(b...)} }

func join(parts ...[]byte) []byte {
	b := []byte{}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func text(s string) []byte               { return []byte(s) }
func zeros(n int) []byte                 { return make([]byte, n) }
func be16(v int) []byte                  { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func be32(v uint32) []byte               { return binary.BigEndian.AppendUint32(nil, v) }
func le16(v int) []byte                  { return binary.LittleEndian.AppendUint16(nil, uint16(v)) }
func le32(v uint32) []byte               { return binary.LittleEndian.AppendUint32(nil, v) }
func le24(v int) []byte                  { return []byte{byte(v), byte(v >> 8), byte(v >> 16)} }
func bytesOf(b ...byte) []byte           { return b }
func between(r *rand.Rand, a, b int) int { return a + r.IntN(b-a+1) }

// noise is n random bytes.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// word is n random letters.
func word(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789_"[r.IntN(37)]
	}
	return b
}

func varint(v uint32) []byte { return binary.AppendUvarint(nil, uint64(v)) }

// frame puts its length in front, as Minecraft has it.
func frame(parts ...[]byte) []byte {
	b := join(parts...)
	return join(varint(uint32(len(b))), b)
}

// bitString collects bits, the lowest of each byte first.
type bitString struct {
	b []byte
	n int
}

func (s *bitString) put(v uint64, n int) {
	for i := range n {
		if s.n&7 == 0 {
			s.b = append(s.b, 0)
		}
		s.b[s.n>>3] |= byte(v>>i&1) << (s.n & 7)
		s.n++
	}
}

func utf16be(s string) []byte {
	b := []byte{}
	for _, c := range s {
		b = append(b, byte(c>>8), byte(c))
	}
	return b
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

func repeat(s string, n int) []byte { return []byte(strings.Repeat(s, n)) }

// SPDX-License-Identifier: Apache-2.0

package naming

import "encoding/binary"

// packet is a payload as rules see it. What reads beyond what is there reads zeros, so that no bytes make a rule panic;
// a rule that needs bytes to be there asks has, or compares them with text that is not zeros.
type packet struct {
	b    []byte // what was captured of it, within the budget
	n    int    // how long it was on the wire
	up   bool   // from who sent the first packet
	nth  int    // of this direction, from 0
	from bool   // over TCP: the beginning of the connection was seen
	port uint16 // the side that didn't begin
}

func (p *packet) has(n int) bool { return len(p.b) >= n }

// cut reports whether some of it was not captured.
func (p *packet) cut() bool { return p.n > len(p.b) }

func (p *packet) is(at int, text string) bool {
	return at >= 0 && len(p.b)-at >= len(text) && string(p.b[at:at+len(text)]) == text
}

func (p *packet) u8(at int) byte {
	if uint(at) >= uint(len(p.b)) {
		return 0
	}
	return p.b[at]
}

func (p *packet) be16(at int) uint16 {
	if len(p.b)-at < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(p.b[at:])
}

func (p *packet) le16(at int) uint16 {
	if len(p.b)-at < 2 {
		return 0
	}
	return binary.LittleEndian.Uint16(p.b[at:])
}

func (p *packet) be32(at int) uint32 {
	if len(p.b)-at < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(p.b[at:])
}

func (p *packet) le32(at int) uint32 {
	if len(p.b)-at < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(p.b[at:])
}

// zeros reports whether the bytes are there, and all zero.
func (p *packet) zeros(from, to int) bool {
	if !p.has(to) {
		return false
	}
	for _, c := range p.b[from:to] {
		if c != 0 {
			return false
		}
	}
	return true
}

// printable reports whether what was captured of the bytes is printable ASCII, spaces and line ends.
func (p *packet) printable(from, to int) bool {
	from, to = min(from, len(p.b)), min(to, len(p.b))
	for _, c := range p.b[from:max(from, to)] {
		if (c < ' ' || c > '~') && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

// memo is what is kept of a packet for the one that follows it: its beginning and length.
type memo struct {
	head [32]byte
	kept uint8
	n    uint32
}

func (m *memo) keep(p *packet) {
	m.kept = uint8(copy(m.head[:], p.b))
	m.n = uint32(min(p.n, 1<<31-1))
}

// packet is the memo as far as rules may read it.
func (m *memo) packet() packet { return packet{b: m.head[:m.kept], n: int(m.n)} }

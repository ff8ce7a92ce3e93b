// SPDX-License-Identifier: Apache-2.0

package model

import "math/bits"

// Unreal Engine's StatelessConnect: bits, the lowest of each byte first, and behind the last one that says something a 1.

// bitReader reads them.
type bitReader struct {
	b  []byte
	at int
}

func (r *bitReader) take(n int) (v uint64) {
	for i := range n {
		if r.at/8 < len(r.b) {
			v |= uint64(r.b[r.at/8]>>(r.at%8)&1) << i
		}
		r.at++
	}
	return v
}

func (r *bitReader) zeros(n int) bool {
	all := true
	for range n {
		all = r.take(1) == 0 && all
	}
	return all
}

// gateUnreal: a handshake's initial packet. params: bits of the game's magic header, their value, the engine (4, 5, 0 = not
// known), the lowest and highest handshake version.
func gateUnreal(g *First) bool {
	b := g.Payload
	if len(b) == 0 || len(b) > 64 || b[len(b)-1] == 0 {
		return false
	}
	end := len(b)*8 - bits.LeadingZeros8(b[len(b)-1]) - 1 // of what it says
	if g.Params[0] > 32 {
		return false
	}
	magic := int(g.Params[0])
	r := &bitReader{b: b}
	switch g.Params[2] {
	case 4:
		return r.take(magic) == g.Params[1]&(1<<magic-1) && unreal4(r, end)
	case 5:
		return r.take(magic) == g.Params[1]&(1<<magic-1) && unreal5(r, end, g.Params)
	}
	r.at = 120 // within the cookie, whatever stands before it
	return g.Params[2] == 0 && len(b) >= 29 && r.zeros(104)
}

// unreal4: handshake, no restart, and zeros for secret, timestamp and cookie: 227 bits.
func unreal4(r *bitReader, end int) bool {
	return end == r.at+227 && r.take(1) == 1 && r.zeros(226)
}

func unreal5(r *bitReader, end int, params [6]uint64) bool {
	lowest, highest := params[3], params[4]
	if lowest == 0 {
		lowest = 3
	}
	if highest == 0 {
		highest = 8
	}
	bytes := len(r.b)
	r.take(2 + 3) // session and client
	handshake, restart := r.take(1), r.take(1)
	least, current, kind, sent := r.take(8), r.take(8), r.take(8), r.take(8)
	r.take(32 + 16) // the game's build, features
	return handshake == 1 && restart == 0 && least <= current && current >= lowest && current <= highest && kind == 0 && sent >= 1 && r.zeros(1+64+160) &&
		end >= r.at && bytes >= 40
}

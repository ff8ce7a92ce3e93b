// SPDX-License-Identifier: Apache-2.0

package naming

// Unreal Engine's StatelessConnect handshake. Source: dev.epicgames.com API, StatelessConnectHandlerComponent (names and
// widths); bits count from the lowest of each byte on, and nothing is aligned.
var unrealRules = [...]rule{
	{Unreal, 97, "Unreal Engine 5's first packet: a handshake whose secret, time and cookie are zero", unreal5},
	{Unreal, 97, "Unreal Engine 4's first packet: a handshake whose secret, time and cookie are zero", unreal4},
}

// bits reads up to 32 of them.
func (p *packet) bits(at, n int) uint32 {
	var v uint32
	for i := range n {
		if p.u8((at+i)>>3)>>((at+i)&7)&1 != 0 {
			v |= 1 << i
		}
	}
	return v
}

// zeroBits reports whether n bits are there and zero.
func (p *packet) zeroBits(at, n int) bool {
	if !p.has((at + n + 7) >> 3) {
		return false
	}
	for n > 0 {
		step := min(n, 32-at&7)
		if p.bits(at, step) != 0 {
			return false
		}
		at, n = at+step, n-step
	}
	return true
}

// unreal5: a magic header of the game's own, up to 32 bits; session and client (5 bits); handshake set, restart not; the least
// version and the current one; type 0; a count from 1 on; the build; features; then secret, time and cookie, 225 zeros; padding that isn't, and
// a bit that ends it.
func unreal5(p *packet) bool {
	if p.n < 38 || p.n > 64 || p.cut() || !p.zeros(14, 38) || p.u8(p.n-1) == 0 { // where each of the layouts has zeros
		return false
	}
	for magic := 0; magic <= 32; magic++ {
		at := magic + 5
		least, current := p.bits(at+2, 8), p.bits(at+10, 8)
		if p.bits(at, 2) == 1 && least >= 1 && least <= current && current <= 8 && p.bits(at+18, 8) == 0 && p.bits(at+26, 8) >= 1 &&
			p.bits(at+34, 32) != 0 && p.zeroBits(at+82, 225) && (at+82+225)>>3 < p.n {
			return true
		}
	}
	return false
}

// unreal4: handshake set, restart and secret not, time and cookie zero: 227 bits, and the one that ends it.
func unreal4(p *packet) bool {
	return p.n == 29 && p.is(0, "\x01") && p.zeros(1, 28) && p.u8(28) == 8
}

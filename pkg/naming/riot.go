// SPDX-License-Identifier: Apache-2.0

package naming

// Riot's titles, seen in captures (protocols.md): nothing is published.
var riotRules = [...]rule{
	{Riot, 95, "Unreal Engine 4's first packet behind Riot's session id", riotHandshake},
	{Riot, 85, "a latency probe of Riot's", riotProbe},
}

var riotAnswers = [...]pairRule{
	{Riot, 80, "the handshake of Wild Rift and its answer", wildRift},
}

// riotHandshake: a token and a session of 4 bytes each, then Unreal 4's 227 bits, zero but for the first, and the one that ends them.
func riotHandshake(p *packet) bool {
	return p.n == 53 && p.has(53) && p.u8(8) == 1 && p.zeros(9, 36) && p.u8(36)&15 == 8 && (p.be32(0) != 0 || p.be32(4) != 0)
}

// riotProbe: 36 bytes, the last eight of which are AA and BB, four times each.
func riotProbe(p *packet) bool {
	return p.n == 36 && p.is(28, "\xaa\xaa\xaa\xaa\xbb\xbb\xbb\xbb")
}

// wildRift: 69 bytes that begin with 4 in little-endian are answered by 359 that begin with 16.
func wildRift(last, p *packet) bool {
	return last.n == 69 && last.is(0, "\x04\x00\x00\x00") && p.n == 359 && p.is(0, "\x10\x00\x00\x00")
}

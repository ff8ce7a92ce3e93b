// SPDX-License-Identifier: Apache-2.0

package naming

// Photon (Exit Games), a descendant of ENet's. Sources: protocols.md; the ping of the public Photon Realtime SDK (PhotonPing).
var photonRules = [...]rule{
	{Photon, 97, "Photon's CONNECT", photonConnect},
	{Photon, 90, "Photon's ping of a region", photonPing},
}

var photonWalks = [...]rule{
	{Photon, 90, "a Photon packet whose commands add up to its length", photonCommands},
}

// photonConnect: no peer yet, one command: 2 on channel FF, 44 bytes, number 1.
func photonConnect(p *packet) bool {
	return p.n == 56 && p.is(0, "\xff\xff") && p.u8(3) == 1 && p.is(12, "\x02\xff\x01") && p.be32(16) == 44 && p.be32(20) == 1
}

// photonSizes are those of the commands that have one.
var photonSizes = [...]int{1: 20, 2: 44, 3: 44, 4: 12, 5: 12}

// photonCommands: peer, a flag of the checksum, how many commands, a time and a challenge; then so many commands, each with its type,
// channel, flags, a reserved byte, its length and number.
func photonCommands(p *packet) bool {
	if flag := p.u8(2); flag > 1 || p.u8(3) == 0 || p.u8(3) > 64 || !p.has(24) || p.be32(8) == 0 || p.be32(4) == 0 {
		return false
	}
	at := 12
	for n := range int(p.u8(3)) {
		if at+12 > len(p.b) {
			return n > 0 && p.cut() && at < p.n
		}
		kind, size := int(p.u8(at)), int(p.be32(at+4))
		if kind == 0 || kind > 15 || p.u8(at+2) > 7 || p.u8(at+3) > 4 || size < 12 || size > 1<<16 ||
			kind < len(photonSizes) && size != photonSizes[kind] {
			return false
		}
		at += size
	}
	return at == p.n
}

// photonPing: twelve times 7D, and a number.
func photonPing(p *packet) bool { return p.n == 13 && p.is(0, "}}}}}}}}}}}}") }

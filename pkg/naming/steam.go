// SPDX-License-Identifier: Apache-2.0

package naming

// Steam: relays and networking sockets (steam_sdr), client and discovery (steam_other). Sources: ValveSoftware/GameNetworkingSockets
// (steamnetworkingsockets_udp.h); SteamRE/SteamKit and "Steam network" notes of VS01 and VT01.
var steamRules = [...]rule{
	{SteamSDR, 97, "a ping of Steam's datagram relays", sdrPing},
	{SteamSDR, 85, "a challenge request of Steam networking sockets, padded as it must be", gnsChallenge},
	{SteamOther, 97, "Steam's VS01 packet, as long as it says", steamVS01},
	{SteamOther, 97, "Steam's discovery of streaming in the home", steamDiscovery},
}

// sdrPing: 01, flags, "sdping".
func sdrPing(p *packet) bool { return p.is(0, "\x01") && p.is(2, "sdping") && p.n >= 24 }

// gnsChallenge: 20, the length of its body, which begins with the tag of a fixed connection id, in 512 to 1300 bytes.
func gnsChallenge(p *packet) bool {
	size := int(p.le16(1))
	return p.u8(0) == 0x20 && p.n >= 512 && p.n <= 1300 && size >= 5 && size <= p.n-3 && p.u8(3) == 0x0d && p.zeroTail(3+size)
}

// zeroTail reports whether what was captured from there on is zero.
func (p *packet) zeroTail(at int) bool {
	for _, c := range p.b[min(at, len(p.b)):] {
		if c != 0 {
			return false
		}
	}
	return true
}

// steamVS01: the magic, the length of what follows the header's 36 bytes, and a type.
func steamVS01(p *packet) bool {
	return p.is(0, "VS01") && p.n == 36+int(p.le16(4)) && p.u8(6) >= 1 && p.u8(6) <= 7
}

// steamDiscovery: FF FF FF FF and a magic that is no type of Source's.
func steamDiscovery(p *packet) bool { return p.is(0, outOfBand+"\x21\x4c\x5f\xa0") }

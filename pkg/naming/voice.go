// SPDX-License-Identifier: Apache-2.0

package naming

// Voice that players talk by. Sources: ReSpeak/tsdeclarations ts3protocol.md and yat.qa "Protokolle von TeamSpeak 3" (TeamSpeak 3);
// mumble-protocol documentation "UDP ping"; discord.com/developers "Voice Connections: IP Discovery" (Discord).
var voiceRules = [...]rule{
	{TeamSpeak3, 98, "TeamSpeak 3's INIT1", ts3Init},
	{Mumble, 55, "Mumble's ping, to Mumble's port: an echo of BFD looks the same", mumblePing},
	{DiscordVoice, 95, "Discord's discovery of addresses", discordDiscovery},
	{DiscordVoice, 95, "Discord's ping of its voice servers", discordPing},
}

var voiceAnswers = [...]pairRule{
	{TeamSpeak3, 90, "TeamSpeak 3's server list: a request of four bytes, and the answer that adds a key to them", ts3List},
	{Mumble, 95, "Mumble's ping, and its answer with users and bandwidth", mumblePong},
}

// ts3Init: "TS3INIT1" in place of the MAC, then packet id 101 both ways.
func ts3Init(p *packet) bool { return p.is(0, "TS3INIT1\x00\x65") }

// ts3List: version 1, a number, kind 1; the answer is the same and a key.
func ts3List(last, p *packet) bool {
	return last.n == 4 && last.has(4) && last.u8(0) == 1 && last.u8(3) == 1 && p.n == 8 && p.has(8) && p.be32(0) == last.be32(0) && p.be32(4) != 0
}

const mumblePort = 64738

// mumblePing: four zeros and an identifier. The port settles between it and others of that shape.
func mumblePing(p *packet) bool {
	return p.n == 12 && p.port == mumblePort && p.zeros(0, 4) && (p.be32(4) != 0 || p.be32(8) != 0)
}

// mumblePong: a version from 1.2 on, the identifier again, users, how many may be, and bandwidth in bits a second.
func mumblePong(last, p *packet) bool {
	return last.n == 12 && last.zeros(0, 4) && p.n == 24 && p.has(24) && p.is(0, "\x00\x01") && p.be32(4) == last.be32(4) && p.be32(8) == last.be32(8) &&
		p.be32(12) <= p.be32(16) && p.be32(16) <= 1<<20 && p.be32(20) >= 1000
}

// discordDiscovery: type 1 asks, 2 answers; 70 bytes follow: an SSRC, an address as text, zeros, and a port.
func discordDiscovery(p *packet) bool {
	if p.n != 74 || !p.has(74) {
		return false
	}
	if p.is(0, "\x00\x01\x00\x46") {
		return p.zeros(8, 74)
	}
	if !p.is(0, "\x00\x02\x00\x46") || p.be16(72) == 0 {
		return false
	}
	for at := 8; at < 72; at++ {
		switch c := p.u8(at); {
		case c == 0:
			return at >= 8+2 && p.zeros(at, 72)
		case c >= '0' && c <= '9', c == '.', c == ':', c >= 'a' && c <= 'f':
		default:
			return false
		}
	}
	return true
}

// discordPing: 13 37 CA FE and a counter, answered by the same (seen in captures).
func discordPing(p *packet) bool { return p.n == 8 && p.is(0, "\x13\x37\xca\xfe") }

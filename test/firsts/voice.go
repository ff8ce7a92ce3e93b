// SPDX-License-Identifier: Apache-2.0

package firsts

import "math/rand/v2"

func voice() []maker {
	return []maker{
		{"teamspeak3", "init", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(text("TS3INIT1\x00\x65\x00\x00\x88"), noise(r, 4), bytesOf(0), noise(r, 8), zeros(8)), down(text("TS3INIT1\x00\x65\x88\x01"), noise(r, 20))}
		}},
		{"teamspeak3", "server list", false, 0, func(r *rand.Rand) []Packet {
			ask := join(bytesOf(1), noise(r, 2), bytesOf(1))
			return []Packet{up(ask), down(ask, be32(r.Uint32()|1))}
		}},
		{"mumble", "ping", false, 64738, func(r *rand.Rand) []Packet { return mumble(r, true) }},
		{"mumble", "ping that nobody answers", false, 64738, func(r *rand.Rand) []Packet { return mumble(r, false) }},
		{"mumble", "ping to another port", false, 0, func(r *rand.Rand) []Packet { return mumble(r, true) }},
		{"discord_voice", "discovery", false, 0, func(r *rand.Rand) []Packet {
			ssrc, address := noise(r, 4), text(pick(r, "203.0.113.7", "198.51.100.200", "2001:db8::7"))
			return []Packet{
				up(text("\x00\x01\x00\x46"), ssrc, zeros(66)),
				down(text("\x00\x02\x00\x46"), ssrc, address, zeros(64-len(address)), be16(1024+r.IntN(64000))),
			}
		}},
		{"discord_voice", "ping", false, 0, func(r *rand.Rand) []Packet {
			p := join(text("\x13\x37\xca\xfe"), le32(uint32(r.IntN(1000))))
			return []Packet{up(p), down(p)}
		}},
	}
}

func mumble(r *rand.Rand, answered bool) []Packet {
	id := noise(r, 8)
	id[0] |= 1
	p := []Packet{up(zeros(4), id)}
	if answered {
		p = append(p, down(text("\x00\x01\x04\x00"), id, be32(uint32(r.IntN(50))), be32(100), be32(72000)))
	}
	return p
}

// SPDX-License-Identifier: Apache-2.0

package firsts

import "math/rand/v2"

// small is pings and queries of games: a packet each way, if that.
func small() []maker {
	return []maker{
		{"riot", "probe", false, 0, func(r *rand.Rand) []Packet {
			b := noise(r, 20)
			return []Packet{up(noise(r, 4), noise(r, 4), b, repeat("\xaa", 4), repeat("\xbb", 4)), down(noise(r, 4), zeros(4), b, repeat("\xaa", 4), repeat("\xbb", 4))}
		}},
		{"riot", "Wild Rift", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(le32(4), noise(r, 65)), down(le32(16), noise(r, 355))}
		}},
		{"photon", "ping", false, 0, func(r *rand.Rand) []Packet {
			p := join(repeat("}", 12), noise(r, 1))
			return []Packet{up(p), down(p)}
		}},
		{"steam_other", "streaming in the home", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(text(query+"\x21\x4c\x5f\xa0"), le32(5), text("\x08\xd2\x09\x10\x00"), le32(2), noise(r, 2))}
		}},
		{"source", "Valve's list of servers", false, 0, func(*rand.Rand) []Packet {
			return []Packet{up(text("1\xff0.0.0.0:0\x00\\gamedir\\csgo\x00")), down(text(query + "\x66\x0a\xcb\x00\x71\x0a\x69\x87\x00\x00\x00\x00\x00\x00"))}
		}},
		{"console", "Demonware", false, 0, func(r *rand.Rand) []Packet {
			b := noise(r, 26)
			return []Packet{up(text("\x0d\x02\x00"), b), down(text("\x0c\x02\x00"), b)}
		}},
		{"other_game_udp", "KCP's handshake in Genshin Impact", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(be32(0xff), zeros(8), be32(1234567890), be32(0xffffffff)), down(be32(0x145), noise(r, 8), be32(1234567890), be32(0x14514545))}
		}},
		{"other_game_udp", "Among Us", false, 0, func(r *rand.Rand) []Packet {
			name := word(r, between(r, 1, 10))
			return []Packet{up(bytesOf(8), be16(1), bytesOf(0), le32(uint32(2025*25000+between(r, 1, 12)*1800+between(r, 1, 28)*50)), bytesOf(byte(len(name))), name)}
		}},
		{"other_game_udp", "Armagetron", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(be16(53), zeros(6)), down(be16(51), be16(0), be16(100), noise(r, 200), zeros(2))}
		}},
		{"other_game_udp", "Call of Duty Mobile", false, 0, func(r *rand.Rand) []Packet {
			p := join(noise(r, 8), text("ping"))
			return []Packet{up(p), down(p)}
		}},
		{"other_game_udp", "San Andreas Multiplayer", false, 0, func(r *rand.Rand) []Packet {
			p := join(text("SAMP"), noise(r, 6), text(pick(r, "i", "r", "c", "d")))
			return []Packet{up(p), down(p, noise(r, 30))}
		}},
		{"other_game_udp", "GameSpy", false, 0, func(r *rand.Rand) []Packet {
			if r.IntN(2) == 0 {
				return []Packet{up(text(pick(r, `\status\`, `\info\`, `\basic\`)))}
			}
			return []Packet{up(text("\xfe\xfd\x09"), noise(r, 4))}
		}},
		{"other_game_tcp", "World of Warcraft's logon", true, 0, func(r *rand.Rand) []Packet {
			rest := join(text("WoW\x00\x03\x03\x05\x34\x3068x\x00niW\x00SUne"), noise(r, 8), bytesOf(5), word(r, 5))
			return []Packet{up(bytesOf(0, 8), le16(len(rest)), rest)}
		}},
	}
}

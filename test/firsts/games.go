// SPDX-License-Identifier: Apache-2.0

package firsts

import (
	"fmt"
	"math/rand/v2"
)

const (
	magic  = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78" // RakNet's
	query  = "\xff\xff\xff\xff"
	a2info = query + "TSource Engine Query\x00"
)

func games() []maker {
	return []maker{
		{"minecraft_java", "status", true, 0, minecraftStatus},
		{"minecraft_java", "login, glued to the handshake", true, 0, minecraftLogin},
		{"minecraft_java", "legacy ping", true, 0, minecraftLegacy},
		{"raknet", "ping", false, 0, raknetPing},
		{"raknet", "connection", false, 0, raknetConnection},
		{"raknet", "picked up later", false, 0, raknetLater},
		{"source", "info with a challenge", false, 0, sourceInfo},
		{"source", "players and rules", false, 0, sourcePlayers},
		{"quake3", "getstatus and getinfo", false, 0, quakeQuery},
		{"quake3", "connection", false, 0, quakeConnect},
		{"unreal", "UE5", false, 0, unreal5},
		{"unreal", "UE4", false, 0, unreal4},
		{"riot", "Valorant", false, 0, riotHandshake},
		{"steam_sdr", "relay ping", false, 0, sdrPing},
		{"steam_sdr", "challenge request", false, 0, gnsChallenge},
		{"steam_other", "VS01", false, 0, steamVS01},
		{"enet", "connection", false, 0, func(r *rand.Rand) []Packet { return enetConnection(r, false) }},
		{"enet", "connection with checksums", false, 0, func(r *rand.Rand) []Packet { return enetConnection(r, true) }},
		{"photon", "connection", false, 0, photonConnection},
		{"photon", "picked up later", false, 0, photonLater},
		{"console", "Pia", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(text("\x32\xab\x98\x64"), bytesOf([]byte{2, 0x83, 0x84, 0x85, 0x89}[r.IntN(5)]), noise(r, between(r, 40, 400)))}
		}},
		{"other_game_udp", "KCP", false, 0, kcp},
		{"other_game_udp", "netcode.io", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(text("\x00NETCODE 1.02\x00"), noise(r, 1078-14))}
		}},
		{"other_game_udp", "Luanti", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(text("\x4f\x45\x74\x03"), zeros(2), bytesOf(byte(r.IntN(3)), 3), text("\xff\xdc\x01"), zeros(2))}
		}},
		{"other_game_udp", "Teeworlds", false, 0, func(r *rand.Rand) []Packet {
			return []Packet{up(repeat("\xff", 10), text("gie3"), noise(r, 1)), down(repeat("\xff", 10), text("inf3"), word(r, 60))}
		}},
		{"other_game_tcp", "World of Warcraft", true, 0, func(*rand.Rand) []Packet {
			return []Packet{down(text("\x30\x00WORLD OF WARCRAFT CONNECTION - SERVER TO CLIENT\x00")), up(text("\x30\x00WORLD OF WARCRAFT CONNECTION - CLIENT TO SERVER\x00"))}
		}},
		{"other_game_tcp", "Terraria", true, 0, func(*rand.Rand) []Packet { return []Packet{up(text("\x0f\x00\x01\x0bTerraria279"))} }},
	}
}

func minecraftHandshake(r *rand.Rand, next byte) []byte {
	host := word(r, between(r, 1, 60))
	version := []uint32{5, 47, 340, 754, 762, 765, 772}[r.IntN(7)]
	return frame(bytesOf(0), varint(version), varint(uint32(len(host))), host, be16(r.IntN(65536)), bytesOf(next))
}

func minecraftStatus(r *rand.Rand) []Packet {
	json := []byte(`{"version":{"name":"1.21","protocol":772},"players":{"max":20,"online":3},"description":{"text":"` + string(word(r, 20)) + `"}}`)
	return []Packet{up(minecraftHandshake(r, 1)), up(text("\x01\x00")), down(frame(bytesOf(0), varint(uint32(len(json))), json))}
}

func minecraftLogin(r *rand.Rand) []Packet {
	name := word(r, between(r, 3, 16))
	return []Packet{up(minecraftHandshake(r, 2), frame(bytesOf(0, byte(len(name))), name, noise(r, 16)))}
}

func minecraftLegacy(r *rand.Rand) []Packet {
	answer := utf16be(fmt.Sprintf("\u00a71\x00127\x001.12\x00%s\x00%d\x0020", word(r, 10), r.IntN(20)))
	return []Packet{up(text("\xfe\x01")), down(text("\xff"), be16(len(answer)/2), answer)}
}

func raknetPing(r *rand.Rand) []Packet {
	at, motd := noise(r, 8), join(text("MCPE;"), word(r, between(r, 10, 100)))
	return []Packet{up(bytesOf(byte(1+r.IntN(2))), at, text(magic), noise(r, 8)), down(bytesOf(0x1c), at, noise(r, 8), text(magic), be16(len(motd)), motd)}
}

func raknetConnection(r *rand.Rand) []Packet {
	size := []int{1464, 1399, 1172, 548}[r.IntN(4)]
	guid := noise(r, 8)
	return []Packet{
		up(bytesOf(5), text(magic), bytesOf(byte(8+r.IntN(4))), zeros(size-18)),
		down(bytesOf(6), text(magic), noise(r, 8), bytesOf(0), be16(size+28)),
		up(bytesOf(7), text(magic), bytesOf(4), noise(r, 4), be16(19132), be16(size+28), guid),
	}
}

func raknetDatagram(number int, message []byte) []byte {
	return join(bytesOf(0x84), le24(number), bytesOf(0x60), be16(8*len(message)), le24(number), le24(number), bytesOf(0), message)
}

// raknetLater begins amid play: what is in the messages is the game's.
func raknetLater(r *rand.Rand) []Packet {
	n := r.IntN(1 << 20)
	return []Packet{
		up(raknetDatagram(n, join(bytesOf(0xfe), noise(r, between(r, 5, 200))))),
		down(bytesOf(0xc0), be16(1), bytesOf(1), le24(n)),
		up(raknetDatagram(n+1, join(bytesOf(0xfe), noise(r, between(r, 5, 200))))),
	}
}

func sourceInfo(r *rand.Rand) []Packet {
	challenge := noise(r, 4)
	return []Packet{
		up(text(a2info)), down(text(query+"A"), challenge), up(text(a2info), challenge),
		down(text(query+"I\x11"), word(r, 20), text("\x00de_dust2\x00csgo\x00Counter-Strike\x00"), le16(730),
			noise(r, 3), text(pick(r, "dl", "dw", "ll", "pm")), bytesOf(byte(r.IntN(2)), 1), text("1.38.7.9\x00")),
	}
}

func sourcePlayers(r *rand.Rand) []Packet {
	challenge, kind := noise(r, 4), []byte{'U', 'V'}[r.IntN(2)]
	return []Packet{up(text(query), bytesOf(kind), repeat("\xff", 4)), down(text(query+"A"), challenge), up(text(query), bytesOf(kind), challenge)}
}

func quakeQuery(r *rand.Rand) []Packet {
	if r.IntN(2) == 0 {
		return []Packet{up(text(query+"getstatus"), text(pick(r, "", "\n", " xyz"))), down(text(query+"statusResponse\n\\sv_hostname\\"), word(r, 40))}
	}
	return []Packet{up(text(query+"getinfo"), text(pick(r, "", "\n", " xxx"))), down(text(query+"infoResponse\n\\voip\\opus"), word(r, 40))}
}

func quakeConnect(r *rand.Rand) []Packet {
	mine, theirs := int32(r.Uint32()), int32(r.Uint32())
	return []Packet{
		up(fmt.Appendf(nil, "%sgetchallenge %d Quake3Arena", query, mine)), down(fmt.Appendf(nil, "%schallengeResponse %d %d 71", query, theirs, mine)),
		up(text(query+"connect "), noise(r, 220)), down(fmt.Appendf(nil, "%sconnectResponse %d", query, theirs)),
	}
}

func unreal5(r *rand.Rand) []Packet {
	var s bitString
	magic := r.IntN(33)
	s.put(r.Uint64(), magic)
	s.put(uint64(r.IntN(4)), 2)
	s.put(uint64(r.IntN(8)), 3)
	s.put(1, 2) // handshake, no restart
	s.put(3, 8)
	s.put(4, 8)
	s.put(0, 8)
	s.put(uint64(1+r.IntN(3)), 8)
	s.put(uint64(1+r.IntN(1<<30)), 32)
	s.put(0, 16)
	s.put(0, 1)
	s.put(0, 64)
	for range 160 {
		s.put(0, 1)
	}
	for range between(r, 0, 15) {
		s.put(r.Uint64(), 8)
	}
	s.put(1, 1)
	return []Packet{up(s.b)}
}

func unreal4(r *rand.Rand) []Packet {
	challenge := noise(r, 29)
	challenge[0], challenge[28] = challenge[0]&^3|1, 8
	return []Packet{up(bytesOf(1), zeros(27), bytesOf(8)), down(challenge)}
}

func riotHandshake(r *rand.Rand) []Packet {
	p := join(noise(r, 8), bytesOf(1), zeros(27), bytesOf(8|byte(r.IntN(16))<<4), noise(r, 16))
	return []Packet{up(p), up(p)}
}

func sdrPing(r *rand.Rand) []Packet {
	return []Packet{up(bytesOf(1, 1), text("sdping"), noise(r, 24), zeros([]int{68, 1268}[r.IntN(2)]))}
}

func gnsChallenge(r *rand.Rand) []Packet {
	body := join(bytesOf(0x0d), noise(r, 4), bytesOf(0x19), noise(r, 8), bytesOf(0x20, 13))
	return []Packet{up(bytesOf(32), le16(len(body)), body, zeros(512-3-len(body)))}
}

func steamVS01(r *rand.Rand) []Packet {
	return []Packet{
		up(text("VS01"), be16(0), bytesOf(1, 0), noise(r, 28)),
		down(text("VS01"), le16(8), bytesOf(2, 0), noise(r, 28), noise(r, 8)),
	}
}

// enetConnection has nothing of play. The checksum is not looked at: it needs the connection's number.
func enetConnection(r *rand.Rand, checked bool) []Packet {
	sum := func() []byte {
		if checked {
			return noise(r, 4)
		}
		return nil
	}
	mine, theirs, id := be16(r.IntN(65536)), be16(r.IntN(65536)), noise(r, 4)
	rest := join(be32([]uint32{576, 1200, 1392, 4096}[r.IntN(4)]), be32(65536), be32(uint32(1+r.IntN(255))), be32(0), be32(0), be32(5000), be32(2), be32(2), id)
	return []Packet{
		up(be16(0x8fff), mine, sum(), bytesOf(0x82, 0xff), be16(1), be16(r.IntN(64)), bytesOf(0xff, 0xff), rest, be32(r.Uint32())),
		down(be16(0x8000|r.IntN(64)), theirs, sum(), bytesOf(0x83, 0xff), be16(1), be16(r.IntN(64)), zeros(2), rest),
		up(be16(0x8000|r.IntN(64)), be16(r.IntN(65536)), sum(), bytesOf(1, 0xff), be16(0), be16(1), theirs),
	}
}

func photonCommand(kind byte, body []byte) []byte {
	return join(bytesOf(kind, 0xff, 1, 4), be32(uint32(12+len(body))), be32(1), body)
}

func photonConnection(r *rand.Rand) []Packet {
	challenge, at := noise(r, 4), be32(1+uint32(r.IntN(1<<30)))
	challenge[0] |= 1
	return []Packet{
		up(be16(0xffff), bytesOf(0, 1), at, challenge, photonCommand(2, join(be32(1200), be32(32768), be32(2), zeros(8), be32(5000), be32(2), be32(2)))),
		down(be16(0), bytesOf(0, 2), be32(1+uint32(r.IntN(1<<30))), challenge, photonCommand(1, join(be32(1), at)), photonCommand(3, zeros(32))),
	}
}

func photonLater(r *rand.Rand) []Packet {
	challenge := noise(r, 4)
	challenge[0] |= 1
	return []Packet{up(be16(r.IntN(65536)), bytesOf(0, 2), be32(1+uint32(r.IntN(1<<30))), challenge,
		photonCommand(6, noise(r, between(r, 1, 300))), photonCommand(7, noise(r, between(r, 4, 300))))}
}

func kcp(r *rand.Rand) []Packet {
	conversation, size := be32(r.Uint32()|1), between(r, 1, 900)
	return []Packet{up(conversation, bytesOf(81, 0), le16(128), le32(r.Uint32()), le32(uint32(r.IntN(100))), le32(uint32(r.IntN(100))), le32(uint32(size)), noise(r, size))}
}

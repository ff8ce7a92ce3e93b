// SPDX-License-Identifier: Apache-2.0

package firsts

import (
	"fmt"
	"math/rand/v2"
)

// others is what no game may be named by: what shares ports, lengths or first bytes with one, what is common, and noise.
func others() []maker {
	return []maker{
		{"dns", "a question and its answer", false, 53, dns},
		{"ntp", "a request", false, 123, func(r *rand.Rand) []Packet {
			return []Packet{up(bytesOf(0x23, 0, 6, 0xec), zeros(36), be32(0xe9000000|r.Uint32()&0xffffff), noise(r, 4))}
		}},
		{"stun_turn", "binding", false, 3478, func(r *rand.Rand) []Packet {
			id := noise(r, 12)
			return []Packet{up(be16(1), be16(0), be32(0x2112a442), id), down(be16(0x101), be16(12), be32(0x2112a442), id, be16(0x20), be16(8), bytesOf(0, 1), noise(r, 6))}
		}},
		{"wireguard", "initiation", false, 51820, func(r *rand.Rand) []Packet {
			return []Packet{up(bytesOf(1, 0, 0, 0), noise(r, 144)), down(bytesOf(2, 0, 0, 0), noise(r, 88))}
		}},
		{"quic", "initial", false, 443, func(r *rand.Rand) []Packet {
			return []Packet{up(bytesOf(0xc0|byte(r.IntN(16))), be32(1), bytesOf(8), noise(r, 8), bytesOf(0, 0), be16(0x4496), noise(r, 1182))}
		}},
		{"rtp_voip", "G.711", false, 0, rtp},
		{"web_tls", "hello", true, 443, func(r *rand.Rand) []Packet {
			return []Packet{up(text("\x16\x03\x01"), be16(512), text("\x01\x00\x01\xfc\x03\x03"), noise(r, 506)), down(text("\x16\x03\x03"), be16(122), text("\x02\x00\x00\x76\x03\x03"), noise(r, 116))}
		}},
		{"web_http", "GET", true, 25565, func(r *rand.Rand) []Packet {
			return []Packet{up(fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: example.net\r\n\r\n", word(r, 10))), down(text("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))}
		}},
		{"other_tcp", "MySQL greets on Minecraft's port", true, 25565, func(r *rand.Rand) []Packet {
			rest := join(text("\x0a8.0.33\x00"), noise(r, 4), word(r, 8), noise(r, 40))
			return []Packet{down(bytesOf(byte(len(rest)), 0, 0, 0), rest)}
		}},
		{"other_udp", "BFD echo, which looks like Mumble's ping", false, 3785, func(r *rand.Rand) []Packet {
			p := join(zeros(4), noise(r, 8))
			return []Packet{up(p), up(p)}
		}},
		{"other_udp", "zeros", false, 27015, func(r *rand.Rand) []Packet { return []Packet{up(zeros(between(r, 1, 1400)))} }},
		{"other_udp", "ones", false, 27960, func(r *rand.Rand) []Packet { return []Packet{up(repeat("\xff", between(r, 1, 1400)))} }},
		{"other_udp", "FF FF FF FF and noise", false, 27015, func(r *rand.Rand) []Packet { return []Packet{up(text(query), noise(r, between(r, 6, 1200)))} }},
		{"other_udp", "noise", false, 19132, func(r *rand.Rand) []Packet {
			return []Packet{up(noise(r, between(r, 1, 1400))), down(noise(r, between(r, 1, 1400))), up(noise(r, between(r, 1, 1400))), down(noise(r, between(r, 1, 200)))}
		}},
		{"other_udp", "short noise", false, 7777, func(r *rand.Rand) []Packet {
			return []Packet{up(noise(r, between(r, 1, 16))), down(noise(r, between(r, 1, 16))), up(noise(r, between(r, 1, 16))), down(noise(r, between(r, 1, 16)))}
		}},
		{"other_udp", "a counter and noise", false, 9000, func(r *rand.Rand) []Packet {
			n := r.Uint32()
			return []Packet{up(be32(n), noise(r, 60)), down(be32(n), noise(r, 60)), up(be32(n+1), noise(r, 60)), down(be32(n+1), noise(r, 60))}
		}},
		{"other_udp", "a counter in little-endian and noise", false, 9000, func(r *rand.Rand) []Packet {
			n := r.Uint32()
			return []Packet{up(le32(n), noise(r, 20)), up(le32(n+1), noise(r, 20)), down(le32(n), noise(r, 20)), up(le32(n+2), noise(r, 20))}
		}},
		{"other_udp", "a reflected DHIP of 512 bytes and more", false, 27015, func(r *rand.Rand) []Packet {
			return []Packet{up(text("\x20\x00\x00\x00DHIP"), zeros(8), le32(700), zeros(4), le32(700), zeros(4), word(r, 700))}
		}},
		{"other_udp", "a list of lengths and values", false, 5055, func(r *rand.Rand) []Packet {
			b := []byte{}
			for range between(r, 1, 20) {
				n := between(r, 1, 40)
				b = join(b, be32(uint32(n)), noise(r, n))
			}
			return []Packet{up(b), down(b)}
		}},
		{"other_tcp", "noise", true, 25565, func(r *rand.Rand) []Packet {
			return []Packet{up(noise(r, between(r, 1, 1400))), down(noise(r, between(r, 1, 1400)))}
		}},
		{"other_tcp", "frames with a length of one byte", true, 25565, func(r *rand.Rand) []Packet {
			n := between(r, 1, 120)
			return []Packet{up(bytesOf(byte(n)), noise(r, n)), down(bytesOf(byte(n), 0), noise(r, n-1))}
		}},
	}
}

func dns(r *rand.Rand) []Packet {
	id := noise(r, 2)
	name := word(r, between(r, 1, 20))
	question := join(bytesOf(byte(len(name))), name, text("\x07example\x00"), be16(1), be16(1))
	return []Packet{
		up(id, be16(0x0100), be16(1), zeros(6), question),
		down(id, be16(0x8180), be16(1), be16(1), zeros(4), question, be16(0xc00c), be16(1), be16(1), be32(300), be16(4), noise(r, 4)),
	}
}

func rtp(r *rand.Rand) []Packet {
	number, at, source := r.IntN(65000), r.Uint32(), noise(r, 4)
	source[0] |= 1
	var all []Packet
	for i := range 4 {
		all = append(all, up(bytesOf(0x80, 0), be16(number+i), be32(at+uint32(160*i)), source, noise(r, 160)))
	}
	return all
}

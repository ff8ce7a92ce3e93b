// SPDX-License-Identifier: Apache-2.0

package naming

import "bytes"

// Minecraft Java Edition. Source: wiki.vg (now minecraft.wiki) "Protocol", "Server List Ping", "Legacy Server List Ping".
var minecraftRules = [...]rule{
	{MinecraftJava, 99, "a Minecraft handshake, whole and consistent in its lengths", minecraftHandshake},
	{MinecraftJava, 95, "Minecraft's answer to a status request: JSON in a frame of id 0", minecraftStatus},
	{MinecraftJava, 95, "Minecraft's answer to a legacy ping", legacyPong},
	{MinecraftJava, 95, "Minecraft 1.6's legacy ping", legacyPing16},
	{MinecraftJava, 60, "a connection that begins with Minecraft's legacy ping, FE 01", legacyPing},
}

// varint reads 7 bits a byte, the lowest first; size is 0 if none stands there, or one of more than five bytes.
func (p *packet) varint(at int) (v int32, size int) {
	for i := range 5 {
		if at+i >= len(p.b) {
			return 0, 0
		}
		c := p.b[at+i]
		v |= int32(uint32(c&0x7f) << (7 * i))
		if c&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

// minecraftHandshake: length, id 0, protocol, n and n bytes of host, port, next state 1 to 3, and the length is what that takes. A
// greeting of MySQL's reads as such a frame with protocol 4 or 10, but for the length: from 5 on, -1 (pings without a version) and 4
// (1.7.2, the first that has this handshake) where the lengths agree as well.
func minecraftHandshake(p *packet) bool {
	size, at := p.varint(0)
	if at == 0 || at > 3 || size < 7 || size > 2+5+3+765+2+1 || p.u8(at) != 0 {
		return false
	}
	end := at + int(size)
	version, n := p.varint(at + 1)
	if n == 0 || version < 4 && version != -1 || version > 1<<20 && version>>30 != 1 { // snapshots set bit 30
		return false
	}
	host := at + 1 + n
	length, n := p.varint(host)
	if n == 0 || length < 0 || length > 765 || host+n+int(length)+3 != end || !p.has(end) {
		return false
	}
	for _, c := range p.b[host+n : end-3] { // text; Forge and BungeeCord add fields behind zeros
		if c < ' ' && c != 0 || c == 0x7f {
			return false
		}
	}
	next := p.u8(end - 1)
	return next == 1 || next == 2 || next == 3 && version >= 766
}

// minecraftStatus: length, id 0, n and n bytes of JSON that holds what every status has.
func minecraftStatus(p *packet) bool {
	size, at := p.varint(0)
	if at == 0 || size < 20 || p.u8(at) != 0 {
		return false
	}
	length, n := p.varint(at + 1)
	text := at + 1 + n
	if n == 0 || int(length) != int(size)-1-n || p.u8(text) != '{' {
		return false
	}
	b := p.b[text:]
	return bytes.Contains(b, []byte(`"version"`)) || bytes.Contains(b, []byte(`"players"`)) || bytes.Contains(b, []byte(`"description"`))
}

// legacyPong: FF, how many UTF-16 units follow, and since 1.4 "§1\0" in front of the protocol.
func legacyPong(p *packet) bool {
	return p.n == 3+2*int(p.be16(1)) && p.u8(0) == 0xff && p.is(3, "\x00\xa7\x00\x31\x00\x00")
}

// legacyPing16: FE 01 FA, then the length-prefixed channel "MC|PingHost" in UTF-16BE.
func legacyPing16(p *packet) bool {
	return p.is(0, "\xfe\x01\xfa\x00\x0b\x00M\x00C\x00|\x00P\x00i\x00n\x00g\x00H\x00o\x00s\x00t")
}

// legacyPing: of 1.4 and 1.5. Two bytes are few: they count as the first of a connection alone.
func legacyPing(p *packet) bool {
	return p.from && p.up && p.nth == 0 && p.n == 2 && p.is(0, "\xfe\x01")
}

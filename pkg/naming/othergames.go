// SPDX-License-Identifier: Apache-2.0

package naming

// Games, and transports of games, that have no family here. Sources stand at each.
var otherGameRules = [...]rule{
	{OtherGameUDP, 97, "the handshake of KCP's variant in Genshin Impact", kcpHandshake},
	{OtherGameUDP, 98, "a connection request of netcode.io (yojimbo)", netcodeRequest},
	{OtherGameUDP, 85, "Hazel's hello (Among Us)", hazelHello},
	{OtherGameUDP, 80, "Armagetron's query, login or answer", armagetron},
	{OtherGameUDP, 95, "Luanti's protocol id", luanti},
	{OtherGameUDP, 95, "a server query of Teeworlds", teeworlds},
	{OtherGameUDP, 95, "a query of San Andreas Multiplayer", sampQuery},
	{OtherGameUDP, 85, "a GameSpy query", gameSpy},
}

var otherGameWalks = [...]rule{
	{OtherGameUDP, 85, "KCP segments that add up to the packet", kcpSegments},
}

var otherGameAnswers = [...]pairRule{
	{OtherGameUDP, 80, "a ping of Call of Duty Mobile's, echoed", codmPing},
}

// streamGameRules are those of games over TCP.
var streamGameRules = [...]rule{
	{OtherGameTCP, 98, "World of Warcraft's greeting", wowGreeting},
	{OtherGameTCP, 95, "World of Warcraft's logon challenge", wowLogon},
	{OtherGameTCP, 95, "Guild Wars 2's STS", func(p *packet) bool { return p.is(0, "P /Sts/") }},
	{OtherGameTCP, 97, "Terraria's connect request", terraria},
	{TeamSpeak3, 97, "TeamSpeak 3's query greets", func(p *packet) bool { return p.is(0, "TS3\n\r") || p.is(0, "TS3\r\n") }},
	{SteamOther, 95, "Steam's VT01 over TCP, as long as it says", func(p *packet) bool { return p.is(4, "VT01") && p.le32(0) >= 8 && p.le32(0) <= 1<<20 }},
}

// kcpSegments: conversation, command 81 to 84, fragment, window, time, number, acknowledged, length and as much data (skywind3000/kcp),
// little-endian. Each segment is of the same conversation and has room in its window; a session's first ones acknowledge few.
func kcpSegments(p *packet) bool {
	at, conversation := 0, p.le32(0)
	for n := 0; at < p.n; n++ {
		if at+24 > len(p.b) {
			return n > 0 && p.cut()
		}
		command, size := p.u8(at+4), p.le32(at+20)
		if p.le32(at) != conversation || command < 81 || command > 84 || p.le16(at+6) == 0 || size > 1<<16 || command != 81 && size != 0 || p.le32(at+16) >= 1<<16 {
			return false
		}
		at += 24 + int(size)
	}
	return at == p.n && conversation != 0
}

// kcpHandshake: 20 bytes between two magic numbers: FF asks, 0145 answers, 0194 ends (protocols.md; seen in captures).
func kcpHandshake(p *packet) bool {
	if p.n != 20 || !p.has(20) {
		return false
	}
	switch p.be32(0) {
	case 0xff:
		return p.be32(16) == 0xffffffff
	case 0x145:
		return p.be32(16) == 0x14514545
	case 0x194:
		return p.be32(16) == 0x19419494
	}
	return false
}

// netcodeRequest: type 0 and the version's text, 1078 bytes in all (mas-bandwidth/netcode STANDARD.md).
func netcodeRequest(p *packet) bool { return p.n == 1078 && p.is(0, "\x00NETCODE 1.0") }

// hazelHello: type 8, a number, Hazel's version 0, the client's (a date: year × 25000 + month × 1800 + day × 50 + revision), a name
// with its length (willardf/Hazel-Networking; roeniss/among-us-protocol).
func hazelHello(p *packet) bool {
	year, size := p.le32(4)/25000, int(p.u8(8))
	return p.u8(0) == 8 && p.u8(3) == 0 && year >= 2018 && year <= 2060 && size >= 1 && size <= 64 && p.n >= 9+size && p.has(9+size) && p.printable(9, 9+size)
}

// armagetron: messages of a descriptor, a number, a length in words of 16 bits and as many; the sender's number ends the packet.
// 53 asks for a server and 51 answers, 11 logs in; these are never acknowledged, and have number 0 (seen in captures).
func armagetron(p *packet) bool {
	kind, size := p.be16(0), int(p.be16(4))
	if p.be16(2) != 0 || p.n != 8+2*size {
		return false
	}
	switch kind {
	case 53:
		return size == 0 && p.zeros(2, 8)
	case 51:
		return size >= 20
	case 11:
		return size >= 4 && p.zeros(p.n-2, p.n)
	}
	return false
}

// luanti: 4F 45 74 03, the peer, the channel (0 to 2), and a type up to 3 (luanti-org/luanti doc/protocol.txt).
func luanti(p *packet) bool {
	return p.is(0, "\x4f\x45\x74\x03") && p.n >= 8 && p.u8(6) <= 2 && p.u8(7) <= 3
}

// teeworlds: ten bytes of FF (or its extension's header), then four letters (heinrich5991/libtw2 doc).
func teeworlds(p *packet) bool {
	if !p.is(0, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") && !(p.is(0, "xe") && p.is(6, outOfBand)) {
		return false
	}
	for _, w := range [...]string{"gie3", "inf3", "iext", "iex+", "fstd", "siz2", "req2", "lis2", "cou2", "hea2", "fwok", "fwer"} {
		if p.is(10, w) {
			return true
		}
	}
	return false
}

// sampQuery: "SAMP", the server's address and port, and a letter (sa-mp.wiki "Query Mechanism").
func sampQuery(p *packet) bool {
	if !p.is(0, "SAMP") {
		return false
	}
	switch p.u8(10) {
	case 'i', 'r', 'c', 'd':
		return p.n >= 11
	case 'p':
		return p.n == 15
	}
	return false
}

// gameSpy: of version 1 a word between backslashes; of 2 and later FE FD, 9 or 0, and a number (wiki.vg "Query", UT3 Query).
func gameSpy(p *packet) bool {
	switch {
	case p.is(0, "\xfe\xfd\x09"):
		return p.n == 7
	case p.is(0, "\xfe\xfd\x00"):
		return p.n == 10 || p.n == 11 || p.n == 15
	}
	for _, w := range [...]string{`\status\`, `\info\`, `\basic\`, `\rules\`, `\players\`, `\packets\`} {
		if p.is(0, w) {
			return p.printable(0, p.n)
		}
	}
	return false
}

// codmPing: eight bytes and "ping", echoed (seen in captures).
func codmPing(last, p *packet) bool {
	return last.n == 12 && p.n == 12 && last.is(8, "ping") && p.has(12) && string(p.b) == string(last.b)
}

// wowGreeting: each side begins with its length and a text (TrinityCore WorldSocket).
func wowGreeting(p *packet) bool {
	return p.is(2, "WORLD OF WARCRAFT CONNECTION - ") && int(p.le16(0)) == p.n-2
}

// wowLogon: command 0, an error that isn't looked at, the size of what follows, "WoW" (wowdev.wiki "CMD_AUTH_LOGON_CHALLENGE_Client").
func wowLogon(p *packet) bool {
	return p.u8(0) == 0 && p.is(4, "WoW\x00") && int(p.le16(2)) == p.n-4
}

// terraria: length, 1, and a text with its length that begins "Terraria" (tshock "Packet structure").
func terraria(p *packet) bool {
	return p.is(2, "\x01") && int(p.le16(0)) == p.n && int(p.u8(3)) == p.n-4 && p.is(4, "Terraria")
}

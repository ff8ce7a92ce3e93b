// SPDX-License-Identifier: Apache-2.0

package naming

// RakNet: Minecraft Bedrock, mobile games, Roblox. Sources: facebookarchive/RakNet (MessageIdentifiers.h, RakPeer), minecraft.wiki
// "RakNet".
var raknetRules = [...]rule{
	{RakNet, 99, "RakNet's offline magic in an unconnected ping or pong", raknetPing},
	{RakNet, 99, "RakNet's offline magic in a message that opens a connection", raknetOpen},
	{RakNet, 97, "RakNet's offline magic in a message of a relative (Roblox)", raknetRelative},
}

var raknetWalks = [...]rule{
	{RakNet, 80, "a RakNet datagram that holds a message of the connection's beginning, its lengths consistent", raknetConnecting},
	{RakNet, 75, "a RakNet acknowledgement, its records as many as it says", raknetAck},
}

var raknetSequels = [...]pairRule{
	{RakNet, 85, "RakNet datagrams, numbered one after the other", raknetInSequence},
}

const raknetMagic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"

// raknetPing: 01 or 02, a time, the magic at 9, and the client's GUID: 33 bytes. 1c, a time, a GUID, the magic at 17.
func raknetPing(p *packet) bool {
	switch p.u8(0) {
	case 1, 2:
		return p.n == 33 && p.is(9, raknetMagic)
	case 0x1c:
		return p.n >= 33 && p.is(17, raknetMagic)
	}
	return false
}

// raknetOpen: requests and replies 1 and 2, and the refusals, have the magic behind the id; 19 has its version between.
func raknetOpen(p *packet) bool {
	switch p.u8(0) {
	case 0x05, 0x06, 0x07, 0x08, 0x12, 0x14, 0x17, 0x1a:
		return p.is(1, raknetMagic)
	case 0x19:
		return p.is(2, raknetMagic)
	}
	return false
}

// raknetRelative: Roblox numbers the same messages from 78 to 7e, at the beginning or behind 31 bytes of its relay's (protocols.md; seen
// in captures).
func raknetRelative(p *packet) bool {
	for _, at := range [...]int{0, 31} {
		if id := p.u8(at); id >= 0x78 && id <= 0x7e && p.is(at+1, raknetMagic) {
			return true
		}
	}
	return false
}

// raknetAck: C0 (or A0, which denies), a count, and as many records: 01 and a number, or 00 and a range.
func raknetAck(p *packet) bool {
	if c := p.u8(0); c != 0xc0 && c != 0xa0 || !p.has(7) || p.cut() {
		return false
	}
	count, at := int(p.be16(1)), 3
	if count == 0 || count > 255 {
		return false
	}
	for range count {
		switch {
		case p.u8(at) == 1 && len(p.b)-at >= 4:
			at += 4
		case p.u8(at) == 0 && len(p.b)-at >= 7 && raknetU24(p, at+1) <= raknetU24(p, at+4):
			at += 7
		default:
			return false
		}
	}
	return at == len(p.b)
}

func raknetU24(p *packet, at int) int {
	return int(p.u8(at)) | int(p.u8(at+1))<<8 | int(p.u8(at+2))<<16
}

// raknetMessages walks the messages of a datagram: it reports whether they end where it does, and where the first one's body stands, and how long it is.
// first is 0 where there is no first (a part of a split one).
func raknetMessages(p *packet) (first, size int, ok bool) {
	if c := p.u8(0); c&0xe3 != 0x80 || !p.has(8) { // data, and no flag that nobody has
		return 0, 0, false
	}
	at := 4
	for n := 0; at < p.n; n++ {
		if at+3 > len(p.b) { // the rest was not captured
			return first, size, n > 0 && p.cut()
		}
		flags, bits := p.u8(at), int(p.be16(at+1))
		if flags&0x0f != 0 || bits == 0 || bits%8 != 0 {
			return 0, 0, false
		}
		at += 3
		switch flags >> 5 { // reliability: with a number, in a sequence, in an order
		case 1:
			at += 3 + 4
		case 2, 6:
			at += 3
		case 3, 7:
			at += 3 + 4
		case 4:
			at += 3 + 3 + 4
		}
		if flags&0x10 != 0 {
			at += 10
		} else if n == 0 {
			first, size = at, bits/8
		}
		at += bits / 8
	}
	return first, size, at == p.n
}

// raknetConnecting: a message that only RakNet itself sends, of its own size, in one of the first 65536 datagrams, which adds up.
func raknetConnecting(p *packet) bool {
	at, size, ok := raknetMessages(p)
	if !ok || p.u8(3) != 0 || at == 0 || at >= len(p.b) {
		return false
	}
	switch p.u8(at) {
	case 0x00:
		return size == 9 // connected ping: a time
	case 0x03:
		return size == 17 // pong: two
	case 0x09:
		return size == 18 || size == 17 // connection request: GUID, time, security
	case 0x10, 0x13:
		return size >= 80 && size <= 700 && (p.u8(at+1) == 4 || p.u8(at+1) == 6) // accepted, new incoming connection: an address, then many
	}
	return false
}

// raknetInSequence: two datagrams of a side whose messages add up, the second one's number the next.
func raknetInSequence(last, p *packet) bool {
	if last.u8(0)&0xe3 != 0x80 || raknetU24(p, 1) != (raknetU24(last, 1)+1)&0xffffff {
		return false
	}
	_, _, ok := raknetMessages(p)
	_, _, before := raknetMessages(last)
	return ok && before
}

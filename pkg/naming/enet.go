// SPDX-License-Identifier: Apache-2.0

package naming

// ENet 1.3. Source: lsalzman/enet (protocol.h, protocol.c), all big-endian.
var enetRules = [...]rule{
	{ENet, 98, "ENet's CONNECT, all of it within its bounds", enetConnect},
	{ENet, 95, "ENet's VERIFY_CONNECT, all of it within its bounds", enetVerify},
}

var enetAnswers = [...]pairRule{
	{ENet, 85, "an ENet acknowledgement that tells the time of what it acknowledges", enetAcknowledges},
}

const (
	enetHasTime    = 0x8000
	enetCompressed = 0x4000
)

// enetConnect: no peer yet, a time; command 2 on channel FF, number 1; then a peer, two sessions, MTU, window, channels and nine
// fields more. 52 bytes, 56 with a checksum.
func enetConnect(p *packet) bool {
	at := p.n - 48
	return (p.n == 52 || p.n == 56) && p.has(52) && p.be16(0)&^0x3000 == enetHasTime|0xfff &&
		p.be32(at) == 0x82ff0001 && p.u8(at+6) == 0xff && p.u8(at+7) == 0xff && enetBounds(p, at)
}

// enetVerify: the same to the peer, as command 3 without the last field: 48 bytes, 52 with a checksum.
func enetVerify(p *packet) bool {
	at := p.n - 44
	return (p.n == 48 || p.n == 52) && p.has(48) && p.be16(0)&enetHasTime != 0 && p.be16(0)&enetCompressed == 0 && p.be32(at) == 0x83ff0001 && enetBounds(p, at)
}

func enetBounds(p *packet, at int) bool {
	mtu, window, channels := p.be32(at+8), p.be32(at+12), p.be32(at+16)
	return mtu >= 576 && mtu <= 4096 && window >= 4096 && window <= 65536 && channels >= 1 && channels <= 255
}

// enetSizes are those of commands without their data, by number.
var enetSizes = [...]int{1: 8, 2: 48, 3: 44, 4: 8, 5: 4, 6: 6, 7: 8, 8: 24, 9: 8, 10: 12, 11: 16, 12: 24}

// enetCommands walks a packet's commands from there on, and reports whether they end where it does.
func enetCommands(p *packet, at int) bool {
	for n := 0; at < p.n; n++ {
		if at+4 > len(p.b) {
			return n > 0 && p.cut()
		}
		kind, flags := int(p.u8(at)&15), p.u8(at)&0xf0
		if kind == 0 || kind >= len(enetSizes) || flags&0x30 != 0 || n == 32 {
			return false
		}
		size := enetSizes[kind]
		switch kind {
		case 6: // reliable: its data's length behind the header
			size += int(p.be16(at + 4))
		case 7, 9: // unreliable, unsequenced
			size += int(p.be16(at + 6))
		case 8, 12: // fragments
			size += int(p.be16(at + 6))
		}
		at += size
	}
	return at == p.n
}

// enetAcknowledges: the first command acknowledges; of what it acknowledges it tells the number and the time, which the other side's
// last packet had in its header.
func enetAcknowledges(last, p *packet) bool {
	if last.be16(0)&enetHasTime == 0 || !last.has(8) || p.be16(0)&enetCompressed != 0 {
		return false
	}
	at := 2
	if p.be16(0)&enetHasTime != 0 {
		at = 4
	}
	for range 2 { // without a checksum, and with one
		if p.u8(at) == 1 && p.has(at+8) && p.be16(at+4) != 0 && p.be16(at+6) == last.be16(2) && enetCommands(p, at) {
			return true
		}
		at += 4
	}
	return false
}

// SPDX-License-Identifier: Apache-2.0

package naming

import (
	"bytes"
	"strings"
)

// Source and GoldSrc. Source: developer.valvesoftware.com/wiki/Server_queries, Master_Server_Query_Protocol.
var sourceRules = [...]rule{
	{Source, 99, "a query of Source servers (A2S)", a2sQuery},
	{Source, 95, "a Source server's answer (A2S)", a2sAnswer},
	{Source, 90, "a Source server's answer in several packets", a2sSplit},
	{Source, 95, "Valve's list of servers", serverList},
	{Source, 95, "a Source client asks for a connection", sourceConnect},
}

const (
	outOfBand = "\xff\xff\xff\xff"
	infoText  = "Source Engine Query\x00"
)

// a2sQuery: INFO is 25 bytes, with a challenge 29, and some pad it to 1200; PLAYER and RULES are 9 with a challenge; the
// retired GETCHALLENGE and PING are 5.
func a2sQuery(p *packet) bool {
	if !p.is(0, outOfBand) {
		return false
	}
	switch p.u8(4) {
	case 'T':
		return p.is(5, infoText) && (p.n == 25 || p.n == 29 || p.n == 1200)
	case 'U', 'V':
		return p.n == 9
	case 'W', 'i':
		return p.n == 5
	}
	return false
}

// a2sAnswer: each by what its layout fixes.
func a2sAnswer(p *packet) bool {
	if !p.is(0, outOfBand) {
		return false
	}
	switch p.u8(4) {
	case 'A': // a challenge
		return p.n == 9
	case 'I': // info: a protocol; name, map, folder, game; an application, players, most, bots; what server, on what system, private
		end, ok := p.strings(6, 4)
		return ok && p.n >= 25 && a2sPlace(p) && (end+8 > len(p.b) && p.cut() || oneOf(p.u8(end+5), "dlpDLP") && oneOf(p.u8(end+6), "lwmoLWMO") && p.u8(end+7) <= 1)
	case 'm': // info of old GoldSrc: its address as text; name, map, folder, game; players, most, protocol; what server, on what system
		end, ok := p.strings(5, 5)
		return ok && p.n >= 25 && p.u8(5) >= '0' && p.u8(5) <= '9' && (end+5 > len(p.b) && p.cut() || oneOf(p.u8(end+3), "dlpDLP") && oneOf(p.u8(end+4), "lwLW"))
	case 'D': // players
		return p.has(6) && a2sPlayers(p)
	case 'E': // rules: a count, then two strings each
		name, ok := p.strings(7, 1)
		if ok = ok && p.printable(7, name-1); ok {
			_, ok = p.strings(7, 2*int(p.le16(5)))
		}
		return ok && p.has(7) && p.n >= 7+4*int(p.le16(5)) || p.n == 7 && p.zeros(5, 7)
	case 'j': // pong
		return p.is(5, "00000000000000\x00")
	}
	return false
}

// a2sPlace: of an info, map and folder are file names. (A server's own name may be anything.)
func a2sPlace(p *packet) bool {
	from, _ := p.strings(6, 1)
	to, _ := p.strings(from, 2)
	for at := from; at < to-1; at++ {
		if c := p.u8(at); c != 0 && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}

func oneOf(c byte, of string) bool { return strings.IndexByte(of, c) >= 0 }

// a2sPlayers: a count, then each with a number (from 0 on), a name, a score and a time.
func a2sPlayers(p *packet) bool {
	at := 6
	if p.u8(5) > 0 && (!p.has(7) || p.u8(6) != 0) {
		return false
	}
	for range p.u8(5) {
		end, ok := p.strings(at+1, 1)
		if !ok {
			return false
		}
		if at = end + 8; at > len(p.b) {
			return p.cut() && at <= p.n
		}
	}
	return at == p.n || at < p.n && p.u8(5) > 0 // The Ship adds what its players have
}

// strings reports whether n strings that end with a zero stand there, as far as was captured, and where they end.
func (p *packet) strings(at, n int) (end int, ok bool) {
	for range n {
		if at >= len(p.b) {
			return at, p.cut()
		}
		size := bytes.IndexByte(p.b[at:], 0)
		if size < 0 {
			return len(p.b), p.cut()
		}
		at += size + 1
	}
	return at, true
}

// a2sSplit: FE FF FF FF, an id, how many, which, how long each (Source), or a byte for both (GoldSrc); the first one's body
// begins as a packet by itself.
func a2sSplit(p *packet) bool {
	if !p.is(0, "\xfe\xff\xff\xff") || !p.has(16) {
		return false
	}
	total, number, size := p.u8(8), p.u8(9), p.le16(10)
	if total >= 2 && total <= 32 && number < total && size >= 500 && size <= 1400 && p.n <= int(size)+12 {
		return number > 0 || p.u8(7)&0x80 != 0 || p.is(12, outOfBand)
	}
	return p.u8(8) < 0x10 && p.u8(8) >= 2 && p.is(9, outOfBand)
}

// serverList: 1, a region, where to go on, and a filter; the answer is a list of addresses.
func serverList(p *packet) bool {
	if p.u8(0) == '1' && p.u8(2) >= '0' && p.u8(2) <= '9' {
		end := bytes.IndexByte(p.b[2:], 0)
		return end >= 9 && end <= 21 && bytes.IndexByte(p.b[2:2+end], ':') > 0 && p.printable(2, 2+end) && (p.u8(2+end+1) == '\\' || p.n == 2+end+2)
	}
	return p.is(0, outOfBand+"\x66\x0a") && p.n >= 12 && p.n%6 == 0
}

// sourceConnect: "q" and "connect0x" with a number: clients ask for a challenge (protocols.md).
func sourceConnect(p *packet) bool {
	return p.is(0, outOfBand+"qconnect0x")
}

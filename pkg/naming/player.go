// SPDX-License-Identifier: Apache-2.0

package naming

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPlayer is the most runes that a player's name has here: no game that is read allows as many.
const MaxPlayer = 36

// Login reads what the client of a session calls itself, from the packets of its beginning: Minecraft Java's login, and what clients of
// Quake III, QuakeWorld and GoldSrc connect with. It is a claim, of which the server may think otherwise. Its zero value is ready; it is
// small, and a session that does not log in by now needs none.
type Login struct{ awaited bool }

// Awaited says that the next packet may be what tells the name.
func (l *Login) Awaited() bool { return l.awaited }

// Feed shows it a payload of the client's, in order; name is "" while nobody knows.
func (l *Login) Feed(proto Proto, payload []byte) (name string) {
	p := packet{b: payload, n: len(payload)}
	if proto == UDP {
		return connects(&p)
	}
	if l.awaited {
		l.awaited = false
		return loginStart(&p, 0)
	}
	if end, login := minecraftLogin(&p); login {
		if p.has(end + 1) {
			return loginStart(&p, end)
		}
		l.awaited = true
	}
	return ""
}

// minecraftLogin finds the end of a handshake, and tells whether its client goes on to log in.
func minecraftLogin(p *packet) (end int, login bool) {
	if !minecraftHandshake(p) {
		return 0, false
	}
	size, at := p.varint(0)
	end = at + int(size)
	next := p.u8(end - 1)
	return end, next == 2 || next == 3
}

// loginStart: length, id 0, n and a name of 1 to 16 characters; more may follow (a key, a UUID).
func loginStart(p *packet, at int) string {
	size, n := p.varint(at)
	id := at + n
	if n == 0 || size < 3 || size > 8192 || p.u8(id) != 0 {
		return ""
	}
	length, m := p.varint(id + 1)
	from := id + 1 + m
	if m == 0 || length < 1 || length > 64 || from+int(length) > id+int(size) || !p.has(from+int(length)) {
		return ""
	}
	raw := p.b[from : from+int(length)]
	if utf8.RuneCount(raw) > 16 {
		return ""
	}
	return Printable(string(raw))
}

// connects: the user info of a client that connects, as it is or (Quake III since 1.32) compressed.
func connects(p *packet) string {
	const word = outOfBand + "connect "
	if !p.is(0, word) {
		return ""
	}
	info := p.b[len(word):]
	if !strings.Contains(string(info), `\name\`) {
		info = unhuff(info)
	}
	_, name, ok := strings.Cut(string(info), `\name\`)
	if !ok {
		return ""
	}
	if end := strings.IndexAny(name, "\\\"\n\x00"); end >= 0 {
		name = name[:end]
	}
	return Printable(uncoloured(name))
}

// uncoloured leaves out Quake III's colours: ^ and a digit or letter.
func uncoloured(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '^' && i+1 < len(name) && (name[i+1]|0x20 >= 'a' && name[i+1]|0x20 <= 'z' || name[i+1] >= '0' && name[i+1] <= '9') {
			i++
			continue
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// Printable is a name as it may be shown to people and programs: what moves a cursor, turns the direction of text, has no width or is no
// UTF-8 is replaced, of marks on one letter two are kept, and it is cut at MaxPlayer runes.
func Printable(name string) string {
	var b strings.Builder
	runes, marks := 0, 0
	for _, r := range name {
		mark := unicode.Is(unicode.M, r)
		if marks++; !mark {
			marks = 0
		}
		if mark && (runes == 0 || marks > 2) {
			continue
		}
		if runes++; runes > MaxPlayer {
			break
		}
		if !unicode.IsPrint(r) || invisible(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// invisible says that nothing is seen of a rune that Unicode calls a letter or a symbol: fillers, by which names look alike.
func invisible(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, 0x2800:
		return true
	}
	return false
}

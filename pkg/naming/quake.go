// SPDX-License-Identifier: Apache-2.0

package naming

// Quake III and relatives. Source: ioquake/ioq3 (sv_main.c, cl_main.c): FF FF FF FF and a word.
var quakeRules = [...]rule{
	{Quake3, 97, "a word of Quake III's out-of-band messages", quakeWord},
}

var quakeWords = [...]string{
	"getinfo", "getstatus", "getchallenge", "connect", "getservers", "getserversExt", "ipAuthorize", "rcon", "disconnect", "heartbeat",
	"infoResponse", "statusResponse", "challengeResponse", "connectResponse", "getserversResponse", "getserversExtResponse", "print", "getKeyAuthorize",
}

// quakeWord: the word ends with the packet, a blank, a line end, a zero or a backslash. No type of Source's begins a word: there
// g, c, r, d, h, s and p are none, and i is PING alone, of 5 bytes.
func quakeWord(p *packet) bool {
	if !p.is(0, outOfBand) {
		return false
	}
	for _, w := range quakeWords {
		if !p.is(4, w) {
			continue
		}
		if p.n == 4+len(w) {
			return true
		}
		switch p.u8(4 + len(w)) {
		case ' ', '\n', '\r', '\\':
			return true
		case 0:
			return p.has(5 + len(w))
		}
	}
	return false
}

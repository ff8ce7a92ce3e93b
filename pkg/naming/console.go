// SPDX-License-Identifier: Apache-2.0

package naming

// Consoles. Sources: kinnay/NintendoClients wiki "Pia Protocol", "Monitoring Data" (Nintendo); Demonware was seen in captures (protocols.md).
var consoleRules = [...]rule{
	{Console, 90, "Nintendo's Pia: its magic", nintendoPia},
}

var consoleAnswers = [...]pairRule{
	{Console, 90, "Demonware's introduction (Call of Duty), answered in kind", demonware},
}

const piaMagic = "\x32\xab\x98\x64"

// nintendoPia: the magic; then, up to Pia 5.10, 2 where the rest is encrypted, later a version from 3 on, whose highest bit says so.
// In the clear consoles send reports (piaReport), which are no play.
func nintendoPia(p *packet) bool {
	v := p.u8(4)
	return p.is(0, piaMagic) && p.n >= 16 && (v == 2 || v&0x7f >= 3 && v&0x7f <= 32)
}

// piaReport: not encrypted, and the first message's protocol is 65, which is for Nintendo's monitoring server.
func piaReport(p *packet) bool { return p.is(0, piaMagic+"\x01") && p.u8(21) == 0x65 }

// demonware: 0D 02 00 is answered by 0C 02 00 and the same 26 bytes.
func demonware(last, p *packet) bool {
	return last.n == 29 && last.has(29) && p.n == 29 && last.is(0, "\x0d\x02\x00") && p.is(0, "\x0c\x02\x00") && p.has(29) && string(last.b[3:29]) == string(p.b[3:29])
}

// SPDX-License-Identifier: Apache-2.0

package rule_test

import (
	"errors"
	"strings"
	"testing"

	"parry/pkg/rule"
)

// TestParseRefuses holds what is said of a bad expression, and under which word.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, word, want string }{
		{"", "", "the expression is empty"},
		{"udp adn port 53", "adn", `"adn" means nothing here: did you mean and?`},
		{"udp and lenght > 5", "lenght", `"lenght" means nothing here: did you mean length?`},
		{"upd", "upd", `"upd" means nothing here: did you mean udp?`},
		{"udp and", "", "something is missing at the end"},
		{"(udp", "", `want ")" to close the parenthesis`},
		{"udp)", ")", `")" is not expected here`},
		{"udp tcp", "tcp", `"tcp" is not expected here`},
		{"1.2.3.4", "1.2.3.4", "say what 1.2.3.4 is: host, src host, dst host, net"},
		{"udp and 53", "53", "a number is neither true nor false: compare it with something"},
		{"len + 1", "", "a number is neither true nor false: compare it with something"},
		{"host example.net", "example.net", `"example.net" is no address: names are not looked up`},
		{"host 1.2.3.256", "1.2.3.256", `"1.2.3.256" is no address: "256" is no part of one`},
		{"host 2001:db8::1::2", "2001:db8::1::2", `"2001:db8::1::2" is no address of IPv6`},
		{"ip6 host 192.0.2.1", "192.0.2.1", "192.0.2.1 is no address of IPv6"},
		{"ip host 2001:db8::1", "2001:db8::1", "2001:db8::1 is no address of IPv4"},
		{"net 10.1.2.3/8", "10.1.2.3", "10.1.2.3 has bits outside of its network"},
		{"net 10.0.0.0/33", "33", "want a prefix length of 0 to 32"},
		{"host 10.0.0.0/8", "10.0.0.0", "a network is a `net`, and has its dots: net 10.0.0.0/8"},
		{"port 65536", "65536", "65536 is no port: 0 to 65535"},
		{"port 10-20", "10-20", "several ports are a portrange: write portrange 10-20"},
		{"port http", "http", `want a port's number behind "port"`},
		{"icmp port 5", "icmp", "icmp has no ports: say udp or tcp"},
		{"tcp host 192.0.2.1", "tcp", "tcp can't be said of a host: write `tcp and host …`"},
		{"udp[8:3] = 1", "3", "1, 2 or 4 bytes can be taken at once"},
		{"udp[8 = 1", "=", `want "]" to close the bracket`},
		{"udp[20000] = 1", "20000", "no packet has a byte 20000: at most 16319"},
		{"udp[-1] = 1", "-", "no packet has a byte -1: at most 16319"},
		{"len / 0 = 1", "/", "it divides by zero"},
		{"len % (2 - 2) = 1", "%", "it divides by zero"},
		{"len > 7-2", "7-2", "a range belongs behind portrange; a difference has spaces: 7 - 2"},
		{"len << 32 = 1", "<<", "numbers have 32 bits: it shifts all of them out"},
		{"len % 7 + 1 = 2", "%", `put parentheses: what "%" binds to among other operators is anybody's guess`},
		{"udp > 5", ">", `">" is not expected here`},
		{"udp + 5 > 3", "+", `"+" wants numbers on both sides`},
		{"not len", "not", "a number is neither true nor false: compare it with something"},
		{"vlan 5 and udp", "vlan", `"vlan" can't be asked for: rules see no link header: a tagged frame is judged by the IP packet in it`},
		{"len > 4294967296", "4294967296", "4294967296 is too large: numbers have 32 bits"},
		{"len > 080", "080", "080 is no number: one that begins with 0 is octal"},
		{"len > 12x", "12x", "12x is neither a number nor an address"},
		{"udp und tcp", "und", `"und" means nothing here: did you mean and?`},
		{"udp and ä", "ä", `"ä" has no meaning here`},
		{"ip proto tcp", "tcp", `want a protocol's number (0 to 255), or its name behind a backslash (\udp)`},
		{`ip proto \tpc`, "tpc", `"tpc" is no protocol that has a name here: did you mean tcp?`},
		{"port 5 and (6 or udp)", "udp", "in parentheses behind \"port\" there can be further ones of it alone"},
		{strings.Repeat("(", 25) + "udp" + strings.Repeat(")", 25), "(", "nested too deep: at most 24 levels"},
		{strings.Repeat("!", 25) + "udp", "!", "nested too deep: at most 24 levels"},
		{strings.Repeat("x", 1025), "", "an expression of 1025 bytes is too long: at most 1024"},
	} {
		_, err := rule.Parse(c.text)
		var e *rule.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v, want an *Error", c.text, err)
			continue
		}
		if got := e.Text[e.Offset : e.Offset+e.Length]; e.Error() != c.want || got != c.word {
			t.Errorf("%q: %q under %q, want %q under %q", c.text, e.Error(), got, c.want, c.word)
		}
	}
}

func TestErrorShowsTheWord(t *testing.T) {
	_, err := rule.Parse("udp and prot 53")
	var e *rule.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	want := "\"prot\" means nothing here: did you mean port?\n  udp and prot 53\n          ^^^^"
	if got := e.Shown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseAction(t *testing.T) {
	for s, want := range map[string]string{
		"drop": "drop", "count": "count", "pass": "pass", "limit:5": "limit:5", "limit:2k": "limit:2000", "limit:3M": "limit:3000000", "limit:7/source": "limit:7/source",
		"limit:2k/source": "limit:2000/source",
		"dorp":            `!there is no action "dorp": did you mean drop?`,
		"limit":           "!say how many packets a second pass: limit:1000, or limit:50/source for each source",
		"limit:0":         `!"limit:0" is no rate: packets a second, 1 to 100000000 (k and M are known), e.g. limit:1000, limit:20k, limit:50/source`,
		"limit:101M":      `!"limit:101M" is no rate: packets a second, 1 to 100000000 (k and M are known), e.g. limit:1000, limit:20k, limit:50/source`,
		"xyzzy":           `!there is no action "xyzzy": drop, limit:RATE, count or pass`,
	} {
		a, err := rule.ParseAction(s)
		got := a.String()
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

// FuzzParse: whatever is typed is understood or refused in words that point into it; what is understood compiles or is refused, and
// judges any packet.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"udp and dst port 27015 and length > 1200", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "host 192.0.2.1 or 192.0.2.2", "net 10.0.0.0 mask 255.0.0.0",
		"port (80 or not 443)", "udp[udp[4:2] - 8 : 4] = -1", "not ip6 net 2001:db8::/32", `ip proto \udp`, "portrange 10-20", "(len / ip[0]) << ip[1] > 5 || less 5",
	} {
		f.Add(s, []byte("\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x11\x00\x00\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x35\x00\x35\x00\x08\x00\x00"), false)
	}
	f.Fuzz(func(t *testing.T, text string, ip []byte, v6 bool) {
		e, err := rule.Parse(text)
		if err != nil {
			var e *rule.Error
			if !errors.As(err, &e) {
				t.Fatalf("%q: %v is no *Error", text, err)
			}
			if e.Offset < 0 || e.Offset+e.Length > len(e.Text) || e.Msg == "" {
				t.Fatalf("%q: %+v points beside it", text, e)
			}
			_ = e.Shown()
			return
		}
		e.Match(&rule.Packet{IP: ip, V6: v6, Length: uint32(len(ip) + 14)})
		_, _ = rule.Compile([]rule.Rule{{Expr: e, Action: rule.Action{Verb: rule.Limit, Rate: 5, PerSource: true}, Monitor: true, Expires: 5}})
	})
}

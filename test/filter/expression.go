// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Expression makes a filter that tcpdump and parry both know.
func Expression(r *rand.Rand) string { return g{r}.expression(r.IntN(4)) }

type g struct{ *rand.Rand }

func (g g) pick(of ...string) string { return of[g.IntN(len(of))] }

// some words, each now and then.
func (g g) maybe(one int, s string) string {
	if g.IntN(one) == 0 {
		return s
	}
	return ""
}

func (g g) expression(depth int) string {
	e := g.term(depth)
	for range g.IntN(3) {
		e += g.pick(" and ", " or ", " && ", " || ") + g.term(depth)
	}
	return e
}

func (g g) term(depth int) string {
	switch n := g.IntN(12); {
	case n == 0:
		return g.pick("not ", "!") + g.term(depth)
	case n < 3 && depth > 0:
		return g.maybe(3, "not ") + "(" + g.expression(depth-1) + ")"
	case n < 6:
		return g.number(depth) + g.pick(" ", "") + g.pick("=", "==", "!=", "<", "<=", ">", ">=") + g.pick(" ", "") + g.number(depth)
	case n < 7:
		return fmt.Sprintf("%s %d", g.pick("less", "greater"), g.length())
	}
	return g.primitive()
}

func (g g) primitive() string {
	dir := g.pick("", "", "src ", "dst ", "src or dst ", "dst and src ")
	switch g.IntN(8) {
	case 0, 1:
		return g.pick("ip", "ip6", "tcp", "udp", "udp", "icmp", "icmp6")
	case 2:
		return g.pick("", "ip ", "ip6 ") + "proto " + g.pick("6", "17", "1", "58", "44", "132", `\udp`, `\tcp`) + g.maybe(3, g.join()+"6")
	case 3:
		return g.pick("", "ip ") + dir + g.pick("host ", "host ", "net ") + g.address4() + g.maybe(4, g.join()+g.address4())
	case 4:
		return g.pick("", "ip6 ") + dir + g.pick("host ", "net ") + g.address6()
	case 5:
		return g.net()
	case 6:
		return g.pick("", "udp ", "tcp ") + dir + fmt.Sprintf("portrange %d-%d", g.port(), g.port())
	}
	return g.pick("", "udp ", "tcp ") + dir + "port " + g.ports()
}

func (g g) join() string { return g.pick(" or ", " and ", " or not ") }

func (g g) ports() string {
	p := fmt.Sprint(g.port())
	switch g.IntN(5) {
	case 0:
		return p + g.join() + fmt.Sprint(g.port())
	case 1:
		return fmt.Sprintf("(%s%s%d)", p, g.join(), g.port())
	}
	return p
}

func (g g) net() string {
	dir := g.pick("", "src ", "dst ")
	switch g.IntN(5) {
	case 0:
		return dir + "net " + g.pick("192.0.2.0/24", "192.0.2.0/25", "192.0.0.0/16", "0.0.0.0/0", "192.0.2.4/30", "198.51.100.0/24")
	case 1:
		return dir + "net " + g.pick("192.0.2", "192", "198.51", "192.0.2.0 mask 255.255.255.0", "192.0.2.1 mask 255.0.255.255")
	case 2:
		return "ip6 net " + g.pick("2001:db8::/32", "::/0")
	}
	return dir + "net " + g.pick("2001:db8::/32", "2001:db8::/33", "2001:db8:0:1::/64", "2001:db8::/127", "::/0", "8000::/1", "2001:db8::4/126")
}

func (g g) number(depth int) string {
	switch n := g.IntN(10); {
	case n < 3:
		return g.constant()
	case n < 4:
		return g.pick("len", "length")
	case n < 8 || depth == 0:
		return g.load(depth)
	case n == 8:
		l := g.number(depth - 1)
		if g.IntN(3) == 0 { // what these two bind to differs
			return "((" + l + ")" + g.pick(" % ", " ^ ") + g.right(l) + ")"
		}
		return "(" + l + g.pick(" + ", " - ", " * ", " / ", " & ", " | ", " << ", " >> ") + g.right(l) + ")"
	}
	return g.number(depth-1) + g.pick(" + ", " - ", " * ", " & ", "|", "<<", ">>", " / ") + g.pick("1", "2", "3", "7", "0xff", "017", "15")
}

// right makes an operator's right side. Of all protocols whose bytes are in a sum tcpdump checks the leftmost alone; so there is no other.
func (g g) right(left string) string {
	l, _, ok := strings.Cut(strings.TrimLeft(left, "(-"), "[")
	if ok && slices.Contains([]string{"ip", "ip6", "tcp", "udp", "icmp", "icmp6"}, l) && g.IntN(2) == 0 {
		return l + fmt.Sprintf("[%d]", g.IntN(12))
	}
	return g.pick("len", g.constant())
}

func (g g) constant() string {
	return g.pick("0", "1", "2", "5", "17", "0x1f", "040", "58", "128", "1000", "65535", "0x12345678", "0xffffffff", "tcp-syn", "tcp-ack", "icmp-echo", fmt.Sprint(g.port()))
}

func (g g) load(depth int) string {
	l := g.pick("ip", "ip", "ip6", "tcp", "udp", "udp", "icmp", "icmp6")
	at := fmt.Sprint(g.IntN(24))
	switch {
	case l == "tcp" && g.IntN(3) == 0:
		return "tcp[tcpflags] & " + g.pick("tcp-syn", "(tcp-syn|tcp-ack)", "0x3f")
	case l == "icmp" && g.IntN(3) == 0:
		at = g.pick("icmptype", "icmpcode")
	case g.IntN(12) == 0:
		at = fmt.Sprint(g.IntN(200))
	case depth > 0 && g.IntN(4) == 0:
		at = g.pick("("+g.number(depth-1)+") & 31", "len - 30", g.load(depth-1))
	}
	return l + "[" + at + g.pick("", "", ":1", ":2", ":4") + "]"
}

func (g g) length() int { return 20 + g.IntN(120) }

func (g g) port() int { return []int{0, 7, 53, 80, 443, 27015, 27016, 27020, 65535}[g.IntN(9)] }

func (g g) address4() string { return fmt.Sprintf("192.0.2.%d", g.IntN(6)) }

func (g g) address6() string { return fmt.Sprintf("2001:db8::%d", g.IntN(6)) }

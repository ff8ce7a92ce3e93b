// SPDX-License-Identifier: Apache-2.0

package rule_test

import (
	"net/netip"
	"testing"

	"parry/pkg/rule"
)

func rules(t *testing.T, pairs ...string) []rule.Rule {
	t.Helper()
	var all []rule.Rule
	for i := 0; i < len(pairs); i += 2 {
		e, err := rule.Parse(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		a, err := rule.ParseAction(pairs[i+1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rule.Rule{Expr: e, Action: a})
	}
	return all
}

// What drops everything that players send is told from what drops much.
func TestAllDropped(t *testing.T) {
	v4, v6 := netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::10")
	game := rule.Witnesses([]rule.Front{{Addr: v4, Proto: 17, First: 27015, Last: 27015}})
	both := rule.Witnesses([]rule.Front{{Addr: v4, Proto: 17, First: 27015, Last: 27020}, {Addr: v6, Proto: 6, First: 25565, Last: 25565}})
	for _, c := range []struct {
		rules      []rule.Rule
		game, both bool
	}{
		{rules(t, "udp", "drop"), true, false},
		{rules(t, "ip or ip6", "drop"), true, true},
		{rules(t, "1 = 1", "drop"), true, true},
		{rules(t, "dst port 27015", "drop"), true, false},
		{rules(t, "ip", "drop", "ip6", "drop"), true, true},
		{rules(t, "not src net 10.0.0.0/8", "drop"), true, true},
		{rules(t, "src net 10.0.0.0/8", "pass", "udp", "drop"), true, false},
		{rules(t, "less 2000", "drop"), true, true},
		{rules(t, "udp", "count"), false, false},
		{rules(t, "udp", "limit:1"), false, false},
		{rules(t, "udp", "pass", "udp", "drop"), false, false},
		{rules(t, "udp and length > 1200", "drop"), false, false},
		{rules(t, "udp and length < 1200", "drop"), false, false},
		{rules(t, "src net 128.0.0.0/1", "drop"), false, false},
		{rules(t, "udp[8] & 1 = 0", "drop"), false, false},
		{rules(t, "udp and dst port 53", "drop"), false, false},
		{nil, false, false},
	} {
		name := "no rule"
		if len(c.rules) > 0 {
			name = c.rules[0].Expr.String()
		}
		if got := rule.AllDropped(c.rules, game); got != c.game {
			t.Errorf("%s: drops all of the game: %v, want %v", name, got, c.game)
		}
		if got := rule.AllDropped(c.rules, both); got != c.both {
			t.Errorf("%s: drops all of both: %v, want %v", name, got, c.both)
		}
	}
	watch := rules(t, "udp", "drop")
	watch[0].Monitor = true
	if rule.AllDropped(watch, game) {
		t.Error("a rule that only watches drops nothing")
	}
}

func TestPacketOf(t *testing.T) {
	frame := func(types ...byte) []byte { return append(make([]byte, 12), types...) }
	for _, c := range []struct {
		frame []byte
		at    int // of the IP packet; 0 = none
		v6    bool
	}{
		{frame(8, 0, 0x45), 14, false},
		{frame(0x86, 0xdd, 0x60), 14, true},
		{frame(0x81, 0, 0, 7, 8, 0, 0x45), 18, false},
		{frame(0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 0x86, 0xdd), 22, true},
		{frame(0x81, 0, 0, 7, 0x81, 0, 0, 7, 0x81, 0, 0, 7, 8, 0), 0, false},
		{frame(8, 6, 1), 0, false},
		{frame(0x81, 0, 0), 0, false},
		{nil, 0, false},
	} {
		p, ok := rule.PacketOf(c.frame, 100)
		if ok != (c.at > 0) || ok && (len(c.frame)-len(p.IP) != c.at || p.V6 != c.v6 || p.Length != uint32(100-(c.at-14))) {
			t.Errorf("%x: %+v, %v; want the packet at %d", c.frame, p, ok, c.at)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unsafe"

	"parry/pkg/rule"
	"parry/test/need"
)

func ruleOf(t *testing.T, slot uint16, text, action string) Rule {
	t.Helper()
	e, err := rule.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	a, err := rule.ParseAction(action)
	if err != nil {
		t.Fatal(err)
	}
	return Rule{Rule: rule.Rule{Slot: slot, Expr: e, Action: a}}
}

// sampleRules have each test and each action, so that every kernel sees them all.
func sampleRules(t *testing.T) []Rule {
	t.Helper()
	var all []Rule
	for i, text := range []string{
		"udp and dst port 27015 and length > 1200", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "host 192.0.2.1 or 2001:db8::1", "net 192.0.2.0/25 or 2001:db8::/33",
		"not src portrange 1000-2000", "ip proto 47 or ip6 proto 44 or icmp or icmp6", "udp[udp[4:2] - 8 : 4] = 5", "ip6[ip6[5] & 63] % 7 = 1", "icmp6[ip6[7]:2] << len > 9",
		"(len / tcp[0]) * (len - tcp[1]) | -ip[3] != ip[2:2] ^ 5", "less 60 or greater 1400", "icmp[icmptype] = icmp-echo and ip[6:2] & 0x1fff != 0",
	} {
		for j, action := range []string{"drop", "count", "limit:5", "limit:2k/source", "pass"} {
			r := ruleOf(t, uint16(5*i+j), text, action)
			r.Monitor, r.Established = (i+j)%3 == 0, (i+j)%2 == 0
			if j == 0 {
				r.Expires = 1 << 60
			}
			all = append(all, r)
		}
	}
	return all
}

// As many rules as there may be, as long as they may be together, are verified.
func TestLoadRules(t *testing.T) {
	need.Root(t)
	maps := proofMaps(t)
	var rules []rule.Rule
	for parts := 1; ; parts++ {
		var longer []rule.Rule
		for i := range rule.MaxRules {
			text := fmt.Sprintf("udp[10:4] = %d", i)
			for n := range parts {
				text += fmt.Sprintf(" or udp[%d:2] / ip[%d] > %d", n, n%20, n)
			}
			longer = append(longer, ruleOf(t, uint16(i), text, "drop").Rule)
		}
		if _, err := rule.Compile(longer); err != nil {
			if want := "instructions together: at most 32768"; !strings.Contains(err.Error(), want) {
				t.Errorf("what is too long is refused with %q, not %q", err, want)
			}
			break
		}
		rules = longer
	}
	p, err := loadRuleProgram(rules, maps, false)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	verified, _ := info.VerifiedInstructions()
	size, _ := info.JitedSize()
	t.Logf("%d rules: %d instructions verified, %d bytes of machine code", len(rules), verified, size)
}

// What compiles to too much is refused, and what ran goes on.
func TestSetRulesRefuses(t *testing.T) {
	need.Root(t)
	e, err := Open(Options{Sizes: smallSizes(), Log: slog.New(slog.DiscardHandler), Injected: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	plan := featurePlan(true, true, true, false, false, false, false, false, false, false)
	plan.Rules = []Rule{ruleOf(t, 1, "udp", "drop")}
	g, err := e.Prepare(plan)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if err := e.Use(g); err != nil {
		t.Fatal(err)
	}
	before := g.rules
	var many []Rule
	for range rule.MaxRules + 1 {
		many = append(many, ruleOf(t, 1, "udp", "drop"))
	}
	if err := e.SetRules(many); !errors.Is(err, ErrRules) || !strings.Contains(err.Error(), "257 rules are too many for a service: at most 256") {
		t.Errorf("SetRules of too many = %v", err)
	}
	if g.rules != before {
		t.Error("what is refused changed the rules that ran")
	}
	if mode, err := e.mode(1); err != nil || mode.Rules != rulesAny {
		t.Errorf("mode of service 1 is %+v, %v", mode, err)
	}
	if err := e.SetRules(nil); err != nil {
		t.Fatal(err)
	}
	if mode, err := e.mode(1); err != nil || mode.Rules != 0 {
		t.Errorf("without rules the mode of service 1 is %+v, %v", mode, err)
	}
}

// pkg/rule knows where the fields of its structs are, and how many cells there are.
func TestRuleABI(t *testing.T) {
	var b bpfRuleBox
	for name, x := range map[string][2]uintptr{
		"now": {unsafe.Offsetof(b.Now), 0}, "key": {unsafe.Offsetof(b.Key), 8}, "source": {unsafe.Offsetof(b.Source), 16}, "length": {unsafe.Offsetof(b.Length), 24},
		"bytes": {unsafe.Offsetof(b.Bytes), 28}, "from": {unsafe.Offsetof(b.From), 32}, "to": {unsafe.Offsetof(b.To), 36}, "l3": {unsafe.Offsetof(b.L3), 40},
		"class": {unsafe.Offsetof(b.Class), 42}, "rule": {unsafe.Offsetof(b.Rule), 44}, "shadow": {unsafe.Offsetof(b.Shadow), 48}, "would": {unsafe.Offsetof(b.Would), 52},
		"watch": {unsafe.Offsetof(b.Watch), 53}, "family": {unsafe.Offsetof(b.Family), 54}, "header": {unsafe.Offsetof(b.Header), 55},
	} {
		if x[0] != x[1] {
			t.Errorf("rule_box.%s is at %d, not %d", name, x[0], x[1])
		}
	}
	c := defines(t)
	for name, n := range map[string]uint64{"RULE_SLOTS": RuleSlots, "RULE_CELLS": 1 << rule.CellBits, "RULES_ANY": rulesAny, "RULES_ESTABLISHED": rulesEstablished, "RULES_SOURCE": rulesSource,
		"RULE_PASSED": uint64(rule.Passed), "RULE_DROPPED": uint64(rule.Dropped), "RULE_LIMITED": uint64(rule.Limited)} {
		if c[name] != n {
			t.Errorf("%s is %d in C, %d in Go", name, c[name], n)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/pkg/rule"
	"parry/test/packet"
)

// ruleIn is a rule of a slot.
func ruleIn(slot uint16, text, action, service string, changes ...func(*loader.Rule)) loader.Rule {
	e, err := rule.Parse(text)
	if err != nil {
		panic(err)
	}
	a, err := rule.ParseAction(action)
	if err != nil {
		panic(err)
	}
	r := loader.Rule{Rule: rule.Rule{Number: uint32(slot) + 100, Slot: slot, Expr: e, Action: a}, Service: service}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func watched(r *loader.Rule)    { r.Monitor = true }
func ofSessions(r *loader.Rule) { r.Established = true }
func until(d time.Duration) func(*loader.Rule) {
	return func(r *loader.Rule) { r.Expires = uint64(d) }
}

// with rules are those that all rows of the group share; what says whom they are for is in the packet.
func ruledPlan() *loader.Plan {
	p := with(basePlan(), "empty", func(s *loader.Service) { s.Enforce, s.Pool = false, "nat" })
	p.Rules = []loader.Rule{
		ruleIn(1, "udp[8:2] = 0x4321", "pass", ""),
		ruleIn(2, "udp[9] = 0x21 or tcp[tcpflags] & tcp-push != 0", "drop", ""),
		ruleIn(3, "udp[8:4] = 0x6c696d69", "limit:1", ""),
		ruleIn(4, "udp[8:4] = 0x6c696d73", "limit:1/source", ""),
		ruleIn(5, "udp[8] = 0x77", "drop", "", watched),
		ruleIn(6, "udp[8] = 0x6f", "drop", "open"),
		ruleIn(7, "udp[8] = 0x73", "drop", "", ofSessions),
		ruleIn(8, "udp[8] = 0x65", "drop", "", until(time.Second)),
		ruleIn(9, "length = 90 and ip6", "drop", ""),
		ruleIn(10, "udp", "count", "", ofSessions),
	}
	return p
}

func TestRules(t *testing.T) { ruleGroup().run(t) }

func ruleGroup() group {
	passes := outcome{verdict: "tx", service: "nat"}
	said := func(from netip.AddrPort, payload string) func(*testing.T, *world) []byte {
		return is(says(from, natPort, payload).Bytes())
	}
	told := func(slot uint16, want loader.RuleCount) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			t.Helper()
			got, err := w.edge.RuleCount(slot)
			must(t, err)
			if got != want {
				t.Errorf("rule of slot %d did %+v, want %+v", slot, got, want)
			}
		}
	}
	afresh := func(t *testing.T, w *world) {
		for _, r := range ruledPlan().Rules {
			must(t, w.edge.ResetRule(r.Slot))
		}
	}
	proven := func(t *testing.T, w *world) {
		afresh(t, w)
		w.prove(t, says(player4, natPort, "hello"))
	}
	tagged := says(player6, natPort, "0123456789012345678901234567") // 90 bytes without its tag
	tagged.Tags = []packet.Tag{{Proto: packet.TypeVLAN, TCI: 7}}
	allow := netip.PrefixFrom(player4.Addr(), 32)
	return group{"rules", ruledPlan, nil, []row{
		{name: "dropped", set: afresh, in: said(player4, "x!"), want: refusedAs("rule", "nat"), after: told(2, loader.RuleCount{Packets: 1, Bytes: 30, Dropped: 1})},
		{name: "dropped, IPv6 by its length, behind a tag", set: afresh, in: is(tagged.Bytes()), want: refusedAs("rule", "nat"),
			after: told(9, loader.RuleCount{Packets: 1, Bytes: 76, Dropped: 1})},
		{name: "a rule that passes ends it", set: afresh, in: said(player4, "C!"), want: passes, after: told(2, loader.RuleCount{})},
		{name: "nobody's", set: afresh, in: said(player4, "hello"), want: passes, after: told(10, loader.RuleCount{Packets: 1, Bytes: 33})},
		{name: "within a rate", set: afresh, in: said(player4, "limit"), want: passes, after: told(3, loader.RuleCount{Packets: 1, Bytes: 33})},
		{name: "over a rate", set: func(t *testing.T, w *world) {
			afresh(t, w)
			w.quietly(t, says(other4, natPort, "limit").Bytes())
		}, in: said(player4, "limit"), want: refusedAs("rule_limit", "nat"), after: told(3, loader.RuleCount{Packets: 2, Bytes: 66, Dropped: 1})},
		{name: "a rate that lets one by again", set: func(t *testing.T, w *world) {
			afresh(t, w)
			w.quietly(t, says(other4, natPort, "limit").Bytes(), says(other4, natPort, "limit").Bytes())
			w.pass(t, time.Second)
		}, in: said(player4, "limit"), want: passes, after: told(3, loader.RuleCount{Packets: 3, Bytes: 99, Dropped: 1})},
		{name: "over another source's rate", set: func(t *testing.T, w *world) {
			afresh(t, w)
			w.quietly(t, says(other4, natPort, "lims").Bytes())
		}, in: said(player4, "lims"), want: passes},
		{name: "over its own", set: func(t *testing.T, w *world) {
			afresh(t, w)
			w.quietly(t, says(at(player4.Addr(), 7), natPort, "lims").Bytes())
		}, in: said(player4, "lims"), want: refusedAs("rule_limit", "nat")},
		{name: "one that only watches", set: afresh, in: said(player4, "watch"), want: outcome{verdict: "tx", shadow: "rule", service: "nat"},
			after: told(5, loader.RuleCount{Packets: 1, Bytes: 33, Shadow: 1})},
		{name: "where nothing is enforced", set: afresh, in: is(says(player4, emptyPort, "x!").Bytes()), want: outcome{verdict: "tx", shadow: "rule", service: "empty"},
			after: told(2, loader.RuleCount{Packets: 1, Bytes: 30, Shadow: 1})},
		{name: "another service's", set: afresh, in: said(player4, "other"), want: passes, after: told(6, loader.RuleCount{})},
		{name: "its service's", set: afresh, in: is(says(player4, openPort, "other").Bytes()), want: refusedAs("rule", "open")},
		{name: "one whose time is over", set: afresh, in: said(player4, "ended"), want: passes, after: told(8, loader.RuleCount{})},
		{name: "who is allowed", set: func(t *testing.T, w *world) {
			must(t, w.lists.Add(loader.Allow, []loader.Entry{{EntryKey: loader.EntryKey{Prefix: allow}}}))
		}, in: said(player4, "x!"), want: passes, after: func(t *testing.T, w *world) {
			_, err := w.lists.Del(loader.Allow, []loader.EntryKey{{Prefix: allow}})
			must(t, err)
		}},
		{name: "an unproven session's packet", set: func(t *testing.T, w *world) {
			w.begin(t, says(player4, natPort, "hello"))
		}, in: said(player4, "x!"), want: refusedAs("rule", "nat")},
		{name: "a session's packet, no rule of sessions", set: proven, in: said(player4, "x!"), want: passes, after: told(10, loader.RuleCount{Packets: 3, Bytes: 63 + 33})},
		{name: "a session's packet, a rule of sessions", set: proven, in: said(player4, "session"), want: refusedAs("rule", "nat")},
		{name: "a server's packet", set: proven, in: func(t *testing.T, w *world) []byte {
			s := w.session(t, player4)
			return packet.NewUDP(s.Server, s.Face, "session").Bytes()
		}, want: outcome{verdict: "tx", service: "nat", down: true}},
		{name: "TCP", set: afresh, in: func(*testing.T, *world) []byte {
			return packet.NewTCP(player4, vip(player4, natPort), packet.SYN|packet.PSH, "").Bytes()
		}, want: refusedAs("rule", "nat")},
	}}
}

// Rules are swapped amid play: sessions are judged by the new ones from their next packet on, and by none once there are none.
func TestRulesAreSwapped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	s := w.prove(t, says(player4, natPort, "hello"))
	play := says(player4, natPort, "session").Bytes()
	want := func(verdict, reason string) {
		t.Helper()
		if r := w.quietly(t, play); r.Verdict != verdict || r.Reason != reason {
			t.Fatalf("a packet of %v: %s %s, want %s %s", s.Client, r.Verdict, r.Reason, verdict, reason)
		}
	}
	want("tx", "")
	must(t, w.edge.SetRules([]loader.Rule{ruleIn(1, "udp", "drop", "nat")}))
	want("tx", "")
	must(t, w.edge.SetRules([]loader.Rule{ruleIn(1, "udp", "drop", "open", ofSessions)}))
	want("tx", "")
	must(t, w.edge.SetRules([]loader.Rule{ruleIn(1, "udp", "drop", "nat", ofSessions)}))
	want("drop", "rule")
	must(t, w.edge.SetRules([]loader.Rule{ruleIn(1, "udp and length > 100", "drop", "nat", ofSessions)}))
	want("tx", "")
	must(t, w.edge.SetRules(nil))
	want("tx", "")
}

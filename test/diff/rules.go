// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"fmt"
	"time"

	"parry/loader"
	"parry/pkg/rule"
	"parry/test/model"
)

// ruleSets are rules that an edge may have. Each rule has one slot, wherever it is.
func ruleSets() [][]loader.Rule {
	slot := uint16(0)
	add := func(text, action, service string, change func(*loader.Rule)) loader.Rule {
		e, err := rule.Parse(text)
		if err != nil {
			panic(err)
		}
		a, err := rule.ParseAction(action)
		if err != nil {
			panic(err)
		}
		slot++
		r := loader.Rule{Rule: rule.Rule{Slot: slot, Expr: e, Action: a}, Service: service}
		if change != nil {
			change(&r)
		}
		return r
	}
	watched := func(r *loader.Rule) { r.Monitor = true }
	established := func(r *loader.Rule) { r.Established = true }
	ends := func(r *loader.Rule) { r.Established, r.Expires = true, begins+uint64(40*time.Second) }
	mixed := []loader.Rule{
		add("udp", "count", "", nil),
		add("src net 192.0.9.0/24", "pass", "", nil),
		add("udp[8] & 15 = 3", "drop", "", ends),
		add("udp and length > 300", "drop", "", watched),
		add("ip6 and tcp", "limit:20", "", nil),
		add("src host 192.0.2.2 and udp and not dst portrange 28000-28010", "drop", "", nil),
		add("ip[6:2] & 0x3fff != 0 and src net 192.0.2.0/24", "drop", "", established),
		add("src net 192.0.2.0/24 or src net 2001:db8:c::/47", "limit:30/source", "", established),
		add("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and tcp[14:2] & 7 = 1", "drop", "", nil),
		add("len & 1 = 1", "limit:3", "", watched),
	}
	busy := []loader.Rule{
		add("udp[8:2] % 7 = 3 or tcp[tcpflags] & tcp-fin != 0", "limit:5", "nat", established),
		add("ip6[6] != 17 and ip6[6] != 6", "drop", "", established),
		add("len > 60", "count", "open", established),
		add("src port 53", "drop", "source", nil),
		add("host 198.18.0.1", "limit:2/source", "raknet", established),
		add("length > 1000", "drop", "tight", func(r *loader.Rule) { established(r); watched(r) }),
		add("udp and udp[4:2] > 60", "drop", "local", established),
		add("less 70", "pass", "source-local", established),
		add("greater 50", "drop", "source-local", established),
	}
	return [][]loader.Rule{mixed, busy, nil, mixed[:4], append(append([]loader.Rule{}, busy...), mixed...), {mixed[2], mixed[7]}}
}

// ruled is a plan with rules.
func ruled(p *loader.Plan, n int) *loader.Plan {
	with := *p
	with.Rules = ruleSets()[n]
	return &with
}

func rulesOf(rules []loader.Rule) []model.Rule {
	var all []model.Rule
	for _, r := range rules {
		m := model.Rule{Slot: int(r.Slot), Service: r.Service, Verb: model.RuleVerb(r.Action.Verb), Monitor: r.Monitor, Established: r.Established, Expires: r.Expires,
			Match: func(ip []byte, v6 bool, length int) bool {
				return r.Expr.Match(&rule.Packet{IP: ip, V6: v6, Length: uint32(length)})
			}}
		if r.Action.Verb == rule.Limit {
			m.Rate = model.PerSecond(r.Action.Rate, max(r.Action.Rate/10, 1))
		}
		if r.Action.PerSource {
			m.Cell = func(from uint64) uint32 { return r.Action.Source(r.Slot, from, secret) }
		}
		all = append(all, m)
	}
	return all
}

// setRules swaps them.
func (w *world) setRules(n int) error {
	all := ruleSets()
	rules := all[n%len(all)]
	w.swaps = true
	w.model.SetRules(rulesOf(rules))
	return w.real.SetRules(rules)
}

// forgetRules has the plan's rules be there again, as if none had done anything.
func (w *world) forgetRules() error {
	if w.swaps {
		if err := w.real.SetRules(w.edge.plans[w.plan].Rules); err != nil {
			return err
		}
		w.swaps = false
	}
	for _, r := range w.everyRule() {
		if err := w.real.ResetRule(r.Slot); err != nil {
			return err
		}
	}
	return nil
}

// everyRule is all there are, if the edge has any.
func (w *world) everyRule() []loader.Rule {
	if w.edge.plans[0].Rules == nil {
		return nil
	}
	all := ruleSets()
	return append(append([]loader.Rule{}, all[0]...), all[1]...)
}

// settleRules compares what rules did.
func (w *world) settleRules() error {
	for _, r := range w.everyRule() {
		n, err := w.real.RuleCount(r.Slot)
		if err != nil {
			return err
		}
		if got, want := model.RuleTold(n), w.model.RuleTold(int(r.Slot)); got != want {
			return differ("rule %q (%v)\ngot  %s\nwant %s", r.Expr, r.Action, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
		}
	}
	return nil
}

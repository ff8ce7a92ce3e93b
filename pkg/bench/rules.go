// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"net/netip"

	"parry/loader"
	"parry/pkg/rule"
)

// benchRules are ten as operators write them, none of which means a stranger of the flood: each test of the language that they use most.
func benchRules() []string {
	return []string{
		"udp and dst port 27015 and length > 1200",
		"tcp[tcpflags] & (tcp-syn|tcp-fin) == (tcp-syn|tcp-fin)",
		"udp and src port 53",
		"src net 192.0.2.0/24",
		"udp and length > 1400",
		"host 203.0.113.77",
		"ip6 and udp and dst port 27960",
		"udp src portrange 1-1023 and length < 60",
		"udp and dst port 27960 and udp[8:4] = 0x6e6f7065",
		"ip[6:2] & 0x3fff != 0",
	}
}

// rulesOf are as many rules for a service.
func rulesOf(n int, service string) ([]loader.Rule, error) {
	var all []loader.Rule
	for i := range n {
		e, err := rule.Parse(benchRules()[i%len(benchRules())])
		if err != nil {
			return nil, err
		}
		all = append(all, loader.Rule{Rule: rule.Rule{Number: uint32(i + 1), Slot: uint16(i), Expr: e}, Service: service})
	}
	return all, nil
}

// openRuled is the edge of source_flood with a second service, and rules for one of the two.
func (b *bench) openRuled(n int, others bool) (*edge, error) {
	e, err := b.openGated("quake3", "gate_refused", "reflection")
	if err != nil {
		return nil, err
	}
	other := at("198.18.0.9", gamePort+1)
	p, err := gatedPlan("quake3")
	if err != nil {
		return nil, err
	}
	lead(p, loader.NAT, other, at("198.51.100.19", gamePort), netip.MustParseAddr("198.51.100.6"))
	name := p.Services[0].Name
	if others {
		name = p.Services[1].Name
	}
	if p.Rules, err = rulesOf(n, name); err != nil {
		return nil, err
	}
	if err := e.use(p); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return e, nil
}

// openRuledSessions are those of established_udp4, and rules that are about them.
func (b *bench) openRuledSessions() (*probe, error) {
	e, err := b.openNAT()
	if err != nil {
		return nil, err
	}
	rules, err := rulesOf(10, "")
	if err != nil {
		return nil, err
	}
	for i := range rules {
		rules[i].Established = true
	}
	if err := e.SetRules(rules); err != nil {
		return nil, err
	}
	d, err := b.again4()
	in, _ := e.Programs()
	return &probe{driver: d, program: in, frames: natPair4().frames(loader.ProtoUDP, pair.up), want: loader.XDPTX,
		before: func() error { return e.leaveBy(loopback) }}, err
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// RuleVerb is what a rule does with a packet that it is about.
type RuleVerb int

// RuleCount goes on to the next rule, the others end the judging.
const (
	RuleDrop RuleVerb = iota
	RuleLimit
	RuleCount
	RulePass
)

// Rule is one of the operator's rules (docs/rules.md).
type Rule struct {
	Slot        int
	Service     string // "" = every service's
	Match       func(ip []byte, v6 bool, length int) bool
	Verb        RuleVerb
	Rate        Rate
	Cell        func(from uint64) uint32 // of a rate that each source has; nil = all share it
	Monitor     bool                     // it only notes what it would do
	Established bool                     // it judges sessions' packets, too
	Expires     uint64                   // 0 = never
}

// RuleTold is what a rule did.
type RuleTold struct{ Packets, Bytes, Dropped, Shadow uint64 }

// SetRules swaps the rules. Every session is asked anew whether they are about it.
func (e *Edge) SetRules(rules []Rule) {
	e.config.Rules = rules
	e.Bump()
}

// RuleTold is what the rule of a slot did.
func (e *Edge) RuleTold(slot int) RuleTold {
	if n := e.ruleTold[slot]; n != nil {
		return *n
	}
	return RuleTold{}
}

// RuleCells are those of rates of sources that were used.
func (e *Edge) RuleCells() []uint32 {
	var all []uint32
	for i := range e.ruleCells {
		all = append(all, i)
	}
	return all
}

// about tells whether some rule judges a service's packets: all do strangers' and the unproven's, some sessions', too.
func (e *Edge) about(service int, session bool) bool {
	for i := range e.config.Rules {
		if r := &e.config.Rules[i]; e.rules(r, service) && (r.Established || !session) {
			return true
		}
	}
	return false
}

func (e *Edge) rules(r *Rule, service int) bool {
	return r.Service == "" || r.Service == e.Names[service]
}

// sessionRuled judges a packet of a session that rules are about. One that they are about no more is asked nothing until it is
// judged anew.
func (e *Edge) sessionRuled(p *view, w way, svc *service) Reason {
	if p.down || !w.ruled || p.ruled {
		return None
	}
	if session := w.Proof != Unknown; e.about(w.Service, session) {
		return e.ruled(p, svc, session)
	}
	w.ruled = false
	return None
}

// ruled judges a client's packet by its service's rules, once.
func (e *Edge) ruled(p *view, svc *service, session bool) Reason {
	if p.ruled {
		return None
	}
	p.ruled = true
	ip := p.frame[p.l3:]
	length := len(p.frame) - (p.l3 - 14) // tags left out
	would := None
	for i := range e.config.Rules {
		r := &e.config.Rules[i]
		if !e.rules(r, p.service) || session && !r.Established || r.Expires > 0 && e.Now >= r.Expires || !r.Match(ip, p.family == 6, length) {
			continue
		}
		said := e.apply(p, r, e.config.Enforce && svc.Enforce)
		if r.Monitor || r.Verb == RuleCount {
			if would == None {
				would = said
			}
			continue
		}
		e.wouldHave(p, would)
		return refusal(said, said != None && e.refuse(p, said, svc.Enforce))
	}
	e.wouldHave(p, would)
	return None
}

func (e *Edge) wouldHave(p *view, r Reason) {
	if r != None && p.shadow == None {
		p.shadow = r
	}
}

// apply is what one rule has to say of a packet that it is about, and what it counts.
func (e *Edge) apply(p *view, r *Rule, enforced bool) Reason {
	n := e.ruleTold[r.Slot]
	if n == nil {
		n = &RuleTold{}
		e.ruleTold[r.Slot] = n
	}
	n.Packets++
	n.Bytes += uint64(p.length)
	said := None
	switch {
	case r.Verb == RuleDrop:
		said = RuleDropped
	case r.Verb == RuleLimit && !e.ruleBucket(p, r).take(r.Rate, e.Now, 1, 0):
		said = RuleLimited
	}
	switch {
	case said == None:
	case r.Monitor || !enforced:
		n.Shadow++
	default:
		n.Dropped++
	}
	return said
}

func (e *Edge) ruleBucket(p *view, r *Rule) *bucket {
	if r.Cell == nil {
		return bucketOf(e.ruleBuckets, uint32(r.Slot))
	}
	return bucketOf(e.ruleCells, r.Cell(firstBytes(p.src)))
}

// firstBytes of an address are what its cell is found by.
func firstBytes(a netip.Addr) uint64 {
	if a.Is4() {
		return uint64(binary.LittleEndian.Uint32(a.AsSlice()))
	}
	return binary.LittleEndian.Uint64(a.AsSlice())
}

func bucketOf(all map[uint32]*bucket, i uint32) *bucket {
	if all[i] == nil {
		all[i] = &bucket{}
	}
	return all[i]
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"parry/pkg/rule"
)

// RuleSlots is how many rules there can be, of all services together.
const RuleSlots = 1024

// ErrRules says that rules can't be used; its text says which, and why.
var ErrRules = errors.New("the rules are refused")

// Rule is one of the operator's rules.
type Rule struct {
	rule.Rule
	Service     string // "" = every service's
	Established bool   // it judges sessions' packets, too
}

// What service_mode.rules says (RULES_* of bpf/abi.h).
const (
	rulesAny         = 1
	rulesEstablished = 2
	rulesSource      = 4
)

// ruleSet is what a generation's table of rules holds: programs by their place, the modes of services by number.
type ruleSet struct {
	programs map[string]*ebpf.Program // by what they are made of
	places   map[uint32]string        // in the table: which of them
	modes    []uint32
}

func (s *ruleSet) close() error {
	var errs []error
	if s != nil {
		for _, p := range s.programs {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// planRules says which rules are in which place, in their order. names are the services by number.
func planRules(rules []Rule, names []string) (places map[uint32][]rule.Rule, modes []uint32) {
	places, modes = map[uint32][]rule.Rule{}, make([]uint32, len(names))
	for n := uint32(1); n < uint32(len(names)); n++ {
		for _, r := range rules {
			if r.Service != "" && r.Service != names[n] {
				continue
			}
			places[2*n] = append(places[2*n], r.Rule)
			modes[n] |= rulesAny
			if r.Established {
				places[2*n+1] = append(places[2*n+1], r.Rule)
				modes[n] |= rulesEstablished
			}
			if r.Action.PerSource {
				modes[n] |= rulesSource
			}
		}
	}
	return places, modes
}

// ruleKey is what a program is made of: those of several services may be one.
func ruleKey(rules []rule.Rule) string {
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "%d %d %v %t %d %s\n", r.Number, r.Slot, r.Action, r.Monitor, r.Expires, r.Expr)
	}
	return b.String()
}

// loadRules compiles rules and has the kernel verify them. Programs that the set before has are its own, and taken over.
func loadRules(rules []Rule, names []string, core map[string]*ebpf.Map, frags bool, before *ruleSet) (_ *ruleSet, err error) {
	places, modes := planRules(rules, names)
	set := &ruleSet{programs: map[string]*ebpf.Program{}, places: map[uint32]string{}, modes: modes}
	var fresh []*ebpf.Program
	defer func() {
		if err != nil {
			for _, p := range fresh {
				err = errors.Join(err, p.Close())
			}
		}
	}()
	for _, at := range slices.Sorted(maps.Keys(places)) {
		key := ruleKey(places[at])
		set.places[at] = key
		if set.programs[key] != nil {
			continue
		}
		if before != nil && before.programs[key] != nil {
			set.programs[key] = before.programs[key]
			continue
		}
		p, err := loadRuleProgram(places[at], core, frags)
		if err != nil {
			return nil, err
		}
		set.programs[key] = p
		fresh = append(fresh, p)
	}
	return set, nil
}

// loadRuleProgram makes one program.
func loadRuleProgram(rules []rule.Rule, core map[string]*ebpf.Map, frags bool) (*ebpf.Program, error) {
	ins, err := rule.Compile(rules)
	if err != nil {
		return nil, errors.Join(ErrRules, err)
	}
	for _, name := range []string{rule.MapBox, rule.MapCount, rule.MapBucket, rule.MapCell} {
		if err := ins.AssociateMap(name, core[name]); err != nil && !errors.Is(err, asm.ErrUnreferencedSymbol) {
			return nil, fmt.Errorf("give the rules map %s: %w", name, err)
		}
	}
	spec := &ebpf.ProgramSpec{Name: "parry_rules", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, Instructions: ins, License: "Dual BSD/GPL"}
	if frags {
		spec.Flags |= xdpHasFrags
	}
	p, err := ebpf.NewProgramWithOptions(spec, ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats})
	if err == nil {
		return p, nil
	}
	if v, ok := errors.AsType[*ebpf.VerifierError](err); ok {
		return nil, fmt.Errorf("%w: this kernel's verifier doesn't take them: %w", ErrRules, v)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, explainLoad(err)
	}
	return nil, fmt.Errorf("load the rules: %w", err)
}

// put makes a table hold the set's programs, each swapped whole. What fails is undone.
func (s *ruleSet) put(table *ebpf.Map, before *ruleSet) error {
	for at, key := range s.places {
		if before != nil && before.places[at] == key {
			continue
		}
		if err := table.Put(at, s.programs[key]); err != nil {
			return errors.Join(fmt.Errorf("put rules into their place: %w", err), before.restore(table, s))
		}
	}
	if before == nil {
		return nil
	}
	for at := range before.places {
		if _, ok := s.places[at]; ok {
			continue
		}
		if err := table.Delete(at); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return errors.Join(fmt.Errorf("take rules out of their place: %w", err), before.restore(table, s))
		}
	}
	return nil
}

func (s *ruleSet) restore(table *ebpf.Map, failed *ruleSet) error {
	var errs []error
	if s != nil {
		for at, key := range s.places {
			errs = append(errs, table.Put(at, s.programs[key]))
		}
	}
	for at := range failed.places {
		if s == nil || s.places[at] == "" {
			if err := table.Delete(at); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// SetRules swaps the rules of the running generation: each service's program whole, so that no packet meets half of them. What is
// refused changes nothing. Sessions are judged by them from their next packet on.
func (e *Edge) SetRules(rules []Rule) error {
	e.mu.RLock()
	g := e.gen
	e.mu.RUnlock()
	before := g.rules
	next, err := loadRules(rules, g.names, g.coll.Maps, g.frags, before)
	if err != nil {
		return err
	}
	if err := next.put(g.coll.Maps[bpfMapRules], before); err != nil {
		return err
	}
	g.rules = next
	err = errors.Join(e.setRuleModes(next.modes, false), e.Lists().Recheck())
	for key, p := range before.programs {
		if next.programs[key] == nil {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}

// setRuleModes tells the fast path whom rules are asked about. more: nothing is taken back, for another generation still runs.
func (e *Edge) setRuleModes(modes []uint32, more bool) error {
	var errs []error
	for n, mode := range modes {
		if n == 0 {
			continue
		}
		errs = append(errs, e.setMode(uint16(n), func(w *bpfServiceMode) {
			if more {
				mode |= w.Rules
			}
			w.Rules = mode
		}))
	}
	return errors.Join(errs...)
}

// RuleExpiry is a time as a rule's program compares it.
func (e *Edge) RuleExpiry(t time.Time) (uint64, error) {
	now, err := e.time()
	return monotonicOf(t, now), err
}

// RuleCount is what a rule did.
type RuleCount struct {
	Packets, Bytes uint64 // that it was about
	Dropped        uint64 // of those
	Shadow         uint64 // would have been dropped, were rule and policy enforced
}

// RuleCount reads what the rule of a slot did.
func (e *Edge) RuleCount(slot uint16) (n RuleCount, err error) {
	perCPU := make([]bpfRuleCount, ebpf.MustPossibleCPU())
	if err := e.state[bpfMapRuleCount].Lookup(uint32(slot), &perCPU); err != nil {
		return n, fmt.Errorf("read what rule %d did: %w", slot, err)
	}
	for _, c := range perCPU {
		n.Packets += c.Packets
		n.Bytes += c.Bytes
		n.Dropped += c.Dropped
		n.Shadow += c.Shadow
	}
	return n, nil
}

// ResetRule has a slot begin anew, for another rule.
func (e *Edge) ResetRule(slot uint16) error {
	return errors.Join(e.state[bpfMapRuleCount].Put(uint32(slot), make([]bpfRuleCount, ebpf.MustPossibleCPU())),
		e.state[bpfMapRuleBucket].Put(uint32(slot), uint64(0)))
}

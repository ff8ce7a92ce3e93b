// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"

	"parry/pkg/rule"
	"parry/test/filter"
	"parry/test/need"
)

// The proof counts by plain arrays: one look tells of every CPU.
func proofMaps(t *testing.T) map[string]*ebpf.Map {
	t.Helper()
	all := map[string]*ebpf.Map{}
	for name, spec := range map[string]*ebpf.MapSpec{
		rule.MapBox:    {Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(bpfRuleBox{})), MaxEntries: 1},
		rule.MapCount:  {Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(bpfRuleCount{})), MaxEntries: RuleSlots},
		rule.MapBucket: {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: RuleSlots},
		rule.MapCell:   {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1 << rule.CellBits},
	} {
		m, err := ebpf.NewMap(spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		all[name] = m
	}
	return all
}

// proofRules are random rules, and what tcpdump makes of each.
func proofRules(t *testing.T, r *rand.Rand, n int) (rules []rule.Rule, refs []*filter.Reference) {
	t.Helper()
	for len(rules) < n {
		text := filter.Expression(r)
		e, err := rule.Parse(text)
		if err != nil {
			continue // pkg/rule's own proof holds what it may refuse
		}
		ref, err := filter.Compile(t.Context(), text)
		if errors.Is(err, filter.ErrConstant) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule.Rule{Slot: uint16(len(rules)), Expr: e, Action: rule.Action{Verb: rule.Count}})
		refs = append(refs, ref)
	}
	return rules, refs
}

// TestRulesAgreeWithTcpdump runs compiled rules in the kernel beside tcpdump's own programs, over random packets.
// PARRY_RULE_PAIRS says how many of rule and packet, PARRY_RULE_SEED which.
func TestRulesAgreeWithTcpdump(t *testing.T) {
	need.Root(t)
	filter.NeedTcpdump(t)
	want, seed := number(t, "PARRY_RULE_PAIRS", 5000), number(t, "PARRY_RULE_SEED", 7)
	r := rand.New(rand.NewPCG(seed, 5))
	maps := proofMaps(t)
	const together, frames = 8, 100 // rules of a program, packets that it sees
	var pairs, matched uint64
	for pairs < want {
		rules, refs := proofRules(t, r, together)
		p, err := loadRuleProgram(rules, maps, false)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		for range frames {
			frame := filter.Frame(r, false)
			got := proofRun(t, p, maps, frame)
			for i := range rules {
				want, _, err := refs[i].Match(frame)
				if err != nil {
					t.Fatal(err)
				}
				if want != got[i] {
					t.Fatalf("%q on %x: the kernel says %v, tcpdump %v", rules[i].Expr, frame, got[i], want)
				}
				if want {
					matched++
				}
				pairs++
			}
		}
		p.Close()
	}
	t.Logf("%d pairs agree with tcpdump's compiler in the kernel, %d of them matches", pairs, matched)
	if matched < pairs/20 || matched > pairs*19/20 {
		t.Error("nearly all say the same: that proves little")
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// proofRun shows a frame to a program, and says which of the first eight rules it was one for.
func proofRun(t *testing.T, p *ebpf.Program, maps map[string]*ebpf.Map, frame []byte) (matched [8]bool) {
	t.Helper()
	box := bpfRuleBox{Length: uint32(len(frame)), Bytes: uint32(len(frame) - filter.LinkHeader), L3: filter.LinkHeader, Family: 4}
	if binary.BigEndian.Uint16(frame[12:]) == 0x86dd {
		box.Family = 6
	}
	if err := maps[rule.MapBox].Put(uint32(0), box); err != nil {
		t.Fatal(err)
	}
	keys := make([]uint32, len(matched))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := maps[rule.MapCount].BatchUpdate(keys, make([]bpfRuleCount, len(keys)), nil); err != nil {
		t.Fatal(err)
	}
	code, _, err := p.Test(frame)
	if err != nil || code != uint32(rule.Passed) {
		t.Fatalf("rules that only count say %d, %v", code, err)
	}
	for i := range matched {
		var n bpfRuleCount
		if err := maps[rule.MapCount].Lookup(uint32(i), &n); err != nil {
			t.Fatal(err)
		}
		matched[i] = n.Packets == 1
	}
	return matched
}

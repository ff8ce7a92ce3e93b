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
	"github.com/cilium/ebpf/asm"

	"parry/pkg/rule"
	"parry/test/filter"
	"parry/test/need"
	"parry/test/packet"
)

type ruleMaps map[string]*ebpf.Map

func newRuleMaps(t *testing.T) ruleMaps {
	t.Helper()
	m := ruleMaps{}
	for name, spec := range map[string]*ebpf.MapSpec{
		rule.MapBox:    {Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 56, MaxEntries: 1},
		rule.MapCount:  {Type: ebpf.Array, KeySize: 4, ValueSize: 32, MaxEntries: 1024},
		rule.MapBucket: {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1024},
		rule.MapCell:   {Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1 << rule.CellBits},
	} {
		spec.Name = name
		made, err := ebpf.NewMap(spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { made.Close() })
		m[name] = made
	}
	return m
}

func (m ruleMaps) load(t *testing.T, rules []rule.Rule) *ebpf.Program {
	t.Helper()
	ins, err := rule.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range m {
		if err := ins.AssociateMap(name, one); err != nil && !errors.Is(err, asm.ErrUnreferencedSymbol) {
			t.Fatal(err)
		}
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "rules", Type: ebpf.XDP, Instructions: ins, License: "Dual BSD/GPL"})
	if err != nil {
		var v *ebpf.VerifierError
		if errors.As(err, &v) {
			t.Fatalf("%v\n%+v", ins, v)
		}
		t.Fatal(err)
	}
	return p
}

// TestRulesAgreeWithTcpdump runs compiled rules in the kernel beside tcpdump's own programs.
func TestRulesAgreeWithTcpdump(t *testing.T) {
	need.Root(t)
	filter.NeedTcpdump(t)
	want := 10_000
	if s := os.Getenv("PARRY_RULE_PAIRS"); s != "" {
		want, _ = strconv.Atoi(s)
	}
	seed := uint64(7)
	if s := os.Getenv("PARRY_RULE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	r := rand.New(rand.NewPCG(seed, 5))
	maps := newRuleMaps(t)
	const each = 8
	pairs, matched, programs := 0, 0, 0
	for pairs < want {
		var rules []rule.Rule
		var refs []*filter.Reference
		for len(rules) < each {
			text := filter.Expression(r)
			e, err := rule.Parse(text)
			if err != nil {
				continue
			}
			ref, err := filter.Compile(t.Context(), text)
			if err != nil {
				continue
			}
			rules = append(rules, rule.Rule{Slot: uint16(len(rules)), Expr: e, Action: rule.Action{Verb: rule.Count}})
			refs = append(refs, ref)
		}
		p := maps.load(t, rules)
		programs++
		for range 100 {
			frame := filter.Frame(r, false)
			if _, err := packet.Look(frame); err != nil && len(frame) < 0 {
				continue
			}
			box := make([]byte, 56)
			binary.NativeEndian.PutUint32(box[24:], uint32(len(frame)))
			binary.NativeEndian.PutUint32(box[28:], uint32(len(frame)-14))
			binary.NativeEndian.PutUint16(box[40:], 14)
			box[50] = 4
			if frame[12] == 0x86 {
				box[50] = 6
			}
			var all [][]byte
			n, _ := ebpf.PossibleCPU()
			for range n {
				all = append(all, box)
			}
			if err := maps[rule.MapBox].Put(uint32(0), all); err != nil {
				t.Fatal(err)
			}
			zero := make([]byte, 32)
			for i := range rules {
				_ = maps[rule.MapCount].Put(uint32(i), zero)
			}
			if _, _, err := p.Test(frame); err != nil {
				t.Fatal(err)
			}
			for i := range rules {
				var got [4]uint64
				if err := maps[rule.MapCount].Lookup(uint32(i), &got); err != nil {
					t.Fatal(err)
				}
				w, _, err := refs[i].Match(frame)
				if err != nil {
					t.Fatal(err)
				}
				if w != (got[0] == 1) {
					t.Fatalf("%q on %x: kernel %v, tcpdump %v", rules[i].Expr, frame, got, w)
				}
				if w {
					matched++
				}
				pairs++
			}
		}
		p.Close()
	}
	t.Logf("%d pairs agree, %d matched, %d programs", pairs, matched, programs)
}

// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"slices"
	"testing"

	"parry/loader"
)

// row is one packet: what was before it, what is to become of it, and what is there after.
type row struct {
	name  string
	set   func(*testing.T, *world) // its packets' counters are not looked at
	in    func(*testing.T, *world) []byte
	want  outcome
	out   func(*testing.T, *world) []byte // the frame that leaves
	after func(*testing.T, *world)
}

// group is rows that share a plan. Between rows the world is cleared.
type group struct {
	name  string
	plan  func() *loader.Plan
	sizes func() loader.Sizes // nil: small
	rows  []row
}

func is(frame []byte) func(*testing.T, *world) []byte {
	return func(*testing.T, *world) []byte { return frame }
}

func (g group) run(t *testing.T) {
	sizes := smallSizes()
	if g.sizes != nil {
		sizes = g.sizes()
	}
	w := newWorldOf(t, g.plan(), sizes)
	for _, r := range g.rows {
		t.Run(r.name, func(t *testing.T) {
			defer w.clear(t)
			if r.set != nil {
				r.set(t, w)
			}
			in := r.in(t, w)
			var out []byte
			if r.out != nil {
				out = r.out(t, w)
			}
			w.send(t, in, r.want, out)
			if r.after != nil {
				r.after(t, w)
			}
		})
	}
}

// groups are all tables of rows: what TestEveryReasonHasARow looks through.
func groups() []group {
	all := slices.Concat(fullGroups(), strangerGroups(), gateGroups())
	return append(all, damagedGroup(), admissionGroup(), deniedGroup(), limitedGroup(limitPlan, ""), wideGroup(widePlan, ""), hostGroup(), fragmentGroup(), ruleGroup(),
		icmpGroup(), tooBigGroup(), synGroup())
}

func TestDamaged(t *testing.T) { damagedGroup().run(t) }

// Every drop reason that the C knows is the outcome of some row.
func TestEveryReasonHasARow(t *testing.T) {
	t.Parallel()
	names, err := loader.ReadNames()
	must(t, err)
	have := map[string]string{"": "", "silent": "TestFirstWords: no packet ends so", "doubted": "TestDoubtedStrangers"}
	for _, g := range groups() {
		for _, r := range g.rows {
			have[r.want.reason] = g.name + "/" + r.name
		}
	}
	for i, n := range names.Reasons {
		if i == 0 || n == "" {
			continue
		}
		if have[n] == "" {
			t.Errorf("no row ends in %s", n)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/json"
	"errors"
	flags "flag" // the package has a flag of its own
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"parry/test/need"
)

var updateBudgets = flags.Bool("update-budgets", false, "write testdata/budgets.json from what the programs take now (make budgets)")

const (
	budgetFile  = "testdata/budgets.json"
	budgetSlack = 1.05 // verifiers and JITs of other kernels differ a little
)

// budget is what a program may take of the verifier and of the machine.
type budget struct {
	VerifiedInsns uint32 `json:"verified_insns"` // that the verifier walked to prove it: its limit is a million
	XlatedBytes   uint32 `json:"xlated_bytes"`   // BPF after dead code is removed
	JitedBytes    uint32 `json:"jited_bytes"`    // machine code; x86-64's
}

// production are the features that edges run with, by name.
func production() map[string]*Plan {
	told := featurePlan(true, true, true, true, true, true, true, true, true, true)
	told.Samples, told.Told, told.Doubts = SamplesAlways, true, true
	watched := featurePlan(true, true, true, true, true, true, true, true, true, true)
	watched.Samples, watched.Told, watched.Doubts, watched.Watch = SamplesAlways, true, true, true
	return map[string]*Plan{
		"told":    told,
		"watched": watched,
		"nat":     featurePlan(true, true, true, false, false, true, false, false, false, false),
		"local":   featurePlan(true, true, false, false, true, true, false, false, false, false),
		"all":     featurePlan(true, true, true, true, true, true, true, true, true, true),
	}
}

// A program grows only by who says so: with the budget file in the same change.
func TestProgramsKeepTheirBudgets(t *testing.T) {
	need.Root(t)
	got := map[string]map[string]budget{}
	for name, plan := range production() {
		got[name] = costsOf(t, name, plan)
	}
	if *updateBudgets {
		writeBudgets(t, got)
		return
	}
	want := readBudgets(t)
	for _, set := range slices.Sorted(maps.Keys(got)) {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want[set])), slices.Sorted(maps.Keys(got[set]))); diff != "" {
			t.Errorf("%s: other programs than the budgets are for; `make budgets` writes them anew (-budgets +loaded):\n%s", set, diff)
		}
		for _, prog := range slices.Sorted(maps.Keys(got[set])) {
			if limit, ok := want[set][prog]; ok {
				limit.check(t, set+": "+prog, got[set][prog])
			}
		}
	}
}

// costsOf is of an edge of its own: what another plan had would be in its programs, too, for its sessions play on.
func costsOf(t *testing.T, name string, plan *Plan) map[string]budget {
	t.Helper()
	e, err := Open(Options{Sizes: smallSizes(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer e.Close()
	g, err := e.Prepare(plan)
	if err != nil {
		t.Fatalf("%s: %+v", name, err)
	}
	got, err := costs(g.coll.Programs)
	if err = errors.Join(err, g.Close()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return got
}

func costs(programs map[string]*ebpf.Program) (map[string]budget, error) {
	all := map[string]budget{}
	for name, p := range programs {
		info, err := p.Info()
		if err != nil {
			return nil, err
		}
		verified, _ := info.VerifiedInstructions() // 0 where the kernel doesn't tell
		xlated, err := info.TranslatedSize()
		if err != nil {
			return nil, err
		}
		jited, err := info.JitedSize()
		if err != nil {
			return nil, err
		}
		all[name] = budget{verified, uint32(xlated), jited}
	}
	return all, nil
}

func (b budget) check(t *testing.T, what string, got budget) {
	t.Helper()
	t.Logf("%-18s %6d verified instructions, %6d bytes of BPF, %6d of machine code", what, got.VerifiedInsns, got.XlatedBytes, got.JitedBytes)
	for _, row := range []struct {
		unit       string
		got, limit uint32
	}{
		{"verified instructions", got.VerifiedInsns, b.VerifiedInsns},
		{"bytes of BPF", got.XlatedBytes, b.XlatedBytes},
		{"bytes of machine code", got.JitedBytes, b.JitedBytes},
	} {
		if row.unit == "bytes of machine code" && runtime.GOARCH != "amd64" {
			continue
		}
		if limit := uint32(float64(row.limit) * budgetSlack); row.got > limit {
			t.Errorf("%s takes %d %s, over its budget of %d (and 5 %%). If it is worth that, raise the budget: make budgets, and commit %s",
				what, row.got, row.unit, row.limit, filepath.Join("loader", budgetFile))
		}
	}
}

func readBudgets(t *testing.T) (all map[string]map[string]budget) {
	t.Helper()
	raw, err := os.ReadFile(budgetFile)
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func writeBudgets(t *testing.T, all map[string]map[string]budget) {
	t.Helper()
	raw, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(budgetFile), 0o755)
	}
	if err == nil {
		err = os.WriteFile(budgetFile, append(raw, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

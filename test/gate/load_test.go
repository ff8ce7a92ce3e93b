// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/loader/gates"
)

// verified is how many instructions the verifier may walk for one gate: a whole generation loads in moments.
const verified = 50_000

// TestLoad: the kernel takes every gate, run on the oldest kernel by make kernels-load; each names itself right.
func TestLoad(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(gates.Objects())) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, name)
			if got := string(bytes.TrimRight(r.card.Name[:], "\x00")); got != name || r.card.ABI != abi {
				t.Errorf("it says it is %q, ABI %d", got, r.card.ABI)
			}
			if r.card.About[0] == 0 || r.card.About[len(r.card.About)-1] != 0 {
				t.Errorf("it says %q of itself", r.card.About)
			}
			info, err := r.coll.Programs["gate"].Info()
			must(t, err)
			walked, _ := info.VerifiedInstructions() // 0 where the kernel doesn't tell
			size, _ := info.JitedSize()
			t.Logf("%-14s verified %6d instructions, %5d bytes of machine code", name, walked, size)
			if walked > verified {
				t.Errorf("the verifier walked %d instructions, %d at most", walked, verified)
			}
			for _, length := range []int{0, 1, 3, 4, 8, answerMax, 1500} {
				if got := r.run(make([]byte, length)); length < 4 && got.verdict != refuse {
					t.Errorf("%d zeros: verdict %d", length, got.verdict)
				}
			}
		})
	}
}

// Each source has its object, and each object its source.
func TestEverySourceIsCompiled(t *testing.T) {
	files, err := filepath.Glob("../../bpf/gate/*.bpf.c")
	must(t, err)
	if _, err := os.Stat("../../bpf"); err != nil {
		t.Skip("not run in parry's own folder")
	}
	var want []string
	for _, f := range files {
		want = append(want, strings.TrimSuffix(filepath.Base(f), ".bpf.c"))
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(gates.Objects()))); diff != "" {
		t.Errorf("gates (-sources +objects):\n%s", diff)
	}
}

// SPDX-License-Identifier: Apache-2.0

package gates

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"parry/test/need"
)

const (
	abi = 1 // PARRY_GATE_ABI

	// verified is how many instructions the verifier may walk for one gate: a generation with all of them loads in moments.
	verified = 50_000
)

// card is struct parry_gate, what a gate says of itself.
type card struct {
	ABI, Proof uint32
	Name       [24]byte
	About      [96]byte
}

// The kernel takes every gate, and each names itself right: run on the oldest kernel by make kernels-load.
func TestLoad(t *testing.T) {
	need.Root(t)
	objects := Objects()
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		t.Run(name, func(t *testing.T) {
			spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(objects[name]))
			if err != nil {
				t.Fatal(err)
			}
			coll, err := ebpf.NewCollection(spec)
			var v *ebpf.VerifierError
			if errors.As(err, &v) {
				t.Fatalf("%+v", v)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer coll.Close()
			says(t, name, coll.Maps[".rodata.parry_gate"])
			info, err := coll.Programs["gate"].Info()
			if err != nil {
				t.Fatal(err)
			}
			walked, _ := info.VerifiedInstructions() // 0 where the kernel doesn't tell
			size, _ := info.JitedSize()
			t.Logf("%-14s verified %6d instructions, %5d bytes of machine code", name, walked, size)
			if walked > verified {
				t.Errorf("the verifier walked %d instructions, %d at most", walked, verified)
			}
		})
	}
}

func says(t *testing.T, name string, m *ebpf.Map) {
	t.Helper()
	raw, err := m.LookupBytes(uint32(0))
	if err != nil {
		t.Fatal(err)
	}
	var c card
	if _, err := binary.Decode(raw, binary.NativeEndian, &c); err != nil {
		t.Fatal(err)
	}
	about := string(bytes.TrimRight(c.About[:], "\x00"))
	if got := string(bytes.TrimRight(c.Name[:], "\x00")); got != name || c.ABI != abi || about == "" || len(about) == len(c.About) {
		t.Errorf("it says that it is %q, of ABI %d, %q", got, c.ABI, about)
	}
}

// Each source has its object, and each object its source.
func TestEverySourceIsCompiled(t *testing.T) {
	files, err := filepath.Glob("../../bpf/gate/*.bpf.c")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range files {
		want = append(want, strings.TrimSuffix(filepath.Base(f), ".bpf.c"))
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(Objects()))); diff != "" {
		t.Errorf("gates (-sources +objects):\n%s", diff)
	}
}

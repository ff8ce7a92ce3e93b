// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"parry/test/need"
)

// TestLoad is also what the virtual machines of other kernels run.
func TestLoad(t *testing.T) {
	need.Root(t)
	var o endsObjects
	err := loadEndsObjects(&o, nil)
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		t.Fatalf("%+v", verifier)
	}
	if err = errors.Join(err, o.Close()); err != nil {
		t.Fatal(err)
	}
}

// program is the parry under test.
func program(t *testing.T) string {
	t.Helper()
	bin, err := need.Parry(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Every way that there are tools for carries floods and pings. Figures are for a quiet machine, and `make compare`.
func TestEachWayCarriesItsFlood(t *testing.T) {
	need.Root(t)
	r, err := compare(t.Context(), ways(program(t), t.TempDir()), load{rounds: 2, packets: 2000, pings: 20}, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.writeText(&text); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
	for _, w := range r.Ways {
		switch {
		case w.Delivered <= 0, w.Delivered > 1, w.Lost != 0, w.CPUNS <= 0, w.Key != keyRig && w.P50US <= 0:
			t.Errorf("%+v", w)
		}
	}
	if len(r.Skipped) > 0 {
		t.Skip(strings.Join(r.Skipped, "; "))
	}
}

func sample(key string, cpu, p50 float64) *runner {
	return &runner{way: way{key: key, name: key}, cpu: []float64{cpu, 2 * cpu, cpu}, delivered: []float64{1, 1, 1}, rate: []float64{1e6, 1e6, 1e6},
		p50: []float64{p50, p50, p50}, p99: []float64{9, 9, 9}}
}

func TestTargetsAreRatiosWithinARound(t *testing.T) {
	r := report([]*runner{sample(keyRoute, 400, 7), sample(keyNFT, 800, 8), sample(keyParry, 100, 7.5)}, []string{"nginx: not installed"}, 3)
	got := []Target{}
	for _, g := range r.Targets {
		g.What = ""
		got = append(got, g)
	}
	want := []Target{{Limit: 0.28, Ratio: 0.25, OK: true}, {Limit: 0.17, Ratio: 0.125, OK: true}, {Limit: 1, Ratio: 1.071}}
	if !slices.Equal(got, want) {
		t.Errorf("targets %+v, not %+v", got, want)
	}
	var text, markdown, raw bytes.Buffer
	if err := errors.Join(r.writeText(&text), r.writeMarkdown(&markdown), r.writeJSON(&raw)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"no NIC", "MISSED", "skipped: nginx: not installed"} {
		if !strings.Contains(text.String(), s) || !strings.Contains(markdown.String(), s) {
			t.Errorf("nothing says %q:\n%s\n%s", s, &text, &markdown)
		}
	}
	if !strings.Contains(markdown.String(), "\n| parry | 100 | 100-200 | 0.25 | 100 % |") {
		t.Errorf("no row of parry's:\n%s", &markdown)
	}
	if !json.Valid(raw.Bytes()) {
		t.Error("no JSON")
	}
}

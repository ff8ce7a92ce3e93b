// SPDX-License-Identifier: Apache-2.0

package naming_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/naming"
)

var update = flag.Bool("update", false, "write the documentation anew")

// docs/naming.md lists all rules.
func TestTheListOfRulesIsWhole(t *testing.T) {
	const from, to = "<!-- rules -->\n", "<!-- end of rules -->\n"
	var table strings.Builder
	table.WriteString("| label | holds of | confidence | reason |\n|---|---|---|---|\n")
	for _, l := range naming.Labels() {
		for _, r := range naming.Rules() {
			if r.Label == l {
				fmt.Fprintf(&table, "| `%v` | %s | %.2f | %s |\n", l, r.Of, float64(r.Confidence)/100, r.Says)
			}
		}
	}
	file := filepath.Join("..", "..", "docs", "naming.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), from)
	_, after, ended := strings.Cut(rest, to)
	if !ok || !ended {
		t.Fatalf("%s has no place for rules", file)
	}
	want := before + from + table.String() + to + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), want); diff != "" {
		t.Errorf("docs/naming.md is stale: make docs writes it (-is +should be):\n%s", diff)
	}
}

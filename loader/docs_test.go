// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os"
	"strings"
	"testing"
)

func page(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestArchitectureNamesEveryMap(t *testing.T) {
	text := page(t, "../ARCHITECTURE.md")
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Maps {
		if !strings.HasPrefix(name, ".") && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("ARCHITECTURE.md says nothing of map %s", name)
		}
	}
}

func TestDropReasonsPageNamesEveryReason(t *testing.T) {
	text := page(t, "../docs/drop-reasons.md")
	names, err := ReadNames()
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names.Reasons {
		if i > 0 && name != "" && !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("docs/drop-reasons.md says nothing of %s", name)
		}
	}
	if rows := strings.Count(text, "\n| `"); rows != len(names.Reasons)-1 {
		t.Errorf("docs/drop-reasons.md has %d rows for %d reasons", rows, len(names.Reasons)-1)
	}
}

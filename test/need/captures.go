// SPDX-License-Identifier: Apache-2.0

package need

import (
	"os"
	"path/filepath"
	"testing"
)

// Captures is the folder of labelled captures, which are not in the tree: PARRY_SHARED names the folder that it is in, else it
// is looked for beside the checkout (of a package two folders down), and the test skips where it is not.
func Captures(t testing.TB) string {
	t.Helper()
	shared, named := os.LookupEnv("PARRY_SHARED")
	if !named {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(shared, "captures")
	if _, err := os.Stat(dir); err != nil {
		if named {
			t.Fatalf("PARRY_SHARED: %v", err)
		}
		t.Skipf("no captures in %s (set PARRY_SHARED)", dir)
	}
	return dir
}

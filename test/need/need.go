// SPDX-License-Identifier: Apache-2.0

// Package need gives tests what they can't do without, or has them skip and say so.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Root skips a test that loads BPF programs or makes network namespaces where the kernel would refuse it.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("BPF programs and network namespaces need root")
	}
}

// Parry is the path of the program under test: PARRY_BIN, or one that is built into dir.
func Parry(dir string) (string, error) {
	if bin := os.Getenv("PARRY_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	bin := filepath.Join(dir, "parry")
	cmd := exec.Command("go", "build", "-o", bin, "parry/cmd/parry")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build parry: %w\n%s", err, out)
	}
	return bin, nil
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// objects are the BPF objects that parry is built with for a kind of machine.
func objects(t *testing.T, arch string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{$dir := .Dir}}{{range .EmbedFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}`, "parry/cmd/parry")
	cmd.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v", arch, err)
	}
	all := slices.DeleteFunc(strings.Fields(string(out)), func(name string) bool { return filepath.Ext(name) != ".o" })
	if len(all) == 0 {
		t.Fatalf("parry for %s holds no BPF object", arch)
	}
	return all
}

// What arm64 runs is what amd64 runs and tests: the same little-endian objects, byte for byte.
func TestEveryMachineHasTheSameObjects(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("asks the go command what is built")
	}
	here := objects(t, "amd64")
	if diff := cmp.Diff(here, objects(t, "arm64")); diff != "" {
		t.Errorf("arm64 is built with other objects (-amd64 +arm64):\n%s", diff)
	}
	for _, name := range here {
		f, err := elf.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != elf.EM_BPF || f.Data != elf.ELFDATA2LSB {
			t.Errorf("%s is %v, %v: not little-endian BPF", name, f.Machine, f.Data)
		}
		_ = f.Close() // it was read
		t.Log(filepath.Base(name))
	}
}

// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "copy the example into the manual instead of comparing them")

const root = "../.."

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The manual shows the example as it is.
func TestTheManualShowsTheExample(t *testing.T) {
	manual := filepath.Join(root, "docs/gates.md")
	text := string(read(t, manual))
	begin, end := "<!-- examples/gate/mygame.c -->\n```c\n", "```\n<!-- end -->\n"
	head, rest, ok := strings.Cut(text, begin)
	_, foot, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the manual has no place for the example")
	}
	want := head + begin + string(read(t, filepath.Join(root, "examples/gate/mygame.c"))) + end + foot
	switch {
	case text == want:
	case !*update:
		t.Error("the manual's example is not examples/gate/mygame.c: make docs copies it")
	default:
		if err := os.WriteFile(manual, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func compile(t *testing.T, source string) ([]byte, string, error) {
	t.Helper()
	var said bytes.Buffer
	object, err := Compile(t.Context(), source, &said)
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	return object, said.String(), err
}

func TestCompile(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("own.h", "#define BYTES 16\n")
	write("good.c", "#include \"parry_gate.h\"\n#include \"own.h\"\nPARRY_GATE(good, GATE_PROOF_NONE, \"good\") { return g->length == BYTES; }\nPARRY_GATE_LICENSE;\n")
	write("-v.c", string(read(t, "good.c")))
	write("bad.c", "#include \"parry_gate.h\"\nPARRY_GATE(bad, GATE_PROOF_NONE, \"bad\") { return g->lenght; }\n")
	write("lacks.c", "#include <bpf/bpf_nothing.h>\n")
	for _, row := range []struct{ name, source, err, said string }{
		{"a good one, with a header beside it", "good.c", "", ""},
		{"whose name begins like a flag", "-v.c", "", ""},
		{"a slip", "bad.c", "bad.c: it doesn't compile", "did you mean 'length'?"},
		{"without libbpf's headers", "lacks.c", "headers are missing; it needs clang and libbpf's headers: `apt install", "bpf_nothing.h"},
		{"nothing", "nothing.c", "no such file", ""},
		{"a folder", ".", ". is no file", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			object, said, err := compile(t, row.source)
			if row.err == "" {
				if err != nil || !bytes.HasPrefix(object, []byte("\x7fELF")) {
					t.Errorf("%v: %s", err, said)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.err) || !strings.Contains(said, row.said) {
				t.Errorf("%v, and the compiler: %s\nwant %q and %q", err, said, row.err, row.said)
			}
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Compile(ctx, "good.c", &bytes.Buffer{}); !errors.Is(err, context.Canceled) && !errors.Is(err, ErrNoCompiler) {
		t.Errorf("after the end: %v", err)
	}
}

func TestNoCompilerSaysWhatToInstall(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a.c", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	_, err := Compile(t.Context(), "a.c", &bytes.Buffer{})
	if !errors.Is(err, ErrNoCompiler) || !strings.Contains(err.Error(), "apt install clang libbpf-dev") {
		t.Error(err)
	}
}

func TestStore(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "state", "gates"), Max: 100}
	if names, err := s.Names(); err != nil || len(names) != 0 {
		t.Errorf("with no folder: %v, %v", names, err)
	}
	for _, text := range []string{"first", "second"} {
		staged, err := s.Stage("a", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := staged.Commit(); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read("a"); err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	staged, err := s.Stage("a", []byte("third"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read("a"); err != nil || string(got) != "second" {
		t.Errorf("what is only staged is there: %q, %v", got, err)
	}
	if err := staged.Abandon(); err != nil {
		t.Fatal(err)
	}
	if names, err := s.Names(); err != nil || len(names) != 1 || names[0] != "a" {
		t.Errorf("%v, %v", names, err)
	}
	if entries, err := os.ReadDir(s.Dir); err != nil || len(entries) != 1 {
		t.Errorf("something is left over: %v, %v", entries, err)
	}
	if err := s.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("a"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "big.o"), make([]byte, 101), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("big"); err == nil || !strings.Contains(err.Error(), "too large: at most 100 bytes") {
		t.Error(err)
	}
}

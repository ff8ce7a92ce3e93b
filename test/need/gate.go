// SPDX-License-Identifier: Apache-2.0

package need

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"parry/pkg/gate"
)

// Gate compiles a gate from its text, as mygame.c, and returns the object. Where no clang is installed the test skips; a
// text that doesn't compile fails it.
func Gate(t testing.TB, text string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mygame.c")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	object, err := gate.Compile(t.Context(), file, &said)
	if errors.Is(err, gate.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	return object
}

// GateText is the text of a gate mygame, that claims strong proof, with a body of its own.
func GateText(body string) string {
	return "#include \"parry_gate.h\"\nPARRY_GATE(mygame, GATE_PROOF_STRONG, \"MyGame: a test\")\n{\n" + body + "\n}\nPARRY_GATE_LICENSE;\n"
}

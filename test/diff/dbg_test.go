// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"bytes"
	"io"
	"os"
	"testing"
)

func TestDbg(t *testing.T) {
	f, err := os.Open(os.Getenv("SEQ"))
	if err != nil {
		t.Skip(err)
	}
	kind, steps, err := readSequence(f)
	if err != nil {
		t.Fatal(err)
	}
	var obj io.ReaderAt
	if p := os.Getenv("OBJ"); p != "" {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		obj = bytes.NewReader(b)
	}
	w, err := openWorld(kind, obj)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.reset(); err != nil {
		t.Fatal(err)
	}
	for i, s := range steps {
		err := w.do(s)
		hops, _ := w.real.Hops()
		t.Logf("%d %.80s: %v\nsessions %d %v", i, s, err, len(w.model.Sessions()), hops)
		w.settle()
		if err := w.settle(); err != nil {
			t.Log(err)
		}
	}
}

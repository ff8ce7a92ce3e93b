// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"bytes"
	"io"
	"time"
)

func TestTry(t *testing.T) {
	kind := os.Getenv("KIND")
	if kind == "" {
		kind = "all"
	}
	var obj io.ReaderAt
	if p := os.Getenv("OBJ"); p != "" { b, err := os.ReadFile(p); if err != nil { t.Fatal(err) }; obj = bytes.NewReader(b) }
	w, err := openWorld(kind, obj)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer w.close()
	d, _ := time.ParseDuration(os.Getenv("D"))
	ctx, cancel := context.WithTimeout(context.Background(), max(d, 5*time.Second))
	defer cancel()
	began := time.Now()
	err = w.fuzz(ctx, 1)
	t.Logf("%d packets, %d sequences in %v: %.0f/s\n%v\n%v\n%v", w.seen.Packets, w.seen.Sequences, time.Since(began), float64(w.seen.Packets)/time.Since(began).Seconds(), w.seen.Verdicts, w.seen.Reasons, w.seen.Shadows)
	var f *failure
	if errors.As(err, &f) {
		t.Logf("first: %v", f.why)
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		f, err = w.shrink(ctx, f)
		var b strings.Builder
		writeSequence(&b, f.kind, f.steps, f.why.Error())
		t.Fatalf("%v\n%v", err, b.String())
	}
	if err != nil {
		t.Fatal(err)
	}
}

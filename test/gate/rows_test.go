// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// row is a packet without a cache and without an attack, and its verdict.
type row struct {
	name    string
	payload []byte
	want    int
}

func (r *rig) rows(t *testing.T, rows []row) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := r.run(row.payload); got.verdict != row.want || got.proof != none {
				t.Errorf("verdict %d, proof %d, want %d and none: %x", got.verdict, got.proof, row.want, head(row.payload))
			}
		})
	}
}

// exact holds a gate to a packet's length: one that is cut anywhere, or a byte longer, is refused. Lengths that are sound,
// too, are named.
func (r *rig) exact(t *testing.T, good []byte, sound ...int) {
	t.Helper()
	ok := map[int]bool{len(good): true}
	for _, n := range sound {
		ok[n] = true
	}
	for n := range len(good) + 2 {
		p := append(bytes.Clone(good), 'x')[:n]
		if got := r.run(p); (got.verdict == refuse) == ok[n] {
			t.Errorf("%d of %d bytes: verdict %d: %x", n, len(good), got.verdict, head(p))
		}
	}
}

// each holds it to bytes: those of the packet that are named may have any value, a change of any other is refused.
func (r *rig) each(t *testing.T, good []byte, free ...[2]int) {
	t.Helper()
	for i := range good {
		p := bytes.Clone(good)
		p[i] ^= 0x55
		any := false
		for _, f := range free {
			any = any || i >= f[0] && i < f[1]
		}
		if got := r.run(p); (got.verdict == refuse) == any {
			t.Errorf("byte %d changed: verdict %d: %x", i, got.verdict, head(p))
		}
	}
}

func head(p []byte) []byte { return p[:min(len(p), 48)] }

// hx reads bytes; spaces are for the eye.
func hx(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// join puts parts one behind the other.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// zeros is that much padding.
func zeros(n int) []byte { return make([]byte, n) }

// put is p with other bytes at a place.
func put(p []byte, at int, b ...byte) []byte {
	p = bytes.Clone(p)
	copy(p[at:], b)
	return p
}

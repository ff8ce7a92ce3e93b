// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"maps"
	"slices"
	"testing"

	"parry/loader/gates"
)

// Whatever comes, of whatever length, a gate says something that the core knows, and an empty packet is none's first.
func TestAnyLength(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(gates.Objects())) {
		r := newRig(t, name)
		if name == "shape" { // it is told what to look for
			r.box.Params[1] = 8 | 65535<<16 | 1<<56
		}
		for _, fill := range []byte{0, 0xff, 0x55} {
			for length := 0; length < 1500; length += 1 + length/70*36 { // each of the short ones
				p := zeros(length)
				for i := range p {
					p[i] = fill
				}
				if got := r.run(p); got.verdict > ask || length < 4 && got.verdict != refuse {
					t.Errorf("%s: %d bytes %#x: verdict %d", name, length, fill, got.verdict)
				}
			}
		}
	}
}

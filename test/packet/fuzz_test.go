// SPDX-License-Identifier: Apache-2.0

package packet

import "testing"

// Whatever a frame is, looking at it and checking it end, and what they say of it lies within it.
func FuzzCheck(f *testing.F) {
	for _, p := range samples() {
		f.Add(p.Bytes())
		f.Add(p.Fragments(1, 8)[0])
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		v, err := Look(frame)
		if err == nil && (v.L3+v.Len > len(frame) || v.L4 > v.L3+v.Len || v.L4 < v.L3) {
			t.Errorf("%+v of %d bytes", v, len(frame))
		}
		if Check(frame) == nil && err != nil {
			t.Errorf("right, but %v", err)
		}
	})
}

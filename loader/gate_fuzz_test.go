// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"testing"

	"parry/loader/gates"
)

// Whatever an object says, it is refused as one or read as one that can be named and kept.
func FuzzReadGate(f *testing.F) {
	object := gates.Objects()["wireguard"] // the smallest: what a fuzzer finds in it, it cuts down byte by byte
	f.Add(object)
	f.Add(object[:len(object)/2])
	f.Fuzz(func(t *testing.T, object []byte) {
		g, err := ReadGate(object)
		if err != nil {
			if !errors.Is(err, ErrGate) || len(err.Error()) > 4096 {
				t.Errorf("%d bytes: %v", len(err.Error()), err)
			}
			return
		}
		if !GateName(g.Name) || g.About != clean(g.About) || g.Instructions <= 0 || g.Instructions > maxGateInsns || g.ABI != gateABI {
			t.Errorf("%q, %q, %d instructions, ABI %d", g.Name, g.About, g.Instructions, g.ABI)
		}
	})
}

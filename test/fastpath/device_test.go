// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"testing"

	"parry/loader"
	"parry/test/device"
	"parry/test/packet"
)

// device makes a second interface, which ends with the test, and lets frames be redirected to it.
func (w *world) device(t *testing.T) int {
	t.Helper()
	d, err := device.New(func(i int) error {
		return w.edge.SetLink(loader.LinkInfo{Ifindex: i, Phys: i, MTU: 1500, MAC: packet.EdgeSide})
	})
	must(t, err)
	t.Cleanup(d.Close)
	return d.Ifindex
}

// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"

	"parry/test/need"
)

// TestLoad is also what the virtual machines of other kernels run.
func TestLoad(t *testing.T) {
	need.Root(t)
	explain := func(err error) {
		t.Helper()
		var verifier *ebpf.VerifierError
		if errors.As(err, &verifier) {
			t.Fatalf("%+v", verifier)
		}
		must(t, err)
	}
	t.Run("flood", func(t *testing.T) {
		var o floodObjects
		explain(loadFloodObjects(&o, nil))
		must(t, o.Close())
	})
	t.Run("meter", func(t *testing.T) {
		var o meterObjects
		explain(loadMeterObjects(&o, nil))
		must(t, o.Close())
	})
}

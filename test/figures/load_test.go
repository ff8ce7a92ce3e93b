// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
)

// TestLoad is also what the virtual machines of other kernels run.
func TestLoad(t *testing.T) {
	needRoot(t)
	var o floorObjects
	err := loadFloorObjects(&o, nil)
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		t.Fatalf("%+v", verifier)
	}
	must(t, err, o.Close())
}

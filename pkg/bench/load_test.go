// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"

	"parry/test/need"
)

// TestLoad is also what the virtual machines of other kernels run.
func TestLoad(t *testing.T) {
	need.Root(t)
	var f floorObjects
	var d driveObjects
	err := errors.Join(loadFloorObjects(&f, nil), loadDriveObjects(&d, nil))
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		t.Fatalf("%+v", verifier)
	}
	if err = errors.Join(err, f.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
}

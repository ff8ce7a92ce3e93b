// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("BPF and network namespaces need root")
	}
}

// TestLoad is also what the virtual machines of other kernels run.
func TestLoad(t *testing.T) {
	needRoot(t)
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

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The fast path asks the kernel for routes as lo would (bpf/lib/env.h), which the kernel only answers where lo forwards.
// Nothing comes in by lo that could be forwarded, so this makes no router of the host.
var loForwarding = []struct {
	bit  uint32
	path string
}{
	{1, "/proc/sys/net/ipv4/conf/lo/forwarding"},
	{2, "/proc/sys/net/ipv6/conf/lo/forwarding"},
}

// switchOnForwarding returns the families that were off. A family that the kernel lacks is left out.
func switchOnForwarding() (uint32, error) {
	var switched uint32
	for _, f := range loForwarding {
		now, err := os.ReadFile(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return switched, fmt.Errorf("read %s: %w", f.path, err)
		}
		if !bytes.HasPrefix(now, []byte("0")) {
			continue
		}
		if err := os.WriteFile(f.path, []byte("1"), 0); err != nil {
			return switched, fmt.Errorf("let the kernel answer route questions (%s): %w", f.path, err)
		}
		switched |= f.bit
	}
	return switched, nil
}

func switchOffForwarding(switched uint32) error {
	var errs []error
	for _, f := range loForwarding {
		if switched&f.bit != 0 {
			errs = append(errs, os.WriteFile(f.path, []byte("0"), 0))
		}
	}
	return errors.Join(errs...)
}

// Forwarding is what lo's forwarding is set to, by path.
type Forwarding map[string][]byte

// ReadForwarding reads it; a family that the kernel lacks is left out.
func ReadForwarding() Forwarding {
	all := Forwarding{}
	for _, f := range loForwarding {
		if now, err := os.ReadFile(f.path); err == nil {
			all[f.path] = now
		}
	}
	return all
}

// Restore sets it so again where it is something else now.
func (f Forwarding) Restore() error {
	var errs []error
	for path, was := range f {
		if now, err := os.ReadFile(path); err == nil && !bytes.Equal(now, was) {
			errs = append(errs, os.WriteFile(path, bytes.TrimSpace(was), 0))
		}
	}
	return errors.Join(errs...)
}

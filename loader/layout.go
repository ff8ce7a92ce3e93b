// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
)

const layoutVersion = 7

// ErrLayout says that what is pinned was made by a parry of another map layout.
var ErrLayout = errors.New("the pinned maps have another layout")

// checkLayout refuses maps of another layout before any of them is opened with the wrong types. Nothing is touched then:
// the program that works on them goes on. adopted = there is something, and it can be taken over.
func checkLayout(pin string) (adopted bool, err error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(pin, "maps", bpfMapEdge), nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open what is pinned under %s: %w", pin, err)
	}
	defer m.Close()
	raw, err := m.LookupBytes(uint32(0))
	if err != nil || len(raw) < 4 {
		return false, fmt.Errorf("read the layout version under %s: %w", pin, errors.Join(err, ErrLayout))
	}
	v := binary.NativeEndian.Uint32(raw)
	if v != 0 && v != layoutVersion {
		return false, fmt.Errorf("%w: %d under %s, this parry speaks %d: end its sessions with `parry detach --pin %s` and start again, or run the parry that made them",
			ErrLayout, v, pin, layoutVersion, pin)
	}
	return v != 0, nil
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// writer writes maps by their names; it stops at the first error and keeps it.
type writer struct {
	maps map[string]*ebpf.Map
	err  error
}

func (w *writer) put(name string, key, value any) {
	if w.err != nil {
		return
	}
	if err := w.maps[name].Put(key, value); err != nil {
		w.err = fmt.Errorf("write map %s: %w", name, err)
	}
}

func (w *writer) family(name4, name6 string, k frontKey, value any) {
	if k.addr.Is4() {
		w.put(name4, k.v4(), value)
	} else {
		w.put(name6, k.v6(), value)
	}
}

// array writes a whole array by one batch.
func (w *writer) array(name string, values any) {
	if w.err != nil {
		return
	}
	n := int(w.maps[name].MaxEntries())
	switch v := values.(type) {
	case []uint32:
		n = len(v)
	case []uint8:
		n = len(v)
	}
	if n == 0 {
		return
	}
	keys := make([]uint32, n)
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := w.maps[name].BatchUpdate(keys, values, nil); err != nil {
		w.err = fmt.Errorf("write map %s: %w", name, err)
	}
}

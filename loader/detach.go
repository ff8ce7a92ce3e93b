// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// Detach ends everything that is pinned under pin: programs leave their interfaces, sessions and lists are gone. It
// needs no daemon and works on the pins of any layout. Returns the interfaces that it let go; none and no error
// where nothing was pinned.
func Detach(pin string) ([]string, error) {
	if _, err := os.Stat(pin); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	lock, err := lockPin(pin)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	names, err := detachLinks(pin)
	if err != nil {
		return names, err
	}
	if err := restoreForwarding(pin); err != nil {
		return names, err
	}
	for _, sub := range []string{"links", "maps"} {
		if err := os.RemoveAll(filepath.Join(pin, sub)); err != nil {
			return names, fmt.Errorf("remove what is pinned: %w", err)
		}
	}
	all, err := generations(pin)
	if err != nil {
		return names, err
	}
	for _, n := range all {
		if err := os.RemoveAll(filepath.Join(pin, fmt.Sprint(generationPrefix, n))); err != nil {
			return names, fmt.Errorf("remove what is pinned: %w", err)
		}
	}
	if err := os.Remove(pin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return names, fmt.Errorf("%s holds something that is not parry's: %w", pin, err)
	}
	return names, nil
}

func detachLinks(pin string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(pin, "links"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the links folder: %w", err)
	}
	var names []string
	for _, entry := range entries {
		kind, name, _ := strings.Cut(entry.Name(), "-")
		if err := removePinnedLink(filepath.Join(pin, "links", entry.Name())); err != nil {
			return names, fmt.Errorf("let go of %s: %w", name, err)
		}
		if kind != "xdp" {
			continue
		}
		names = append(names, name)
		if l, err := netlink.LinkByName(name); err == nil {
			for _, h := range tcHooks {
				if err := detachFilter(l.Attrs().Index, h); err != nil {
					return names, err
				}
			}
		}
	}
	return names, nil
}

// restoreForwarding undoes what switchOnForwarding did for this edge. In every layout, struct edge begins as in this one.
func restoreForwarding(pin string) error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(pin, "maps", bpfMapEdge), nil)
	if err != nil {
		return nil // nothing is pinned that could say
	}
	defer m.Close()
	raw, err := m.LookupBytes(uint32(0))
	var w bpfEdge
	if err != nil || len(raw) < int(unsafe.Offsetof(w.Unproven)) {
		return nil // it was no parry's
	}
	raw = append(raw, make([]byte, binary.Size(w))...) // an older layout's is shorter
	if _, err := binary.Decode(raw, binary.NativeEndian, &w); err != nil {
		return fmt.Errorf("read what the edge switched on: %w", err)
	}
	return switchOffForwarding(w.LoForwarding)
}

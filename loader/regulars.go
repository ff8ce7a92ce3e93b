// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Regular is a source that has played.
type Regular struct {
	Addr    netip.Addr // of IPv6 the first of its /64
	Service uint32
	Seen    time.Time // when it last began to; zero: before this machine started, nobody knows when
}

const (
	regularsAtOnce = 4096
	longAgo        = 1 // ns on the kernel's clock: what is before its start can't be told
)

// Regulars reads all that the fast path remembers, in no particular order. To read one keeps it no longer.
func (e *Edge) Regulars() ([]Regular, error) {
	now, err := e.time()
	if err != nil {
		return nil, err
	}
	var all []Regular
	err = e.eachSource(bpfMapRegular, func(k *bpfSourceKey, seen uint64) {
		r := Regular{Addr: regularAddr(k), Service: k.Service}
		if seen > longAgo {
			r.Seen = wallOf(seen, now)
		}
		all = append(all, r)
	})
	return all, err
}

// eachSource reads a map of a time for each source, in batches.
func (e *Edge) eachSource(name string, fn func(k *bpfSourceKey, at uint64)) error {
	keys, at := make([]bpfSourceKey, regularsAtOnce), make([]uint64, regularsAtOnce)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := e.state[name].BatchLookup(&cursor, keys, at, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read map %s: %w", name, err)
		}
		for i := range n {
			fn(&keys[i], at[i])
		}
		if err != nil {
			return nil
		}
	}
}

// AddRegulars has the fast path remember sources. Where there are more than it has room for, some of the oldest go.
func (e *Edge) AddRegulars(list []Regular) error {
	now, err := e.time()
	if err != nil {
		return err
	}
	for some := range slices.Chunk(list, regularsAtOnce) {
		keys, seen := make([]bpfSourceKey, len(some)), make([]uint64, len(some))
		for i, r := range some {
			keys[i], seen[i] = regularKey(r), max(monotonicOf(r.Seen, now), longAgo)
		}
		if _, err := e.state[bpfMapRegular].BatchUpdate(keys, seen, nil); err != nil {
			return fmt.Errorf("write map regular: %w", err)
		}
	}
	return nil
}

// DelRegulars has the fast path forget sources.
func (e *Edge) DelRegulars(list []Regular) error {
	for _, r := range list {
		if err := e.state[bpfMapRegular].Delete(regularKey(r)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete from map regular: %w", err)
		}
	}
	return nil
}

func regularKey(r Regular) bpfSourceKey {
	if a := r.Addr.Unmap(); a.Is4() {
		return bpfSourceKey{Addr: uint64(be32(a)), Service: r.Service, Family: 4}
	}
	b := r.Addr.As16()
	return bpfSourceKey{Addr: binary.NativeEndian.Uint64(b[:8]), Service: r.Service, Family: 6}
}

func regularAddr(k *bpfSourceKey) netip.Addr {
	if k.Family == 4 {
		return addr4(uint32(k.Addr))
	}
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:8], k.Addr)
	return netip.AddrFrom16(b)
}

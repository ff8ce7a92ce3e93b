// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Heavy is a prefix of which many strangers' packets were, over all services.
type Heavy struct {
	Prefix   netip.Prefix // a /24 or /48
	Packets  uint64       // about so many, since it was first told of; it grows, or the prefix is told of anew
	Services uint64       // bit n: some were to a service whose number is n, but for multiples of 64
}

const (
	heavyCells = 4096
	heavyEvery = 16 // HEAVY_EVERY
)

// Heavies are the prefixes of which the most came, each cell's: those that came long ago as well.
func (e *Edge) Heavies() ([]Heavy, error) {
	keys, cells := make([]uint32, heavyCells), make([]bpfHeavy, heavyCells)
	for i := range keys {
		keys[i] = uint32(i)
	}
	var cursor ebpf.MapBatchCursor
	if n, err := e.state[bpfMapHeavy].BatchLookup(&cursor, keys, cells, nil); err != nil && (!errors.Is(err, ebpf.ErrKeyNotExist) || n != len(keys)) {
		return nil, fmt.Errorf("read map heavy: %w", err)
	}
	var all []Heavy
	for i := range cells {
		if c := &cells[i]; c.Prefix != 0 {
			all = append(all, Heavy{Prefix: heavyPrefix(c.Prefix), Packets: uint64(c.Hits) * heavyEvery, Services: c.Services})
		}
	}
	return all, nil
}

func heavyPrefix(v uint64) netip.Prefix {
	if v>>56 == 4 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(v)<<8)
		return netip.PrefixFrom(netip.AddrFrom4(a), 24)
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], v<<16)
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

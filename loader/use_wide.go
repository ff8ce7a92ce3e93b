// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// WideUse is what the sources of an address's prefix together have used of a service's limits, and what all who are not proven have:
// shares of what may come at once, 0 to 1. A limit that is not set is not used.
type WideUse struct {
	Prefix                        netip.Prefix // not valid where prefixes are not limited
	Packets, Bytes, News          float64
	AllPackets, AllBytes, AllNews float64
}

// WideUse reads it. Prefixes that share a cell by chance are told as one, as they are limited.
func (e *Edge) WideUse(a netip.Addr, service uint16) (u WideUse, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gen == nil {
		return u, nil
	}
	now, err := e.time()
	if err != nil {
		return u, err
	}
	var s bpfService
	if err = e.gen.coll.Maps[bpfMapService].Lookup(uint32(service), &s); err != nil {
		return u, fmt.Errorf("read map service: %w", err)
	}
	var all bpfServiceState
	if err = e.state[bpfMapServiceState].Lookup(uint32(service), &all); err != nil {
		return u, fmt.Errorf("read map service_state: %w", err)
	}
	u.AllPackets, u.AllBytes, u.AllNews = usedOf(all.Packets, s.AllPackets, now), usedOf(all.Bytes, s.AllBytes, now), usedOf(all.Sessions, s.AllSessions, now)
	a = a.Unmap()
	bits, family := s.Wide6, uint64(6)
	if a.Is4() {
		bits, family = s.Wide4, 4
	}
	if bits == 0 {
		return u, nil
	}
	if u.Prefix, err = a.Prefix(int(bits)); err != nil {
		return u, fmt.Errorf("a prefix of %v: %w", a, err)
	}
	cell, err := e.prefixCell(u.Prefix, service, family)
	if err != nil {
		return u, err
	}
	var use bpfPrefixUse
	if err = e.state[bpfMapPrefixUse].Lookup(cell, &use); err != nil {
		return u, fmt.Errorf("read map prefix_use: %w", err)
	}
	u.Packets, u.Bytes, u.News = usedOf(use.Packets, s.PrefixPackets, now), usedOf(use.Bytes, s.PrefixBytes, now), usedOf(use.Sessions, s.PrefixSessions, now)
	return u, nil
}

// prefixCell is where a prefix's use is kept (wide_of of bpf/stage/wide.h).
func (e *Edge) prefixCell(p netip.Prefix, service uint16, family uint64) (uint32, error) {
	var secret bpfSecret
	if err := e.state[bpfMapSecret].Lookup(uint32(0), &secret); err != nil {
		return 0, fmt.Errorf("read map secret: %w", err)
	}
	var b [8]byte
	copy(b[:], p.Addr().AsSlice())
	first := binary.BigEndian.Uint64(b[:]) >> (64 - p.Bits())
	h := hashMix(hashMix(first^secret.Key[0]) + (uint64(service)<<16 | uint64(p.Bits())<<8 | family))
	return uint32(h>>32) % e.state[bpfMapPrefixUse].MaxEntries(), nil
}

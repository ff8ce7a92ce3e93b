// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// SourceUse is what a source has used of its limits to one service at this moment: shares of what it may have at once, 0 to 1, and the
// sessions that it has. A limit that is not set is not used.
type SourceUse struct {
	Source               netip.Prefix // that the address is counted in
	Packets, Bytes, News float64
	Sessions             uint32
	Lasting              uint32 // of them, that have lasted
	Factor               uint32 // by which its limits are wider, for it is shared; 1 = it is not
}

// SourceUse reads it; ok = false where the fast path knows nothing of the source, and so nothing is used.
func (e *Edge) SourceUse(a netip.Addr, service uint16) (u SourceUse, ok bool, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gen == nil {
		return u, false, nil
	}
	var s bpfService
	if err = e.gen.coll.Maps[bpfMapService].Lookup(uint32(service), &s); err != nil {
		return u, false, fmt.Errorf("read map service: %w", err)
	}
	bits := int(s.Prefix6)
	if a = a.Unmap(); a.Is4() {
		bits = int(s.Prefix4)
	}
	if u.Source, err = a.Prefix(bits); err != nil {
		return u, false, fmt.Errorf("a source of %v: %w", a, err)
	}
	var raw bpfSource
	err = e.state[bpfMapSource].Lookup(regularKey(Regular{Addr: u.Source.Addr(), Service: uint32(service)}), &raw)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return u, false, nil
	}
	if err != nil {
		return u, false, fmt.Errorf("read map source: %w", err)
	}
	now, err := e.time()
	if err != nil {
		return u, false, err
	}
	u.Lasting, u.Factor = raw.Lasting, 1
	if s.SharedSessions > 0 && raw.Lasting >= s.SharedSessions {
		u.Factor = s.SharedFactor
	}
	u.Packets, u.Bytes, u.News = usedOf(raw.Packets, s.Packets, now), usedOf(raw.Bytes, s.Bytes, now), usedOf(raw.News, s.Sessions, now)
	if u.Sessions = raw.Sessions; u.Sessions >= sourceDying {
		u.Sessions = 0
	}
	return u, true, nil
}

const sourceDying = 1 << 31 // SOURCE_DYING of bpf/abi.h: it goes

// usedOf is how much of a bucket is used: its word is when it will be empty again (bpf/lib/rate.h).
func usedOf(word uint64, r bpfRate, now uint64) float64 {
	ahead := int64(word - now<<8)
	if r.Cost == 0 || r.Burst == 0 || ahead <= 0 {
		return 0
	}
	return min(float64(ahead)/float64(r.Burst), 1)
}

// IsRegular tells whether a source has played.
func (e *Edge) IsRegular(a netip.Addr, service uint16) (bool, error) {
	var seen uint64
	err := e.state[bpfMapRegular].Lookup(regularKey(Regular{Addr: a, Service: uint32(service)}), &seen)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read map regular: %w", err)
	}
	return true, nil
}

// Find gives the entries of a list that hold for an address, for all services and for those named: the host's own and the longest
// prefix's of each.
func (l *Lists) Find(which List, a netip.Addr, services []uint16) ([]Entry, error) {
	now, err := l.time()
	if err != nil {
		return nil, err
	}
	var all []Entry
	a = a.Unmap()
	for _, service := range append([]uint16{0}, services...) {
		k := EntryKey{netip.PrefixFrom(a, a.BitLen()), uint32(service)}
		e, err := l.find(which, k, false)
		if err != nil {
			return nil, err
		}
		if e != nil && !expired(e, now) {
			all = append(all, entryOf(k.Prefix, k.Service, e, now))
		}
		if e, err = l.findNet(which, &k, now); err != nil {
			return nil, err
		}
		if e != nil {
			all = append(all, entryOf(k.Prefix, k.Service, e, now))
		}
	}
	return all, nil
}

func expired(e *bpfListEntry, now uint64) bool { return e.Expires != 0 && e.Expires <= now }

// findNet looks past prefixes that have expired to the next shorter one, as the fast path does. k becomes the prefix's.
func (l *Lists) findNet(which List, k *EntryKey, now uint64) (*bpfListEntry, error) {
	for {
		e, err := l.find(which, *k, true)
		if e == nil || err != nil {
			return nil, err
		}
		bits := int(e.Bits)
		if bits == 0 && !expired(e, now) || bits > k.Prefix.Bits() { // written by bpftool: nobody knows how long it is
			bits = k.Prefix.Bits()
		}
		p := netip.PrefixFrom(k.Prefix.Addr(), bits)
		if !expired(e, now) {
			k.Prefix = p.Masked()
			return e, nil
		}
		if bits == 0 {
			return nil, nil
		}
		k.Prefix = netip.PrefixFrom(p.Addr(), bits-1)
	}
}

func (l *Lists) find(which List, k EntryKey, net bool) (*bpfListEntry, error) {
	s, v4 := l.set(which), k.Prefix.Addr().Is4()
	var e bpfListEntry
	var err error
	switch {
	case net && v4:
		err = s.net4.Lookup(netKey4(k), &e)
	case net:
		err = s.net6.Lookup(netKey6(k), &e)
	case v4:
		err = s.host4.Lookup(hostKey4(k), &e)
	default:
		err = s.host6.Lookup(hostKey6(k), &e)
	}
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look %v up in a list: %w", k.Prefix, err)
	}
	return &e, nil
}

// Get is the entry of a key itself, if it is there and holds.
func (l *Lists) Get(which List, k EntryKey) (Entry, bool, error) {
	now, err := l.time()
	if err != nil {
		return Entry{}, false, err
	}
	k.Prefix = k.Prefix.Masked()
	e, err := l.find(which, k, !k.Prefix.IsSingleIP())
	if err != nil || e == nil || expired(e, now) || (e.Bits != 0 && int(e.Bits) != k.Prefix.Bits()) {
		return Entry{}, false, err
	}
	return entryOf(k.Prefix, k.Service, e, now), true, nil
}

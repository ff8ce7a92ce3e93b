// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/cilium/ebpf"
)

// ErrFull says that a list takes no more entries.
var ErrFull = errors.New("the list is full")

// List is one of the two lists of sources.
type List uint8

// Deny refuses sources, Allow welcomes them and wins.
const (
	Deny List = iota
	Allow
)

// EntrySource is who made an entry.
type EntrySource uint8

// Who can make an entry; FromMap is what bpftool leaves.
const (
	FromMap    = EntrySource(bpfEntrySourceENTRY_SOURCE_MAP)
	FromCLI    = EntrySource(bpfEntrySourceENTRY_SOURCE_CLI)
	FromAPI    = EntrySource(bpfEntrySourceENTRY_SOURCE_API)
	FromDetect = EntrySource(bpfEntrySourceENTRY_SOURCE_DETECT)
	FromFleet  = EntrySource(bpfEntrySourceENTRY_SOURCE_FLEET)
)

// EntryKey names an entry: a prefix, for one service or (0) for all.
type EntryKey struct {
	Prefix  netip.Prefix
	Service uint32
}

// Entry is one source on a list.
type Entry struct {
	EntryKey
	Reason     string // at most 39 bytes; the rest is cut
	Source     EntrySource
	Confidence uint8 // percent; 0 = not said
	Added      time.Time
	Expires    time.Time // zero = never
	Hits       uint64
	Unlimited  bool
}

// Lists are the deny and allow lists of an edge, whether or not its daemon runs. Safe for concurrent use within one
// process; two processes that change prefixes at once may leave a filter bit unset until the daemon's next look.
type Lists struct {
	maps  map[string]*ebpf.Map
	owned bool   // close the maps
	pin   string // where service names are found, unless the edge knows them
	edge  *Edge  // nil: its daemon doesn't run, or is another process

	mu               sync.Mutex // guards the prefixes and their filters, which change together, and what the filters hold
	filter4, filter6 written
	allowFilter4     written

	allowing   sync.Mutex // guards the allowed hosts of IPv4 and their filter, which change together, and the three below
	allowHosts written
	allowed    uint64    // memory of the hosts that it was derived from
	swept      uint64    // how many of them a sweep had taken off by then
	derived    time.Time // when that was

	bumping sync.Mutex // guards all below
	bumped  time.Time
	next    *bump // that will be; nil = none is awaited

	asked   sync.Once // about the next
	counted bool      // NetCount can tell
}

var listMaps = []string{
	bpfMapDenyHost4, bpfMapDenyHost6, bpfMapDenyNet4, bpfMapDenyNet6, bpfMapAllowHost4, bpfMapAllowHost6,
	bpfMapAllowNet4, bpfMapAllowNet6, bpfMapNetFilter4, bpfMapNetFilter6, bpfMapAllowFilter4,
	bpfMapAllowHosts4, bpfMapAllowLooked, bpfMapDenial, bpfMapEpoch, bpfMapLoosened,
}

// Lists of a running edge.
func (e *Edge) Lists() *Lists { return &Lists{maps: e.state, edge: e} }

// OpenLists opens the lists that are pinned under pin.
func OpenLists(pin string) (*Lists, error) {
	if _, err := checkLayout(pin); err != nil {
		return nil, err
	}
	l := &Lists{maps: map[string]*ebpf.Map{}, owned: true, pin: pin}
	for _, name := range listMaps {
		m, err := ebpf.LoadPinnedMap(filepath.Join(pin, "maps", name), nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("no lists are pinned under %s: %w", pin, err), l.Close())
		}
		l.maps[name] = m
	}
	return l, nil
}

// Close lets go of what OpenLists opened.
func (l *Lists) Close() error {
	if !l.owned {
		return nil
	}
	var errs []error
	for _, m := range l.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// Services gives the number of each service by name.
func (l *Lists) Services() (map[string]uint32, error) {
	names := map[string]uint32{}
	if l.edge != nil {
		for i, name := range l.edge.ServiceNames() {
			names[name] = uint32(i)
		}
		delete(names, "")
		return names, nil
	}
	services, err := pinnedServices(l.pin)
	for i, s := range services {
		if i > 0 {
			names[text(s.Name[:])] = uint32(i)
		}
	}
	return names, err
}

type listSet struct{ host4, host6, net4, net6 *ebpf.Map }

func (l *Lists) set(which List) listSet {
	m := l.maps
	if which == Allow {
		return listSet{m[bpfMapAllowHost4], m[bpfMapAllowHost6], m[bpfMapAllowNet4], m[bpfMapAllowNet6]}
	}
	return listSet{m[bpfMapDenyHost4], m[bpfMapDenyHost6], m[bpfMapDenyNet4], m[bpfMapDenyNet6]}
}

// time is what expiries are judged by.
func (l *Lists) time() (uint64, error) {
	if l.edge != nil {
		return l.edge.time()
	}
	return Monotonic(), nil
}

func rawEntry(e *Entry, now uint64) bpfListEntry {
	out := bpfListEntry{Source: uint8(e.Source), Confidence: e.Confidence, Unlimited: flag(e.Unlimited), Bits: uint8(e.Prefix.Bits())}
	if !e.Expires.IsZero() {
		out.Expires = monotonicOf(e.Expires, now)
	}
	if !e.Added.IsZero() {
		out.Added = uint32(e.Added.Unix())
	}
	copy(out.Reason[:len(out.Reason)-1], e.Reason)
	return out
}

func entryOf(p netip.Prefix, service uint32, v *bpfListEntry, now uint64) Entry {
	e := Entry{
		EntryKey: EntryKey{p, service}, Reason: text(v.Reason[:]), Source: EntrySource(v.Source), Confidence: v.Confidence,
		Hits: v.Hits, Unlimited: v.Unlimited != 0,
	}
	if v.Added != 0 {
		e.Added = time.Unix(int64(v.Added), 0).UTC()
	}
	if v.Expires != 0 {
		e.Expires = wallOf(v.Expires, now).UTC().Round(time.Millisecond)
	}
	return e
}

func hostKey4(k EntryKey) bpfHostKey4 {
	return bpfHostKey4{Service: k.Service, Addr: be32(k.Prefix.Addr())}
}

func hostKey6(k EntryKey) bpfHostKey6 {
	return bpfHostKey6{Service: k.Service, Addr: k.Prefix.Addr().As16()}
}

func netKey4(k EntryKey) bpfNetKey4 {
	return bpfNetKey4{Prefixlen: 32 + uint32(k.Prefix.Bits()), Service: k.Service, Addr: be32(k.Prefix.Addr())}
}

func netKey6(k EntryKey) bpfNetKey6 {
	return bpfNetKey6{Prefixlen: 32 + uint32(k.Prefix.Bits()), Service: k.Service, Addr: k.Prefix.Addr().As16()}
}

// Add puts entries on a list, in place of those of the same key, and has every flow re-check. When it returns, new
// sessions are judged by them, and live ones at their next packet.
func (l *Lists) Add(which List, entries []Entry) error {
	change, err := l.put(which, entries)
	if err != nil {
		return err
	}
	return l.bump(change)
}

// Deny puts entries on the deny list without waiting for live sessions to hear of it: who calls has them do so (Recheck), soon.
func (l *Lists) Deny(entries []Entry) error {
	_, err := l.put(Deny, entries)
	return err
}

// put writes entries; change says what that does to policy.
func (l *Lists) put(which List, entries []Entry) (change bool, err error) {
	now, err := l.time()
	if err != nil {
		return false, err
	}
	var b batches
	change = which == Allow
	for i := range entries {
		raw := rawEntry(&entries[i], now)
		if raw.Expires != 0 && raw.Expires < now+uint64(denialOver) { // it may end before what is noted of the one that it replaces
			change = looser
		}
		b.add(entries[i].EntryKey, raw)
	}
	return change, l.write(which, &b)
}

// write writes entries. Hosts don't wait for prefixes' filters.
func (l *Lists) write(which List, b *batches) error {
	s := l.set(which)
	if which == Allow && len(b.host4) > 0 {
		l.allowing.Lock()
		defer l.allowing.Unlock()
		if err := l.markAllowed(b.host4keys); err != nil {
			return err
		}
	}
	if len(b.net4)+len(b.net6) > 0 {
		l.mu.Lock() // until the prefixes are there, or their bits might be taken for nobody's
		defer l.mu.Unlock()
		if err := l.markFilters(which, b.net4keys, b.net6keys); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		m            *ebpf.Map
		n            int
		keys, values any
	}{
		{s.host4, len(b.host4), b.host4keys, b.host4}, {s.host6, len(b.host6), b.host6keys, b.host6},
		{s.net4, len(b.net4), b.net4keys, b.net4}, {s.net6, len(b.net6), b.net6keys, b.net6},
	} {
		if step.n == 0 {
			continue
		}
		if _, err := step.m.BatchUpdate(step.keys, step.values, nil); err != nil {
			if isFull(err) {
				return fmt.Errorf("%w: it holds %d entries (sizes.blocks for denied hosts, sizes.allows for allowed ones, sizes.prefixes for prefixes)", ErrFull, step.m.MaxEntries())
			}
			return fmt.Errorf("write a list: %w", err)
		}
	}
	return nil
}

type batches struct {
	host4keys []bpfHostKey4
	host6keys []bpfHostKey6
	net4keys  []bpfNetKey4
	net6keys  []bpfNetKey6

	host4, host6, net4, net6 []bpfListEntry
}

func (b *batches) add(k EntryKey, v bpfListEntry) {
	k.Prefix = k.Prefix.Masked()
	switch v4 := k.Prefix.Addr().Is4(); {
	case v4 && k.Prefix.IsSingleIP():
		b.host4keys, b.host4 = append(b.host4keys, hostKey4(k)), append(b.host4, v)
	case v4:
		b.net4keys, b.net4 = append(b.net4keys, netKey4(k)), append(b.net4, v)
	case k.Prefix.IsSingleIP():
		b.host6keys, b.host6 = append(b.host6keys, hostKey6(k)), append(b.host6, v)
	default:
		b.net6keys, b.net6 = append(b.net6keys, netKey6(k)), append(b.net6, v)
	}
}

// Del takes entries off a list. Returns how many were there.
func (l *Lists) Del(which List, keys []EntryKey) (int, error) {
	s := l.set(which)
	deleted := 0
	for _, k := range keys {
		k.Prefix = k.Prefix.Masked()
		var err error
		switch v4 := k.Prefix.Addr().Is4(); {
		case v4 && k.Prefix.IsSingleIP():
			err = s.host4.Delete(hostKey4(k))
		case v4:
			err = s.net4.Delete(netKey4(k))
		case k.Prefix.IsSingleIP():
			err = s.host6.Delete(hostKey6(k))
		default:
			err = s.net6.Delete(netKey6(k))
		}
		if err == nil {
			deleted++
		} else if !errors.Is(err, ebpf.ErrKeyNotExist) {
			return deleted, fmt.Errorf("delete %v: %w", k.Prefix, err)
		}
	}
	if which == Allow {
		l.allowing.Lock()
		l.derived = time.Time{} // by how many there are it can't be told any more whether bpftool added one
		l.allowing.Unlock()
	}
	return deleted, l.bump(which == Deny)
}

// Entries walks a list; entries past their expiry are left out. An entry that changes meanwhile may be met or not.
func (l *Lists) Entries(which List) iter.Seq2[Entry, error] {
	s := l.set(which)
	return func(yield func(Entry, error) bool) {
		now, err := l.time()
		if which == Deny {
			err = errors.Join(err, l.settle())
		}
		each := func(p netip.Prefix, service uint32, v *bpfListEntry) bool {
			if v.Expires != 0 && v.Expires <= now {
				return true
			}
			return yield(entryOf(p, service, v, now), nil)
		}
		if err == nil {
			err = batchEach(s.host4, func(k *bpfHostKey4, v *bpfListEntry) bool {
				return each(netip.PrefixFrom(addr4(k.Addr), 32), k.Service, v)
			})
		}
		if err == nil {
			err = batchEach(s.host6, func(k *bpfHostKey6, v *bpfListEntry) bool {
				return each(netip.PrefixFrom(netip.AddrFrom16(k.Addr), 128), k.Service, v)
			})
		}
		if err == nil {
			err = batchEach(s.net4, func(k *bpfNetKey4, v *bpfListEntry) bool {
				return each(netip.PrefixFrom(addr4(k.Addr), int(k.Prefixlen)-32), k.Service, v)
			})
		}
		if err == nil {
			err = batchEach(s.net6, func(k *bpfNetKey6, v *bpfListEntry) bool {
				return each(netip.PrefixFrom(netip.AddrFrom16(k.Addr), int(k.Prefixlen)-32), k.Service, v)
			})
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, fmt.Errorf("read a list: %w", err))
		}
	}
}

var errStop = errors.New("the caller has seen enough")

// batchEach hands every entry of a list to each, until that returns false (errStop).
func batchEach[K, V any](m *ebpf.Map, each func(*K, *V) bool) error {
	keys, values := make([]K, 4096), make([]V, 4096)
	var cursor ebpf.MapBatchCursor
	for seen := 0; ; {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		for i := range n {
			if !each(&keys[i], &values[i]) {
				return errStop
			}
		}
		if err != nil {
			return nil
		}
		// A trie's walk begins anew where the last entry of a batch is deleted before the next: not for ever.
		if seen += n; seen > 2*int(m.MaxEntries()) {
			return ebpf.ErrIterationAborted
		}
	}
}

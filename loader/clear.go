// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
)

// Clear forgets what packets, lists and routes left in an injected edge's maps: the next test finds it as it was made, with
// the generation that it has. Counters go on, and so do the numbers of services, the NAT addresses and the links. Lists that
// were had before know nothing of it.
func (e *Edge) Clear() error {
	if !e.opts.Injected {
		return errors.New("only an edge of a test forgets")
	}
	var hops []uint32
	if err := eachOf(e.state[bpfMapHopIndex], func(_ []byte, i uint32) { hops = append(hops, i) }); err != nil {
		return err
	}
	for _, i := range hops {
		if err := e.state[bpfMapHop].Put(i, bpfHop{}); err != nil {
			return fmt.Errorf("write map hop: %w", err)
		}
	}
	if err := e.clearFilters(); err != nil {
		return err
	}
	for _, name := range []string{
		bpfMapFlow4, bpfMapFlow6, bpfMapSource, bpfMapFrag, bpfMapDenyHost4, bpfMapDenyHost6, bpfMapAllowHost4, bpfMapAllowHost6,
		bpfMapDenyNet4, bpfMapDenyNet6, bpfMapAllowNet4, bpfMapAllowNet6, bpfMapHopIndex, bpfMapRegular, bpfMapDoubt,
		bpfMapShadowBook, bpfMapShadowSource, bpfMapWatchFlag,
	} {
		if err := empty(e.state[name]); err != nil {
			return err
		}
	}
	if err := zero[bpfDenialLine](e.state[bpfMapDenial]); err != nil {
		return err
	}
	for b := range uint32(bpfBucketBUCKET_LEN) {
		if err := e.state[bpfMapHostBucket].Put(b, uint64(0)); err != nil {
			return fmt.Errorf("write map host_bucket: %w", err)
		}
	}
	if err := errors.Join(zero[bpfUnproven4](e.state[bpfMapUnproven4]), zero[bpfUnproven6](e.state[bpfMapUnproven6]),
		zero[bpfProxied](e.state[bpfMapProxiedCell]), zero[bpfServiceState](e.state[bpfMapServiceState]), zero[bpfServiceMode](e.state[bpfMapServiceMode]), zero[uint64](e.state[bpfMapRuleBucket]),
		zero[bpfPrefixUse](e.state[bpfMapPrefixUse]), zero[bpfWatch](e.state[bpfMapWatch])); err != nil {
		return err
	}
	if e.gen != nil {
		if err := e.setRuleModes(e.gen.rules.modes, false); err != nil {
			return err
		}
	}
	return errors.Join(e.clearServers(),
		e.state[bpfMapEdge].Put(uint32(0), bpfEdge{Layout: layoutVersion}), e.state[bpfMapEpoch].Put(uint32(0), uint32(0)),
		e.state[bpfMapLoosened].Put(uint32(0), uint32(0)),
		e.natFamily(true).clear(), e.natFamily(false).clear())
}

// ClearHashed forgets the host's sources, and of strangers what is kept by hash, all of which Clear leaves: there is much of it, and a test
// knows which it used.
func (e *Edge) ClearHashed() error {
	return errors.Join(zero[uint64](e.state[bpfMapHostSource]), zero[uint64](e.state[bpfMapPrefixWord]),
		zero[uint64](e.state[bpfMapRuleCell]), zero[bpfHeavy](e.state[bpfMapHeavy]), zero[bpfGreyLine](e.state[bpfMapGreylist]), zero[bpfSketchLine](e.state[bpfMapSketch]))
}

// zero writes every value of an array.
func zero[V any](m *ebpf.Map) error {
	keys := make([]uint32, m.MaxEntries())
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := m.BatchUpdate(keys, make([]V, len(keys)), nil); err != nil {
		return fmt.Errorf("write %v: %w", m, err)
	}
	return nil
}

// clearFilters empties the small filters, and takes the bits of the prefixes that are listed out of the large ones; there those of
// prefixes that went are left, as always.
func (e *Edge) clearFilters() error {
	for _, name := range []string{bpfMapAllowFilter4, bpfMapAllowHosts4} {
		if err := newFilterBits(0).replaceAll(e.state[name], &written{}); err != nil {
			return err
		}
	}
	if err := zero[uint64](e.state[bpfMapAllowLooked]); err != nil {
		return err
	}
	f := newFilters()
	for _, which := range []List{Deny, Allow} {
		s := e.Lists().set(which)
		err := errors.Join(
			batchEach(s.net4, func(k *bpfNetKey4, _ *bpfListEntry) bool { f.add4(which, *k); return true }),
			batchEach(s.net6, func(k *bpfNetKey6, _ *bpfListEntry) bool { f.v6.add6(*k); return true }))
		if err != nil {
			return fmt.Errorf("read the prefix lists: %w", err)
		}
	}
	return e.Lists().eachFilter(f, func(b *filterBits, m *ebpf.Map, _ *written) error {
		if b.all {
			return newFilterBits(0).replaceAll(m, &written{})
		}
		for w := range b.words {
			if err := m.Put(w, uint64(0)); err != nil {
				return fmt.Errorf("write a prefix filter: %w", err)
			}
		}
		return nil
	})
}

// clearServers forgets the ways to servers, which the generation's map keeps.
func (e *Edge) clearServers() error {
	if e.gen == nil {
		return nil
	}
	m := e.gen.coll.Maps[bpfMapServer]
	for i := range m.MaxEntries() {
		var s bpfServer
		if err := m.Lookup(i, &s); err != nil {
			return fmt.Errorf("read map server: %w", err)
		}
		s.Way = 0
		if err := m.Put(i, s); err != nil {
			return fmt.Errorf("write map server: %w", err)
		}
	}
	return nil
}

// eachOf hands every entry of a hash to fn.
func eachOf[V any](m *ebpf.Map, fn func(key []byte, v V)) error {
	var key []byte
	var v V
	it := m.Iterate()
	for it.Next(&key, &v) {
		fn(slices.Clone(key), v)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("walk map %s: %w", m, err)
	}
	return nil
}

func empty(m *ebpf.Map) error {
	var keys [][]byte
	if err := eachOf(m, func(key []byte, _ []byte) { keys = append(keys, key) }); err != nil {
		return err
	}
	for _, k := range keys {
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("empty map %s: %w", m, err)
		}
	}
	return nil
}

// clear puts every address's ports back into its ring, lowest first.
func (f natFamily) clear() error {
	known, err := f.read()
	if err != nil {
		return err
	}
	for i, n := range known {
		if n.Last == 0 {
			continue
		}
		u, err := f.portUse(uint32(i), n)
		if err != nil {
			return err
		}
		ports := append(u.Free, u.Used...)
		slices.Sort(ports)
		if err := f.clearSlots(uint32(i), ports); err != nil {
			return err
		}
		if err := f.writeRing(uint32(i), n, ports); err != nil {
			return err
		}
	}
	return nil
}

func (f natFamily) clearSlots(i uint32, ports []uint16) error {
	for _, p := range ports {
		var zero any = bpfFlow4{}
		if !f.v4 {
			zero = bpfNat6{}
		}
		if err := f.slot.Put(i*portsOfAddr+uint32(p), zero); err != nil {
			return fmt.Errorf("write NAT port %d: %w", p, err)
		}
	}
	return nil
}

func (f natFamily) writeRing(i uint32, n bpfNatAddr, ports []uint16) error {
	for at := n.Head; at != n.Tail; at++ {
		if err := f.ring.Put(i*portsOfAddr+at%portsOfAddr, bpfPortCell{}); err != nil {
			return fmt.Errorf("write the ring of ports: %w", err)
		}
	}
	for at, p := range ports {
		if err := f.ring.Put(i*portsOfAddr+uint32(at), bpfPortCell{Port: p}); err != nil {
			return fmt.Errorf("write the ring of ports: %w", err)
		}
	}
	n.Head, n.Tail = 0, uint32(len(ports))
	if err := f.addrs.Put(i, n); err != nil {
		return fmt.Errorf("write map nat_addr: %w", err)
	}
	return nil
}

// CountEntries counts a state map's entries.
func (e *Edge) CountEntries(name string) (int, error) {
	n := 0
	err := iterate(e, bpfProgCountElems, name, func(*uint8) error { n++; return nil })
	return n, err
}

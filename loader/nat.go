// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
)

// natFamily is one family's NAT addresses. An address keeps its index for as long as the maps live: sessions name it.
type natFamily struct {
	v4                       bool
	log                      *slog.Logger
	addrs, ring, index, slot *ebpf.Map
}

func (e *Edge) natFamily(v4 bool) natFamily {
	if v4 {
		return natFamily{true, e.log, e.state[bpfMapNatAddr4], e.state[bpfMapNatRing4], e.state[bpfMapNatIndex4], e.state[bpfMapNat4]}
	}
	return natFamily{false, e.log, e.state[bpfMapNatAddr6], e.state[bpfMapNatRing6], e.state[bpfMapNatIndex6], e.state[bpfMapNat6]}
}

func (f natFamily) indexKey(a netip.Addr) any {
	if f.v4 {
		return be32(a)
	}
	return bpfIn6{Addr: addr16(a)}
}

func (f natFamily) read() ([]bpfNatAddr, error) {
	all := make([]bpfNatAddr, f.addrs.MaxEntries())
	for i := range all {
		if err := f.addrs.Lookup(uint32(i), &all[i]); err != nil {
			return nil, fmt.Errorf("read NAT address %d: %w", i, err)
		}
	}
	return all, nil
}

// ensure gives every address an index and a ring of free ports. New addresses become visible to packets last.
func (f natFamily) ensure(addrs []netip.Addr, first, last uint16, taken map[uint16]bool) (map[netip.Addr]uint32, error) {
	known, err := f.read()
	if err != nil {
		return nil, err
	}
	index := map[netip.Addr]uint32{}
	for _, a := range addrs {
		i := slices.IndexFunc(known, func(n bpfNatAddr) bool { return n.Last != 0 && n.Addr == addr16(a) })
		if i < 0 {
			i = slices.IndexFunc(known, func(n bpfNatAddr) bool { return n.Last == 0 })
		}
		if i < 0 {
			return nil, fmt.Errorf("no room for NAT address %v: the pinned maps hold %d; `parry detach` and a new start make room", a, len(known))
		}
		if known[i], err = f.fill(uint32(i), known[i], a, first, last, taken); err != nil {
			return nil, fmt.Errorf("NAT address %v: %w", a, err)
		}
		index[a] = uint32(i)
	}
	return index, nil
}

// fill puts a new address's ports into its ring. One that has a ring keeps it as it is: packets are taking ports from
// it, and only they may move its head.
func (f natFamily) fill(i uint32, n bpfNatAddr, a netip.Addr, first, last uint16, taken map[uint16]bool) (bpfNatAddr, error) {
	if n.Last != 0 {
		if first != n.First || last != n.Last {
			f.log.Warn("a NAT address keeps its ports while the maps hold state; `parry detach` and a new start apply the new ones",
				"address", a, "ports", fmt.Sprintf("%d-%d", n.First, n.Last), "wanted", fmt.Sprintf("%d-%d", first, last))
		}
		return n, nil
	}
	var keys []uint32
	var cells []bpfPortCell
	for p := uint32(first); p <= uint32(last); p++ {
		if !taken[uint16(p)] {
			keys = append(keys, i*portsOfAddr+uint32(len(keys)))
			cells = append(cells, bpfPortCell{Port: uint16(p)})
		}
	}
	if len(keys) > 0 {
		if _, err := f.ring.BatchUpdate(keys, cells, nil); err != nil {
			return n, fmt.Errorf("fill the ring of ports: %w", err)
		}
	}
	n = bpfNatAddr{Addr: addr16(a), First: first, Last: last, Ports: uint32(len(keys)), Tail: uint32(len(keys))}
	if err := f.addrs.Put(i, n); err != nil {
		return n, fmt.Errorf("write map nat_addr: %w", err)
	}
	if err := f.index.Put(f.indexKey(a), i); err != nil {
		return n, fmt.Errorf("write map nat_index: %w", err)
	}
	return n, nil
}

// circulating finds which of the given ports some of the known addresses gives out or has given out.
func (f natFamily) circulating(known []bpfNatAddr, ports []uint16) (map[uint16]bool, error) {
	in := map[uint16]bool{}
	if len(ports) == 0 || !slices.ContainsFunc(known, func(n bpfNatAddr) bool { return n.Last != 0 }) {
		return in, nil
	}
	free, err := f.freePorts()
	if err != nil {
		return nil, err
	}
	for i, n := range known {
		for _, p := range ports {
			if n.Last == 0 || p < n.First || p > n.Last || in[p] {
				continue
			}
			used, err := f.used(uint32(i)*portsOfAddr + uint32(p))
			if err != nil {
				return nil, err
			}
			in[p] = used || free[p]
		}
	}
	return in, nil
}

func (f natFamily) freePorts() (*[portsOfAddr]bool, error) {
	free := new([portsOfAddr]bool)
	keys, cells := make([]uint32, 4096), make([]bpfPortCell, 4096)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := f.ring.BatchLookup(&cursor, keys, cells, nil)
		for _, c := range cells[:n] {
			free[c.Port] = true
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return free, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the ring of ports: %w", err)
		}
	}
}

func (f natFamily) used(slot uint32) (bool, error) {
	if f.v4 {
		var s bpfFlow4
		err := f.slot.Lookup(slot, &s)
		return s.F.State != 0, err
	}
	var s bpfNat6
	err := f.slot.Lookup(slot, &s)
	return s.Flow.F.State != 0, err
}

// natPlan is what one generation needs to know of NAT.
type natPlan struct {
	pick  []uint32                 // indexes of addresses
	spans map[string][2]uint16     // server's list of addresses -> its window in pick
	ports [portsOfAddr / 64]uint64 // a bit a port in wire order: some address gives it out
	addrs map[netip.Addr]struct{}  // all that are in use
}

// planNAT makes room for every NAT address that the plan names.
func (e *Edge) planNAT(p *Plan) (*natPlan, error) {
	np := &natPlan{spans: map[string][2]uint16{}, addrs: map[netip.Addr]struct{}{}}
	taken := map[uint16]bool{}
	var fronts []uint16
	for _, s := range p.Services {
		for _, f := range s.Fronts {
			for port := uint32(f.First); port <= uint32(f.Last); port++ {
				if !taken[uint16(port)] {
					taken[uint16(port)] = true
					fronts = append(fronts, uint16(port))
				}
			}
		}
	}
	var lists [][]netip.Addr
	for _, pool := range p.Pools {
		for _, s := range pool.Servers {
			lists = append(lists, s.NAT)
		}
	}
	for _, v4 := range []bool{true, false} {
		f := e.natFamily(v4)
		older, err := f.read() // a ring that is made now gets none of the services' ports
		if err != nil {
			return nil, err
		}
		index, err := f.ensure(distinct(lists, v4), p.NATPorts[0], p.NATPorts[1], taken)
		if err != nil {
			return nil, err
		}
		np.add(lists, v4, index)
		if err := np.addPorts(f, older, fronts); err != nil {
			return nil, err
		}
	}
	return np, nil
}

func distinct(lists [][]netip.Addr, v4 bool) []netip.Addr {
	var all []netip.Addr
	for _, l := range lists {
		for _, a := range l {
			if a.Is4() == v4 && !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

func (np *natPlan) add(lists [][]netip.Addr, v4 bool, index map[netip.Addr]uint32) {
	for _, l := range lists {
		key := fmt.Sprint(l)
		if _, ok := np.spans[key]; ok || len(l) == 0 || l[0].Is4() != v4 {
			continue
		}
		first := len(np.pick)
		for _, a := range l {
			np.pick = append(np.pick, index[a])
			np.addrs[a] = struct{}{}
		}
		np.spans[key] = [2]uint16{uint16(first), uint16(len(l))}
	}
}

// addPorts marks the ports of every ring, less the services' own where no ring has them: their packets need not be
// looked for among NAT's.
func (np *natPlan) addPorts(f natFamily, older []bpfNatAddr, fronts []uint16) error {
	known, err := f.read()
	if err != nil {
		return err
	}
	in, err := f.circulating(older, fronts)
	if err != nil {
		return err
	}
	front := map[uint16]bool{}
	for _, p := range fronts {
		front[p] = true
	}
	for _, n := range known {
		if n.Last == 0 {
			continue
		}
		for p := uint32(n.First); p <= uint32(n.Last); p++ {
			if !front[uint16(p)] || in[uint16(p)] {
				wire := be16(uint16(p))
				np.ports[wire>>6] |= 1 << (wire & 63)
			}
		}
	}
	return nil
}

// PortUse says where a NAT address's ports are. A port is in one of the two, or is on its way between them.
type PortUse struct {
	Addr netip.Addr
	All  int      // how many it has
	Free []uint16 // in the order in which they will be given out; those at rest too
	Used []uint16 // by a session that has not been deleted yet
}

// Ports tells of every NAT address, IPv4 first. It reads each port's slot: not for every second.
func (e *Edge) Ports() ([]PortUse, error) {
	var all []PortUse
	for _, v4 := range []bool{true, false} {
		f := e.natFamily(v4)
		known, err := f.read()
		if err != nil {
			return nil, err
		}
		for i, n := range known {
			if n.Last == 0 {
				continue
			}
			u, err := f.portUse(uint32(i), n)
			if err != nil {
				return nil, err
			}
			all = append(all, u)
		}
	}
	return all, nil
}

func (f natFamily) portUse(i uint32, n bpfNatAddr) (PortUse, error) {
	u := PortUse{Addr: addrOf(n.Addr, f.v4), All: int(n.Ports)}
	for at := n.Head; at != n.Tail; at++ {
		var c bpfPortCell
		if err := f.ring.Lookup(i*portsOfAddr+at%portsOfAddr, &c); err != nil {
			return u, fmt.Errorf("read the ring of ports: %w", err)
		}
		u.Free = append(u.Free, c.Port)
	}
	for p := uint32(n.First); p <= uint32(n.Last); p++ {
		used, err := f.used(i*portsOfAddr + p)
		if err != nil {
			return u, fmt.Errorf("read NAT port %d: %w", p, err)
		}
		if used {
			u.Used = append(u.Used, uint16(p))
		}
	}
	return u, nil
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// ServiceCount is what one service, or (number 0) the host's own traffic, has carried.
type ServiceCount struct {
	Up, Down                 Direction
	Pass, Drop, TX, Redirect uint64
	Reasons                  map[string]ReasonCount // by name, those that ever happened
}

// ReasonCount is what one reason has dropped, and would have were policy enforced.
type ReasonCount struct{ Packets, Bytes, ShadowPackets, ShadowBytes uint64 }

// Counters reads the exact counters of every service, by number.
func (e *Edge) Counters() ([]ServiceCount, error) {
	all, err := e.Totals()
	for i := range all {
		if err == nil {
			all[i].Reasons, err = e.ReasonsOf(i)
		}
	}
	return all, err
}

// Totals is Counters without the reasons, of which there are many: for those who look often.
func (e *Edge) Totals() ([]ServiceCount, error) {
	all := make([]ServiceCount, len(e.ServiceNames()))
	perCPU := make([]bpfServiceCount, ebpf.MustPossibleCPU())
	for i := range all {
		if err := e.state[bpfMapServiceCount].Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read map service_count: %w", err)
		}
		for _, c := range perCPU {
			all[i].add(&c)
		}
	}
	return all, nil
}

func (s *ServiceCount) add(c *bpfServiceCount) {
	s.Up.Packets += c.UpPackets
	s.Up.Bytes += c.UpBytes
	s.Down.Packets += c.DownPackets
	s.Down.Bytes += c.DownBytes
	s.Pass += c.Pass
	s.Drop += c.Drop
	s.TX += c.Tx
	s.Redirect += c.Redirect
}

// ReasonsOf reads why packets of one service were dropped.
func (e *Edge) ReasonsOf(service int) (map[string]ReasonCount, error) {
	var all map[string]ReasonCount
	perCPU := make([]bpfReasonCount, ebpf.MustPossibleCPU())
	for r, name := range e.names.Reasons {
		if name == "" || r == 0 {
			continue
		}
		if err := e.state[bpfMapReasonCount].Lookup(uint32(service*reasonsMax+r), &perCPU); err != nil {
			return nil, fmt.Errorf("read map reason_count: %w", err)
		}
		var sum ReasonCount
		for _, c := range perCPU {
			sum.Packets += c.Packets
			sum.Bytes += c.Bytes
			sum.ShadowPackets += c.ShadowPackets
			sum.ShadowBytes += c.ShadowBytes
		}
		if sum != (ReasonCount{}) {
			if all == nil {
				all = map[string]ReasonCount{}
			}
			all[name] = sum
		}
	}
	return all, nil
}

// Faults reads what went wrong inside and was no packet's fault, by name.
func (e *Edge) Faults() (map[string]uint64, error) {
	out := map[string]uint64{}
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	for i, name := range e.names.Faults {
		if err := e.state[bpfMapFaultCount].Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read map fault_count: %w", err)
		}
		for _, n := range perCPU {
			out[name] += n
		}
	}
	return out, nil
}

// Fill is how full a table is.
type Fill struct {
	Name          string
	Entries, Size uint64
}

// Fills tells how full the tables are that can fill up; the prefix lists, which can't be counted cheaply, aside.
func (e *Edge) Fills() ([]Fill, error) {
	var all []Fill
	for _, name := range []string{
		bpfMapFlow4, bpfMapFlow6, bpfMapSource, bpfMapDenyHost4, bpfMapDenyHost6, bpfMapAllowHost4, bpfMapAllowHost6, bpfMapHopIndex,
	} {
		f := Fill{Name: name, Size: uint64(e.state[name].MaxEntries())}
		err := iterate(e, bpfProgCountElems, name, func(*uint8) error { f.Entries++; return nil })
		if err != nil {
			return nil, fmt.Errorf("count map %s: %w", name, err)
		}
		all = append(all, f)
	}
	for _, v4 := range []bool{true, false} {
		f, err := e.natFill(v4)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// natFill counts ports of NAT addresses: those of sessions are taken. One at rest is back in its ring, and counts as free.
func (e *Edge) natFill(v4 bool) (Fill, error) {
	f := Fill{Name: "nat6_ports"}
	if v4 {
		f.Name = "nat4_ports"
	}
	known, err := e.natFamily(v4).read()
	for _, n := range known {
		if n.Last == 0 {
			continue
		}
		f.Size += uint64(n.Ports)
		f.Entries += uint64(n.Ports) - uint64(n.Tail-n.Head)
	}
	return f, err
}

// ServiceNames gives the name of each service number of the running generation; index 0 is the host's own traffic.
func (e *Edge) ServiceNames() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gen == nil {
		return []string{""}
	}
	return e.gen.names
}

// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"net/netip"

	"parry/loader"
)

const (
	begins      = 16384 // sessions that a sample makes
	knownOnes   = 4096  // sources that were there before
	beginNATs   = 4
	beginFirst  = 1024 // of NAT's ports
	beginPorts  = beginNATs * (natLast - beginFirst + 1)
	beginsTaken = beginPorts * 9 / 10
)

// beginning is an edge that is made anew for each sample: what a session takes it keeps.
type beginning struct {
	e      *edge
	driver *driver
	taken  uint32 // sessions that are there before the sample
}

// openBeginning makes the first of them.
func (b *bench) openBeginning(name string, sources, taken uint32) (*beginning, error) {
	e, err := b.openEdge(sizes())
	if err != nil {
		return nil, err
	}
	d, err := b.strangers(name, crowdVIP(), sources, false)
	if err != nil {
		return nil, err
	}
	return &beginning{e: e, driver: d, taken: taken}, nil
}

// anew is what happens before each sample of p.
func (x *beginning) anew(p *probe) error {
	if err := errors.Join(x.e.check(), x.e.Close(), x.e.open(sizes())); err != nil {
		return err
	}
	plan := newPlan()
	plan.NATPorts[0] = beginFirst
	var nat []netip.Addr
	for i := range beginNATs {
		nat = append(nat, netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)}))
	}
	lead(plan, loader.NAT, crowdVIP(), at("198.51.100.9", gamePort), nat...)
	if err := x.e.use(plan); err != nil {
		return err
	}
	p.program, _ = x.e.Programs()
	if x.taken == 0 {
		return x.driver.restart()
	}
	return x.e.strangers(x.driver, x.taken)
}

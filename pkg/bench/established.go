// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"net/netip"

	"parry/loader"
)

// Where things are (RFC 2544 and 5737 addresses). Each flow of a crowd has another stranger's address.
func natPair4() pair { return pairOf("198.18.0.2", "198.18.0.1", "198.51.100.1", "198.51.100.2") }
func natPair6() pair {
	return pairOf("2001:db8:1::2", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:2::2")
}
func throughPair() pair {
	return pairOf("198.18.0.2", "198.18.0.3", "198.18.0.2", "198.51.100.3")
}

func at(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}

func crowdVIP() netip.AddrPort { return at("198.18.0.4", gamePort) }

// crowd is how many flows there are in all, of which a case takes all or some.
const crowd = 100_000

// openNAT is an edge with nothing but NAT services, as most are, and the sessions of pairs.
func (b *bench) openNAT() (*edge, error) {
	e, err := b.openEdge(sizes())
	if err != nil {
		return nil, err
	}
	return e, e.establish(loader.NAT, natPair4(), natPair6())
}

// openWide is an edge whose services have all limits and rules that there are, and the sessions of one pair.
func (b *bench) openWide() (*edge, error) {
	e, err := b.openEdge(sizes())
	if err != nil {
		return nil, err
	}
	e.wide = true
	return e, e.establish(loader.NAT, natPair4())
}

// openCrowd is an edge with sessions of 100,000 strangers, made as they would make them.
func (b *bench) openCrowd() (*edge, error) {
	e, err := b.openEdge(sizes())
	if err != nil {
		return nil, err
	}
	p := newPlan()
	lead(p, loader.NAT, crowdVIP(), at("198.51.100.9", gamePort),
		netip.MustParseAddr("198.51.100.6"), netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("198.51.100.8"))
	if err := e.use(p); err != nil {
		return nil, err
	}
	d, err := b.strangers("crowd_begins", crowdVIP(), crowd, false)
	if err != nil {
		return nil, err
	}
	if err := e.strangers(d, crowd); err != nil {
		return nil, err
	}
	var ways []rewriting
	err = e.Sessions(func(s *loader.Session) bool {
		ways = append(ways, rewriting{tuple{s.Client, s.Front, s.Proto}, tuple{s.Face, s.Server, s.Proto}})
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, r := range ways {
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		if err := e.send(r.to.back().frame(0), loader.XDPTX); err != nil {
			return nil, err
		}
	}
	if err := e.strangers(d, crowd); err != nil {
		return nil, err
	}
	if err := e.checkProven(crowd); err != nil {
		return nil, err
	}
	return e, b.carry(ways...)
}

// strangers has n strangers send a packet each, from the first on.
func (e *edge) strangers(d *driver, n uint32) error {
	prog, _ := e.Programs()
	if err := d.restart(); err != nil {
		return err
	}
	p := probe{name: fmt.Sprint(n, " strangers"), driver: d, program: prog, frames: [][]byte{strangerTo(crowdVIP())}, want: loader.XDPTX}
	_, err := p.timed(n)
	return err
}

// openThrough is an edge with transparent services alone.
func (b *bench) openThrough() (*edge, error) {
	e, err := b.openEdge(sizes())
	if err != nil {
		return nil, err
	}
	return e, e.establish(loader.Transparent, throughPair())
}

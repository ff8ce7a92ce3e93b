// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"parry/pkg/frame"
)

// clear is how many times more packets than the next an endpoint has, that needs no asking.
const clearly = 4

// ends counts who was asked, and who was answered.
type ends struct {
	clients []netip.Prefix
	flows   map[[2]Endpoint]*end // from who spoke first, to whom
	more    int                  // packets of flows beyond maxFlows
	packets int
}

type end struct {
	asked, answered int
}

func newEnds(clients []netip.Prefix) *ends {
	return &ends{clients: clients, flows: map[[2]Endpoint]*end{}}
}

func (e *ends) packet(_ time.Time, _ int, p *frame.Packet) {
	proto := protocolOf(p)
	if proto == "" {
		return
	}
	e.packets++
	from, to := Endpoint{proto, p.Src}, Endpoint{proto, p.Dst}
	if f := e.flows[[2]Endpoint{to, from}]; f != nil {
		f.answered++
		return
	}
	f := e.flows[[2]Endpoint{from, to}]
	if f == nil {
		if len(e.flows) == maxFlows {
			e.more++
			return
		}
		f = &end{}
		e.flows[[2]Endpoint{from, to}] = f
	}
	f.asked++
}

// candidate is an endpoint that may be a service.
type candidate struct {
	Endpoint
	flows, answered, packets int
	peers                    map[netip.Addr]bool
	first                    int // flows in which the other side spoke first
}

func (e *ends) isClient(a netip.Addr) bool {
	return len(e.clients) == 0 || slices.ContainsFunc(e.clients, func(p netip.Prefix) bool { return p.Contains(a) })
}

// candidates are all ends that may be services, those of most packets first.
func (e *ends) candidates() []*candidate {
	all := map[Endpoint]*candidate{}
	for k, f := range e.flows {
		for i, at := range k {
			peer := k[1-i]
			if !e.isClient(peer.Address.Addr()) || len(e.clients) > 0 && e.isClient(at.Address.Addr()) {
				continue
			}
			c := all[at]
			if c == nil {
				c = &candidate{Endpoint: at, peers: map[netip.Addr]bool{}}
				all[at] = c
			}
			c.flows++
			c.peers[peer.Address.Addr()] = true
			c.first += i
			if f.answered > 0 {
				c.answered++
				c.packets += f.asked + f.answered
			}
		}
	}
	list := make([]*candidate, 0, len(all))
	for _, c := range all {
		if c.first > 0 { // who was never spoken to first is a client
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(b.packets, a.packets), cmp.Compare(b.flows, a.flows), a.Address.Compare(b.Address), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list
}

// service picks the endpoint to learn of.
func (e *ends) service(named *Endpoint) (Endpoint, error) {
	all := e.candidates()
	if named != nil {
		return *named, e.sound(all, *named)
	}
	if e.packets == 0 {
		return Endpoint{}, errors.New("there is no UDP or TCP in it: nothing to learn from")
	}
	answered := slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return c.answered == 0 })
	if len(answered) == 0 {
		return Endpoint{}, e.nobody(all)
	}
	if len(answered) > 1 && answered[0].packets < clearly*answered[1].packets {
		var list strings.Builder
		for _, c := range answered[:min(len(answered), 6)] {
			fmt.Fprintf(&list, "\n  --server %s/%s   %d packets, %d flows of %d addresses", c.Protocol, c.Address, c.packets, c.flows, len(c.peers))
		}
		return Endpoint{}, fmt.Errorf("more than one may be the service: say which%s", &list)
	}
	return answered[0].Endpoint, nil
}

// sound refuses an endpoint that shows nothing.
func (e *ends) sound(all []*candidate, at Endpoint) error {
	i := slices.IndexFunc(all, func(c *candidate) bool { return c.Endpoint == at })
	if i < 0 && len(all) > 0 {
		return fmt.Errorf("nobody speaks to %s there; the most is spoken to %s", at, all[0].Endpoint)
	}
	if i < 0 {
		return fmt.Errorf("nobody speaks to %s there", at)
	}
	if all[i].answered == 0 {
		return e.nobody([]*candidate{all[i]})
	}
	return nil
}

// nobody says that no source was ever answered.
func (e *ends) nobody(all []*candidate) error {
	if len(all) == 0 {
		return errors.New("no service shows in it: nobody is spoken to by the clients that were named")
	}
	flows, peers := 0, map[netip.Addr]bool{}
	for _, c := range all {
		flows += c.flows
		for a := range c.peers {
			peers[a] = true
		}
	}
	slices.SortStableFunc(all, func(a, b *candidate) int { return cmp.Compare(b.flows, a.flows) })
	return fmt.Errorf("%d flows of %d addresses, the most to %s, and none was ever answered: that is an attack, a scan, or a capture "+
		"of one direction; learn from play, captured where both directions pass", flows, len(peers), all[0].Endpoint)
}

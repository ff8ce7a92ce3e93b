// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"net/netip"

	"parry/loader"
)

// pair is the ends of two sessions that lead into each other: what the first makes of its packet is a packet of the
// second, and back, so that a test run can repeat it. The first goes from player to vip and leaves as face to server;
// the second goes from face to server and leaves as player to vip.
type pair struct{ player, vip, face, server netip.AddrPort }

// hot is how many pairs a case takes in turn: where in memory a session happens to lie moves its cost by a third.
const hot = 5

// pairOf has ports that NAT gives out first.
func pairOf(player, vip, face, server string) pair {
	at := func(a string, port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(a), port) }
	return pair{at(player, natFirst), at(vip, gamePort), at(face, natFirst), at(server, gamePort+1)}
}

// back is the pair's second session as a first.
func (x pair) back() pair { return pair{x.face, x.server, x.player, x.vip} }

// nth is another pair of the same ends: UDP's below hot, TCP's from there on.
func (x pair) nth(i int) pair {
	next := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+uint16(i)) }
	return pair{next(x.player), x.vip, next(x.face), x.server}
}

// up is the way of the pair's first session; its back leads into the second.
func (x pair) up(proto uint8) rewriting {
	return rewriting{tuple{x.player, x.vip, proto}, tuple{x.face, x.server, proto}}
}

// down is what the first session's answers become; its back leads into the second's.
func (x pair) down(proto uint8) rewriting {
	up := x.up(proto)
	return rewriting{up.to.back(), up.from.back()}
}

func protoOf(i int) uint8 {
	if i < hot {
		return loader.ProtoUDP
	}
	return loader.ProtoTCP
}

// way picks which way of a pair is measured.
type way func(x pair, proto uint8) rewriting

// frames are packets of hot pairs.
func (x pair) frames(proto uint8, w way) [][]byte {
	first := 0
	if proto == loader.ProtoTCP {
		first = hot
	}
	var all [][]byte
	for i := range hot {
		all = append(all, w(x.nth(first+i), proto).from.frame(tcpACK))
	}
	return all
}

// carryPair has the floors carry all that the pair's sessions do.
func (b *bench) carryPair(x pair) error {
	var all []rewriting
	for i := range 2 * hot {
		for _, w := range []way{pair.up, pair.down} {
			r := w(x.nth(i), protoOf(i))
			all = append(all, r, r.back())
		}
	}
	return b.carry(all...)
}

// establish makes the sessions of the pairs, proven ones. A session's source must be no address of the edge's own when
// it begins: each half begins under a plan without the other's.
func (e *edge) establish(how loader.Forward, pairs ...pair) error {
	newPlan := func() *loader.Plan {
		p := newPlan()
		p.NATPorts[1] = gamePort - 1 // no front's port is one of NAT's: nor is that of the second half, which comes later
		return p
	}
	for _, second := range []bool{false, true} {
		p := newPlan()
		for _, x := range pairs {
			if second {
				x = x.back()
			}
			x.lead(p, how)
		}
		e.shakes(p)
		if err := e.use(p); err != nil {
			return err
		}
		for _, x := range pairs {
			if second {
				x = x.back()
			}
			for i := range 2 * hot {
				if err := e.prove(x.nth(i).up(protoOf(i))); err != nil {
					return err
				}
			}
		}
	}
	both := newPlan()
	for _, x := range pairs {
		x.lead(both, how)
		x.back().lead(both, how)
		if err := e.b.carryPair(x); err != nil {
			return err
		}
	}
	e.shakes(both)
	if err := e.use(both); err != nil {
		return err
	}
	return e.checkProven(len(pairs) * 2 * 2 * hot)
}

// lead adds the service that the pair's first session is of.
func (x pair) lead(p *loader.Plan, how loader.Forward) {
	if how == loader.NAT {
		lead(p, how, x.vip, x.server, x.face.Addr())
	} else {
		lead(p, how, x.vip, x.server)
	}
}

// prove makes a session and has both sides speak, over TCP until the server's kernel must have seen the client's ACK.
func (e *edge) prove(r rewriting) error {
	if e.proxied && r.from.proto == loader.ProtoTCP {
		return e.shake(r)
	}
	first, answer := r.from.frame(tcpSYN), r.to.back().frame(tcpSYN|tcpACK)
	for _, frame := range [][]byte{first, answer, r.from.frame(tcpACK), r.to.back().frame(tcpACK)} {
		if err := e.send(frame, loader.XDPTX); err != nil {
			return fmt.Errorf("%v to %v: %w", r.from.from, r.from.to, err)
		}
	}
	return nil
}

// checkProven fails unless there are so many sessions, all proven.
func (e *edge) checkProven(want int) error {
	n := 0
	var bad error
	err := e.Sessions(func(s *loader.Session) bool {
		n++
		if s.State != loader.Proven {
			bad = fmt.Errorf("the session of %v is %s", s.Client, s.State)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err == nil && n != want {
		err = fmt.Errorf("%d sessions were made, not %d", n, want)
	}
	return err
}

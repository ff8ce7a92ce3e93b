// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"parry/pkg/api"
)

// crowd is many players at once: UDP streams and TCP pulses in every mode and family, each to go on in the session that
// it began with.
type crowd struct {
	t       *testing.T
	s       *site
	ways    []way
	servers []*udpServer
	every   time.Duration // between two packets of a player
	hold    atomic.Bool   // nobody sends while it is set

	streams  []*stream
	pulses   []*pulse
	ids      map[playerKey]string // of their sessions
	sent     int                  // datagrams of those who left
	departed int
}

type playerKey struct {
	protocol string
	client   netip.AddrPort
	front    netip.AddrPort
}

// A port of somebody who has left may be the next one's, who plays elsewhere.
func udpKey(st *stream) playerKey { return playerKey{"udp", st.p.addr(), st.p.to} }
func tcpKey(p *pulse) playerKey {
	return playerKey{"tcp", p.p.addr(), p.p.conn.RemoteAddr().(*net.TCPAddr).AddrPort()}
}

// newCrowd opens the servers of the ways and lets so many UDP players in on each, and half as many TCP players.
func (s *site) newCrowd(ways []way, udp int, every time.Duration) *crowd {
	s.t.Helper()
	c := &crowd{t: s.t, s: s, ways: ways, every: every, ids: map[playerKey]string{}}
	for _, w := range c.ways {
		c.servers = append(c.servers, s.udpServer(w.host, w.server, ""))
		s.tcpServer(w.host, w.server, "")
	}
	for i := range udp {
		for _, w := range c.ways {
			c.join(w)
			if i%2 == 0 {
				c.dial(w)
			}
		}
	}
	c.more(3)
	c.meet()
	return c
}

// join lets one more UDP player in.
func (c *crowd) join(w way) *stream {
	c.t.Helper()
	st := c.s.udpPlayer(c.s.players, w.player, w.vip).playUnless(&c.hold, c.every)
	c.streams = append(c.streams, st)
	return st
}

// dial lets one more TCP player in.
func (c *crowd) dial(w way) *pulse {
	c.t.Helper()
	p := c.s.tcpPlayer(c.s.players, w.player, w.vip).pulse(&c.hold, c.every)
	c.pulses = append(c.pulses, p)
	return p
}

// more has each player play on for so many packets. Of a UDP player's none may be missing that long; a TCP player's may
// have to be sent again.
func (c *crowd) more(n int) {
	c.t.Helper()
	moreOf(c.streams, n)
	for _, p := range c.pulses {
		want := p.count() + 1
		await(c.t, pulsePatience, fmt.Sprintf("a beat of %v", p.p.addr()), func() bool { return p.count() >= want })
	}
}

// leave ends a UDP player, who must not have lost anything.
func (c *crowd) leave(n int) {
	c.t.Helper()
	c.depart(c.streams[n])
	_ = c.streams[n].p.conn.Close()
	c.streams = slices.Delete(c.streams, n, n+1)
}

func (c *crowd) depart(st *stream) {
	c.t.Helper()
	c.sent += st.noLoss().sent
	c.departed++
	delete(c.ids, udpKey(st))
	for _, v := range c.servers {
		v.left(st.p.addr())
	}
}

// books reads the counts of both sides of the edge while nothing is under way: one side is read after the other, and a packet
// that passes between would be missing on one for good.
func (c *crowd) books() ledger {
	c.t.Helper()
	c.hold.Store(true)
	defer c.hold.Store(false)
	last := c.s.books.read()
	await(c.t, patience, "the links to be still", func() bool {
		before := last
		last = c.s.books.read()
		return slices.Equal(before.in, last.in) && slices.Equal(before.out, last.out)
	})
	return last
}

// listed are the sessions that the edge lists, by their client.
func (c *crowd) listed() map[playerKey]api.Session {
	c.t.Helper()
	all := map[playerKey]api.Session{}
	for _, v := range c.s.edge.sessions(api.Filter{}) {
		all[playerKey{v.Protocol, v.Client, v.Edge}] = v
	}
	return all
}

// meet wants every player to have a session, and all who had one before to have the same. A session is listed while it
// is not moved about by the kernel, so a miss is looked at twice.
func (c *crowd) meet() {
	c.t.Helper()
	var lost []string
	eventually(patience, func() bool {
		lost = lost[:0]
		all := c.listed()
		for _, k := range c.players() {
			switch now, ok := all[k]; {
			case !ok:
				lost = append(lost, fmt.Sprintf("%s %v has none", k.protocol, k.client))
			case c.ids[k] == "":
				c.ids[k] = now.ID
			case c.ids[k] != now.ID:
				lost = append(lost, fmt.Sprintf("%s %v has another", k.protocol, k.client))
			}
		}
		return len(lost) == 0
	})
	if len(lost) > 0 {
		c.t.Errorf("%d sessions are lost: %v", len(lost), lost)
	}
}

func (c *crowd) players() []playerKey {
	var all []playerKey
	for _, st := range c.streams {
		all = append(all, udpKey(st))
	}
	for _, p := range c.pulses {
		all = append(all, tcpKey(p))
	}
	return all
}

// end has everybody stop. No packet may be missing, none may have gone to another, no connection may be broken. Their
// sessions and sockets stay.
func (c *crowd) end() (players, datagrams int) {
	c.t.Helper()
	players = len(c.streams) + len(c.pulses) + c.departed
	for _, st := range c.streams { // all at once: each waits for what is under way
		st.halt()
	}
	for _, st := range c.streams {
		c.depart(st)
	}
	for _, p := range c.pulses {
		if err := p.end(); err != nil {
			c.t.Errorf("the connection of %v broke after %d beats: %v", p.p.addr(), p.count(), err)
		}
	}
	for _, v := range c.servers {
		if n := v.mixedUp(); n > 0 {
			c.t.Errorf("%d datagrams came from where another player's came from before", n)
		}
	}
	return players, c.sent
}

// ports wants every NAT port to be in one place: free, or in a session that the edge lists. The daemon must run; it is
// asked to end meanwhile, for its maps are its own.
func (c *crowd) ports() (ports, used int) {
	c.t.Helper()
	faces := map[netip.AddrPort]bool{}
	for _, v := range c.listed() {
		if v.NAT != nil {
			faces[*v.NAT] = true
		}
	}
	c.s.edge.term()
	for _, u := range c.s.edge.ports() {
		ports += len(u.Free) + len(u.Used)
		used += len(u.Used)
		if len(u.Free)+len(u.Used) != u.All {
			c.t.Errorf("NAT address %v has %d free ports and %d used ones, not %d together", u.Addr, len(u.Free), len(u.Used), u.All)
		}
		all := slices.Sorted(slices.Values(append(slices.Clone(u.Free), u.Used...)))
		if n := len(slices.Compact(all)); n != len(u.Free)+len(u.Used) {
			c.t.Errorf("NAT address %v: %d ports are in two places", u.Addr, len(u.Free)+len(u.Used)-n)
		}
		for _, p := range u.Used {
			if !faces[at(u.Addr, p)] {
				c.t.Errorf("NAT port %d of %v is in no session that is listed", p, u.Addr)
			}
			delete(faces, at(u.Addr, p))
		}
	}
	if len(faces) > 0 {
		c.t.Errorf("sessions without a port: %v", slices.Collect(maps.Keys(faces)))
	}
	return ports, used
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"parry/pkg/netns"
)

var (
	vip4    = addr("203.0.113.10") // what players connect to
	vip6    = addr("2001:db8:edfe::10")
	other4  = addr("203.0.113.11") // the same services' second addresses
	other6  = addr("2001:db8:edfe::11")
	third4  = addr("203.0.113.12")
	third6  = addr("2001:db8:edfe::12")
	fourth4 = addr("203.0.113.13")
	fourth6 = addr("2001:db8:edfe::13")
	player4 = addr("192.0.2.2")
	player6 = addr("2001:db8:1::2")
	server4 = addr("10.0.1.11")
	server6 = addr("fd00:1::11")
	nat4    = addr("10.0.1.1") // the edge as servers on its own network see it
	nat6    = addr("fd00:1::1")

	attacker4 = addr("198.18.0.2") // on a link of its own: see withAttackers
	attacker6 = addr("2001:db8:bad::2")
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// site is the usual world:
//
//	players ── edge ── servers
//
// or, routed, with a router on either side of the edge:
//
//	players ── isp ── edge ── core ── servers
type site struct {
	*world
	players, gate, servers *netns.Host // gate is the edge's host
	isp, core              *netns.Host // nil unless routed

	atPlayers, toPlayers *netns.Interface // the link at the players: their end, and the other
	atServers, toServers *netns.Interface
	up, down             *netns.Interface // the edge's own ends, towards players and servers
	ispEnd, coreEnd      *netns.Interface // the routers' ends towards the edge
	edge                 *edge
	books                *books              // nil unless counted
	extra                map[netip.Addr]bool // addresses that playerAt gave
}

// siteOptions say how a site differs from the usual.
type siteOptions struct {
	routed                bool
	counted               bool // books are kept of the services' ports (not where it is routed)
	playersMTU, serverMTU int  // of the edge's own links where it is routed; 0 = 1500
}

func ends(host *netns.Host, name string, addrs ...string) netns.End {
	e := netns.End{Host: host, Name: name}
	for _, a := range addrs {
		e.Addresses = append(e.Addresses, prefix(a))
	}
	return e
}

func newSite(t *testing.T, name string, o siteOptions) *site {
	t.Helper()
	w := newWorld(t, name)
	s := &site{world: w, players: w.host("players"), gate: w.host("edge"), servers: w.host("servers"), extra: map[netip.Addr]bool{}}
	if o.routed {
		s.routed(o)
	} else {
		s.linkPlayers(netns.LinkOptions{})
		s.linkServers(netns.LinkOptions{})
		if o.counted {
			s.books = s.keepBooks(natPort, transparentPort, localPort, laterPort)
		} else {
			w.receiver(s.atPlayers)
			w.receiver(s.atServers)
		}
	}
	s.defaults(s.players, "192.0.2.1", "2001:db8:1::1")
	s.defaults(s.servers, "10.0.1.1", "fd00:1::1")
	s.ownVIPs()
	s.meetServers()
	s.edge = newEdge(w, s.gate)
	return s
}

// linkPlayers puts a link between players and the edge.
func (s *site) linkPlayers(o netns.LinkOptions) {
	s.t.Helper()
	s.atPlayers, s.toPlayers = s.link(ends(s.players, "up0", "192.0.2.2/24", "2001:db8:1::2/64"),
		ends(s.gate, "players", "192.0.2.1/24", "2001:db8:1::1/64"), o)
	s.up = s.toPlayers
}

// linkServers puts a link between the edge and servers.
func (s *site) linkServers(o netns.LinkOptions) {
	s.t.Helper()
	s.atServers, s.toServers = s.link(ends(s.servers, "up0", "10.0.1.11/24", "fd00:1::11/64"),
		ends(s.gate, "servers", "10.0.1.1/24", "fd00:1::1/64"), o)
	s.down = s.toServers
}

// meetServers has the edge's host know its neighbours towards the servers, as one that has been up for a while does:
// what comes within the first milliseconds of the edge finds its way then.
func (s *site) meetServers() {
	s.t.Helper()
	next4, next6 := server4, server6
	if s.core != nil {
		next4, next6 = addr("10.0.0.2"), addr("fd00::2")
	}
	for _, to := range []netip.Addr{next4, next6} {
		from := netip.IPv4Unspecified()
		if to.Is6() {
			from = netip.IPv6Unspecified()
		}
		_, err := s.ping(s.gate, from, to, 56)
		must(s.t, err)
	}
}

func (s *site) routed(o siteOptions) {
	w := s.world
	s.isp, s.core = w.host("isp"), w.host("core")
	s.atPlayers, s.toPlayers = w.link(ends(s.players, "up0", "192.0.2.2/24", "2001:db8:1::2/64"),
		ends(s.isp, "players", "192.0.2.1/24", "2001:db8:1::1/64"), netns.LinkOptions{})
	s.atServers, s.toServers = w.link(ends(s.servers, "up0", "10.0.1.11/24", "fd00:1::11/64"),
		ends(s.core, "servers", "10.0.1.1/24", "fd00:1::1/64"), netns.LinkOptions{})
	s.ispEnd, s.up = w.link(ends(s.isp, "edge", "198.51.100.2/24", "2001:db8:f::2/64"),
		ends(s.gate, "players", "198.51.100.1/24", "2001:db8:f::1/64"), netns.LinkOptions{MTU: o.playersMTU})
	s.coreEnd, s.down = w.link(ends(s.core, "edge", "10.0.0.2/24", "fd00::2/64"),
		ends(s.gate, "servers", "10.0.0.1/24", "fd00::1/64"), netns.LinkOptions{MTU: o.serverMTU})
	w.receiver(s.ispEnd)
	w.receiver(s.coreEnd)
	w.routes(s.isp)
	w.routes(s.core)
	s.defaults(s.isp, "198.51.100.1", "2001:db8:f::1")
	s.defaults(s.core, "10.0.0.1", "fd00::1")
	s.defaults(s.gate, "198.51.100.2", "2001:db8:f::2")
	must(w.t, s.gate.Route(prefix("10.0.1.0/24"), addr("10.0.0.2")), s.gate.Route(prefix("fd00:1::/64"), addr("fd00::2")))
}

// withAttackers adds a host for floods. On the players' link a flood would fill the queue that players wait in, before
// the edge can tell them apart.
func (s *site) withAttackers() *netns.Host {
	s.t.Helper()
	s.more("attackers", "attackers", []string{"198.18.0.2/24", "2001:db8:bad::2/64"}, []string{"198.18.0.1/24", "2001:db8:bad::1/64"})
	return s.host("attackers")
}

// routes makes a host a router.
func (w *world) routes(h *netns.Host) {
	w.t.Helper()
	must(w.t, h.Sysctl("net.ipv4.ip_forward", "1"), h.Sysctl("net.ipv6.conf.all.forwarding", "1"))
}

func (w *world) defaults(h *netns.Host, via ...string) {
	w.t.Helper()
	for _, a := range via {
		must(w.t, h.DefaultRoute(addr(a)))
	}
}

// ownVIPs gives the edge's host the services' addresses.
func (s *site) ownVIPs() {
	s.t.Helper()
	lo, err := s.gate.Interface("lo")
	must(s.t, err)
	for _, a := range []netip.Addr{vip4, other4, third4, fourth4, vip6, other6, third6, fourth6} {
		must(s.t, lo.AddAddress(netip.PrefixFrom(a, a.BitLen())))
	}
	s.own(s.gate, vip6, other6, third6, fourth6)
}

// playerAt gives the players' host its n-th further address, if it hasn't got it.
func (s *site) playerAt(n int) netip.Addr {
	s.t.Helper()
	b := player4.As4()
	b[3] += byte(n)
	a := netip.AddrFrom4(b)
	if a != player4 && !s.extra[a] {
		s.extra[a] = true
		must(s.t, s.atPlayers.AddAddress(netip.PrefixFrom(a, 24)))
	}
	return a
}

// playerAt6 is the same with a /64 for each.
func (s *site) playerAt6(n int) netip.Addr {
	s.t.Helper()
	b := addr("2001:db8:7700::2").As16()
	b[5], b[7] = 1, byte(n)
	a := netip.AddrFrom16(b)
	if !s.extra[a] {
		s.extra[a] = true
		must(s.t, s.atPlayers.AddAddress(netip.PrefixFrom(a, 128)), s.gate.Route(netip.PrefixFrom(a, 64).Masked(), player6))
		s.own(s.players, a)
	}
	return a
}

// playerLike is playerAt or playerAt6, whichever is of a's family.
func (s *site) playerLike(a netip.Addr, n int) netip.Addr {
	s.t.Helper()
	if a.Is4() {
		return s.playerAt(n)
	}
	return s.playerAt6(n)
}

// own waits until a host takes IPv6 addresses for its own: a worker of the kernel's sees to that, some time after they
// were added.
func (w *world) own(h *netns.Host, addrs ...netip.Addr) {
	w.t.Helper()
	await(w.t, patience, "new addresses to work", func() bool {
		local := w.run(h, "ip", "-6", "route", "show", "table", "local")
		return !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !strings.Contains(local, "local "+a.String()+" ") })
	})
}

// service is one entry of services and of pools. Servers are of one family; none with `local`.
type service struct {
	name, listen, forward string
	protocol              string // "udp" if empty
	servers               []string
	more                  string // further keys, as `limits: {…}`
}

// yaml writes services and their pools.
func yaml(services ...service) string {
	var sv, pools strings.Builder
	for _, v := range services {
		if v.protocol == "" {
			v.protocol = "udp"
		}
		fmt.Fprintf(&sv, "  - {name: %s, listen: %s, protocol: %s, game: auto, forward: %s", v.name, v.listen, v.protocol, v.forward)
		if len(v.servers) > 0 {
			fmt.Fprintf(&sv, ", pool: %s", v.name)
			fmt.Fprintf(&pools, "  - name: %s\n    servers:\n", v.name)
		}
		if v.more != "" {
			sv.WriteString(", " + v.more)
		}
		sv.WriteString("}\n")
		for i, a := range v.servers {
			address, more, _ := strings.Cut(a, " ")
			fmt.Fprintf(&pools, "      - {name: %s-%d, address: \"%s\"%s}\n", v.name, i+1, address, more)
		}
	}
	out := "services:\n" + sv.String()
	if pools.Len() > 0 {
		out += "pools:\n" + pools.String()
	}
	return out
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"parry/pkg/netns"
)

const (
	natPort         = 27960
	transparentPort = 27970 // at its other address, the next port: two ways to one would be one to the server
	localPort       = 27980
	laterPort       = 27990 // of a service that comes and goes

	bulk = 50 << 20 // bytes each way
)

// everyMode is a service for each mode and family, UDP and TCP on the same ports of two addresses; and others.
func everyMode(more string, others ...service) string {
	var all []service
	add := func(name, forward string, port int, server netip.Addr, vips ...netip.Addr) {
		// The daemon's handshakes with servers behind a SYN proxy would stand in the books, and be no service's.
		v := service{name: name, protocol: "[udp, tcp]", forward: forward, more: "syn_proxy: off"}
		if server.IsValid() {
			v.servers = []string{at(server, uint16(port)).String()}
		}
		var listen []string
		for i, vip := range vips {
			if forward != "transparent" {
				i = 0
			}
			listen = append(listen, fmt.Sprintf("%q", at(vip, uint16(port+i))))
		}
		v.listen = "[" + strings.Join(listen, ", ") + "]"
		all = append(all, v)
	}
	add("nat4", "nat", natPort, server4, vip4, other4)
	add("nat6", "nat", natPort, server6, vip6, other6)
	add("transparent4", "transparent", transparentPort, server4, third4, fourth4)
	add("transparent6", "transparent", transparentPort, server6, third6, fourth6)
	add("local4", "local", localPort, netip.Addr{}, vip4)
	add("local6", "local", localPort, netip.Addr{}, vip6)
	return more + yaml(append(all, others...)...)
}

// way is one mode in one family.
type way struct {
	name, forward string
	host          *netns.Host // where the server runs
	server        netip.AddrPort
	vip, other    netip.AddrPort // the service's two addresses
	player        netip.Addr
	seen          netip.Addr // the address that the server is to see
	mtu           int        // of a UDP payload that fits into one packet of 1500 bytes
}

// otherServer runs the server behind the service's other address, where that isn't the one behind the first.
func (s *site) otherServer(w way) {
	if w.other.Port() != w.vip.Port() {
		s.udpServer(w.host, at(w.server.Addr(), w.other.Port()), "")
	}
}

func (s *site) ways() []way {
	const ip4, ip6 = 20 + 8, 40 + 8 // bytes of headers
	nat := func(player, server, vip, other, seen netip.Addr, headers int) way {
		return way{"nat", "nat", s.servers, at(server, natPort), at(vip, natPort), at(other, natPort), player, seen, 1500 - headers}
	}
	transparent := func(player, server, vip, other netip.Addr, headers int) way {
		return way{"transparent", "transparent", s.servers, at(server, transparentPort), at(vip, transparentPort),
			at(other, transparentPort+1), player, player, 1500 - headers}
	}
	local := func(player, vip netip.Addr, headers int) way {
		return way{"local", "local", s.gate, at(vip, localPort), at(vip, localPort), at(vip, localPort), player, player, 1500 - headers}
	}
	all := []way{
		nat(player4, server4, vip4, other4, nat4, ip4), nat(player6, server6, vip6, other6, nat6, ip6),
		transparent(player4, server4, third4, fourth4, ip4), transparent(player6, server6, third6, fourth6, ip6),
		local(player4, vip4, ip4), local(player6, vip6, ip6),
	}
	for i := range all {
		all[i].name += map[bool]string{true: "4", false: "6"}[all[i].player.Is4()]
	}
	return all
}

func TestPlayGoesThroughEveryMode(t *testing.T) {
	s := newSite(t, "forward", siteOptions{})
	s.edge.run(everyMode(unlimited))
	for _, w := range s.ways() {
		s.udpServer(w.host, w.server, "")
		s.tcpServer(w.host, w.server, "")
		t.Run(w.name+"/udp", func(t *testing.T) { s.checkUDP(t, w) })
		t.Run(w.name+"/tcp", func(t *testing.T) { s.checkTCP(t, w, bulk) })
	}
}

func (s *site) checkUDP(t *testing.T, w way) {
	s = s.of(t)
	p := s.udpPlayer(s.players, w.player, w.vip)
	seen, _ := p.seenAs()
	if seen.Addr() != w.seen {
		t.Errorf("the server sees %v, want %v", seen, w.seen)
	}
	for _, size := range []int{0, 1, 2, 63, 508, w.mtu - 1, w.mtu} {
		p.echo(size)
	}
	for _, size := range []int{w.mtu + 1, 4000, 16000} { // in fragments
		p.echo(size)
	}
	s.checkWho(w, "udp", seen, p.addr())
	t.Logf("seen as %v, 0 to %d bytes whole, 16000 in fragments", seen, w.mtu)
}

// checkWho asks the edge who is behind what the server sees.
func (s *site) checkWho(w way, protocol string, seen, player netip.AddrPort) {
	s.t.Helper()
	if w.forward == "local" {
		return // what the server sees is the player
	}
	got, err := s.edge.client.Who(s.t.Context(), protocol, seen)
	must(s.t, err)
	if got.Client != player || got.Service != w.name {
		s.t.Errorf("the edge says that %v of %s is behind %v; it is %v of %s", got.Client, got.Service, seen, player, w.name)
	}
}

func (s *site) checkTCP(t *testing.T, w way, size int64) {
	s = s.of(t)
	p := s.tcpPlayer(s.players, w.player, w.vip)
	seen, _ := p.seenAs()
	if seen.Addr() != w.seen {
		t.Errorf("the server sees %v, want %v", seen, w.seen)
	}
	s.checkWho(w, "tcp", seen, p.addr())
	began := time.Now()
	p.put(size)
	p.get(size)
	t.Logf("seen as %v, %d MB each way bit for bit in %v", seen, size>>20, time.Since(began).Round(time.Millisecond))
}

// of is the site for a sub-test, whose sockets go with it.
func (s *site) of(t *testing.T) *site {
	sub := *s
	w := *s.world
	w.t = t
	sub.world = &w
	e := *s.edge
	e.t = t
	sub.edge = &e
	return &sub
}

// Several players' fragments are under way at once; every byte says whose it is.
func TestFragmentsOfManyPlayersStayApart(t *testing.T) {
	s := newSite(t, "fragments", siteOptions{})
	s.edge.run(everyMode(unlimited))
	for _, w := range s.ways() {
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			s.udpServer(w.host, w.server, "")
			var players []*udpPlayer
			for range 8 {
				p := s.udpPlayer(s.players, w.player, w.vip)
				p.seenAs() // a stranger's fragments begin no session
				players = append(players, p)
			}
			for round := range 5 {
				for i, p := range players { // all ask before the first reads
					_, err := p.conn.WriteToUDPAddrPort(bytesOf(uint64(i), 4000+round), p.to)
					must(t, err)
				}
				for i, p := range players {
					must(t, p.conn.SetReadDeadline(time.Now().Add(patience)))
					buf := make([]byte, 8000)
					n, _, err := p.conn.ReadFromUDPAddrPort(buf)
					must(t, err)
					if string(buf[:n]) != string(bytesOf(uint64(i), 4000+round)) {
						t.Fatalf("player %d got other bytes back", i)
					}
				}
			}
			t.Logf("%d datagrams of 4000 bytes there and back", 5*len(players))
		})
	}
}

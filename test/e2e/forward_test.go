// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"parry/pkg/netns"
)

const (
	natPort         = 27960
	transparentPort = 27970
	localPort       = 27980

	bulk = 50 << 20 // bytes each way
)

// everyMode is a service for each mode and family; UDP and TCP on the same ports.
func everyMode(more string) string {
	both := "[udp, tcp]"
	front := func(port int) (string, string) {
		return fmt.Sprintf(`"%v:%d"`, vip4, port), fmt.Sprintf(`"[%v]:%d"`, vip6, port)
	}
	pool := func(port int) ([]string, []string) {
		return []string{fmt.Sprintf("%v:%d", server4, port)}, []string{fmt.Sprintf("[%v]:%d", server6, port)}
	}
	n4, n6 := front(natPort)
	t4, t6 := front(transparentPort)
	l4, l6 := front(localPort)
	sn4, sn6 := pool(natPort)
	st4, st6 := pool(transparentPort)
	return more + yaml(
		service{name: "nat4", listen: n4, protocol: both, forward: "nat", servers: sn4},
		service{name: "nat6", listen: n6, protocol: both, forward: "nat", servers: sn6},
		service{name: "transparent4", listen: t4, protocol: both, forward: "transparent", servers: st4},
		service{name: "transparent6", listen: t6, protocol: both, forward: "transparent", servers: st6},
		service{name: "local4", listen: l4, protocol: both, forward: "local"},
		service{name: "local6", listen: l6, protocol: both, forward: "local"},
	)
}

// way is one mode in one family.
type way struct {
	name, forward string
	host          *netns.Host // where the server runs
	server, vip   netip.AddrPort
	player        netip.Addr
	seen          netip.Addr // the address that the server is to see
	mtu           int        // of a UDP payload that fits into one packet of 1500 bytes
}

func (s *site) ways() []way {
	var all []way
	for _, v := range []struct {
		family                     string
		player, server, vip, faced netip.Addr
		mtu                        int
	}{
		{"4", player4, server4, vip4, nat4, 1500 - 28},
		{"6", player6, server6, vip6, nat6, 1500 - 48},
	} {
		all = append(all,
			way{"nat" + v.family, "nat", s.servers, at(v.server, natPort), at(v.vip, natPort), v.player, v.faced, v.mtu},
			way{"transparent" + v.family, "transparent", s.servers, at(v.server, transparentPort), at(v.vip, transparentPort), v.player, v.player, v.mtu},
			way{"local" + v.family, "local", s.gate, at(v.vip, localPort), at(v.vip, localPort), v.player, v.player, v.mtu},
		)
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
		t.Run(w.name+"/tcp", func(t *testing.T) { s.checkTCP(t, w) })
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

func (s *site) checkTCP(t *testing.T, w way) {
	s = s.of(t)
	p := s.tcpPlayer(s.players, w.player, w.vip)
	seen, _ := p.seenAs()
	if seen.Addr() != w.seen {
		t.Errorf("the server sees %v, want %v", seen, w.seen)
	}
	s.checkWho(w, "tcp", seen, p.addr())
	began := time.Now()
	p.put(bulk)
	p.get(bulk)
	t.Logf("seen as %v, %d MB each way bit for bit in %v", seen, bulk>>20, time.Since(began).Round(time.Millisecond))
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
				players = append(players, s.udpPlayer(s.players, w.player, w.vip))
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

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"testing"
	"time"
)

// What a server sends first from its service's port reaches a list server as the service's, whatever the mode, and the
// list server's answer reaches the server.
func TestServersHeartbeatLeavesAsItsService(t *testing.T) {
	s := newSite(t, "heartbeat", siteOptions{})
	s.edge.run(everyMode(""))
	for _, w := range s.ways() {
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			list := s.udpServer(s.players, at(w.player, 27950), "") // a list server out there, which says whom it sees
			server := &udpPlayer{t: t, conn: s.udp(w.host, w.server), to: at(w.player, 27950)}
			t.Cleanup(func() { server.conn.Close() })
			tries := server.join(3 * time.Second) // the edge has never met the list server: it has to find it first
			seen, _ := server.seenAs()
			if seen != w.vip && seen != w.other {
				t.Errorf("the list server sees %v, want %v or %v", seen, w.vip, w.other)
			}
			server.echo(1000)
			if n := list.packets.Load(); n < 3 || n > uint64(tries)+2 {
				t.Errorf("the list server got %d packets of %d", n, tries+2)
			}
			t.Logf("seen as %v, heard at the %d. try", seen, tries)
		})
	}
}

// A client that stands beside the server uses the public address all the same.
func TestHairpin(t *testing.T) {
	s := newSite(t, "hairpin", siteOptions{})
	s.edge.run(everyMode(unlimited))
	beside4, beside6 := addr("10.0.1.20"), addr("fd00:1::20")
	must(t, s.atServers.AddAddress(netip.PrefixFrom(beside4, 24)), s.atServers.AddAddress(netip.PrefixFrom(beside6, 64)))
	s.own(s.servers, beside6)
	for _, w := range s.routedWays() {
		client, faced := beside4, nat4
		if w.player.Is6() {
			client, faced = beside6, nat6
		}
		s.udpServer(w.host, w.server, "")
		s.tcpServer(w.host, w.server, "")
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			p := s.udpPlayer(s.servers, client, w.vip)
			seen, _ := p.seenAs()
			if seen.Addr() != faced {
				t.Errorf("the server sees %v; it would answer past the edge unless it sees %v", seen, faced)
			}
			for _, size := range []int{0, w.mtu, 4000} {
				p.echo(size)
			}
			c := s.tcpPlayer(s.servers, client, w.vip)
			c.put(1 << 20)
			c.get(1 << 20)
			t.Logf("%v beside the server is seen as %v", client, seen)
		})
	}
}

// A server's own way to another service of the same edge.
func TestServerPlaysOnAnotherServersService(t *testing.T) {
	s := newSite(t, "serverclient", siteOptions{})
	must(t, s.atServers.AddAddress(prefix("10.0.1.12/24")))
	_, err := s.ping(s.gate, nat4, addr("10.0.1.12"), 56) // as in meetServers
	must(t, err)
	s.edge.run(unlimited + yaml(
		service{name: "lobby", listen: `"203.0.113.10:27960"`, forward: "nat", servers: []string{"10.0.1.11:27960"}},
		service{name: "arena", listen: `"203.0.113.10:27961"`, forward: "transparent", servers: []string{"10.0.1.12:27961"}},
	))
	s.udpServer(s.servers, netip.MustParseAddrPort("10.0.1.11:27960"), "")
	s.udpServer(s.servers, netip.MustParseAddrPort("10.0.1.12:27961"), "")
	lobby := s.udpPlayer(s.servers, server4, at(vip4, 27961)) // from a port that no service has
	seen, _ := lobby.seenAs()
	if seen.Addr() != nat4 {
		t.Errorf("the arena sees %v, want %v", seen, nat4)
	}
	lobby.echo(100)
	took := lobby.play(2 * time.Millisecond).alive(patience)
	t.Logf("10.0.1.11 plays on 10.0.1.12's service, seen as %v, first echo after %v", seen, took.Round(time.Microsecond))
}

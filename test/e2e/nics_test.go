// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"net/netip"
	"testing"

	"parry/pkg/netns"
)

// TestPlayOnOneNIC has players and servers on the edge's only interface, behind a switch: packets leave where they came
// in (XDP_TX).
func TestPlayOnOneNIC(t *testing.T) {
	w := newWorld(t, "onenic")
	s := &site{world: w, players: w.host("players"), gate: w.host("edge"), servers: w.host("servers")}
	lan := w.host("switch")
	w.run(lan, "ip", "link", "add", "lan", "type", "bridge", "mcast_snooping", "0")
	w.run(lan, "ip", "link", "set", "lan", "up")
	var port *netns.Interface
	s.up, port = w.link(ends(s.gate, "nic", "192.0.2.1/24", "2001:db8:1::1/64", "10.0.1.1/24", "fd00:1::1/64"), ends(lan, "edge"), netns.LinkOptions{})
	s.down = s.up
	w.receiver(port)
	s.atPlayers, _ = w.link(ends(s.players, "up0", "192.0.2.2/24", "2001:db8:1::2/64"), ends(lan, "players"), netns.LinkOptions{})
	s.atServers, _ = w.link(ends(s.servers, "up0", "10.0.1.11/24", "fd00:1::11/64"), ends(lan, "servers"), netns.LinkOptions{})
	for _, name := range []string{"edge", "players", "servers"} {
		w.run(lan, "ip", "link", "set", name, "master", "lan")
	}
	s.defaults(s.players, "192.0.2.1", "2001:db8:1::1")
	s.defaults(s.servers, "10.0.1.1", "fd00:1::1")
	s.ownVIPs()
	s.meetServers()
	s.edge = newEdge(w, s.gate, "nic")
	s.edge.run(everyMode(unlimited))
	for _, w := range s.ways() {
		s.udpServer(w.host, w.server, "")
		s.tcpServer(w.host, w.server, "")
		t.Run(w.name+"/udp", func(t *testing.T) { s.checkUDP(t, w) })
		t.Run(w.name+"/tcp", func(t *testing.T) { s.checkTCP(t, w, bulk) })
	}
}

// TestPlayOnSeveralNICs has players on two uplinks and servers on two further links; each pair is a redirect of its own.
func TestPlayOnSeveralNICs(t *testing.T) {
	s := newSite(t, "nics", siteOptions{})
	s.more("players2", "edge2", []string{"192.0.3.2/24"}, []string{"192.0.3.1/24"})
	s.more("servers2", "edge3", []string{"10.0.2.11/24"}, []string{"10.0.2.1/24"})
	s.edge.run(unlimited + yaml(
		service{name: "a", listen: `"203.0.113.10:27960"`, forward: "nat", servers: []string{"10.0.1.11:27960"}},
		service{name: "b", listen: `"203.0.113.10:27961"`, forward: "transparent", servers: []string{"10.0.2.11:27961"}},
	))
	s.udpServer(s.servers, netip.MustParseAddrPort("10.0.1.11:27960"), "")
	s.udpServer(s.host("servers2"), netip.MustParseAddrPort("10.0.2.11:27961"), "")
	for _, p := range []struct {
		host string
		addr string
	}{{"players", "192.0.2.2"}, {"players2", "192.0.3.2"}} {
		for port, want := range map[uint16]netip.Addr{27960: addr("10.0.1.1"), 27961: addr(p.addr)} {
			p := s.udpPlayer(s.host(p.host), addr(p.addr), at(vip4, port))
			if seen, _ := p.seenAs(); seen.Addr() != want {
				t.Errorf("port %d sees %v, want %v", port, seen, want)
			}
			for _, size := range []int{0, 1472, 4000} {
				p.echo(size)
			}
			t.Logf("%v to %v", p.addr(), p.to)
		}
	}
}

// more links one more host to the edge, which is its gateway. theirs and edges are prefixes of both ends, an IPv4 one and
// maybe an IPv6 one.
func (s *site) more(name, dev string, theirs, edges []string) {
	s.t.Helper()
	h := s.host(name)
	far, _ := s.link(ends(h, "up0", theirs...), ends(s.gate, dev, edges...), netns.LinkOptions{})
	s.receiver(far)
	for i, e := range edges {
		s.defaults(h, prefix(e).Addr().String())
		_, err := s.ping(s.gate, prefix(e).Addr(), prefix(theirs[i]).Addr(), 56) // as in meetServers
		must(s.t, err)
	}
	s.edge.interfaces = append(s.edge.interfaces, dev)
}

// TestPlayOnVLANs has players and servers on VLANs of one trunk: the edge changes the tag. A kernel without 802.1Q can't
// run it; `make e2e-kernel` does, on an emulated machine.
func TestPlayOnVLANs(t *testing.T) {
	w := newWorld(t, "vlan")
	s := &site{world: w, players: w.host("players"), gate: w.host("edge"), servers: w.host("servers")}
	lan := w.host("switch")
	trunk, port := w.link(ends(s.gate, "nic"), ends(lan, "edge"), netns.LinkOptions{})
	_, err := trunk.VLAN(100, prefix("192.0.2.1/24"), prefix("2001:db8:1::1/64"))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	must(t, err)
	_, err = trunk.VLAN(200, prefix("10.0.1.1/24"), prefix("fd00:1::1/64"))
	must(t, err)
	w.receiver(port)
	// The switch is a bridge a VLAN: its ends of the trunk's VLANs, and the untagged links of the hosts.
	for _, v := range []struct {
		id    int
		name  string
		host  *netns.Host
		addrs []string
	}{
		{100, "players", s.players, []string{"192.0.2.2/24", "2001:db8:1::2/64"}},
		{200, "servers", s.servers, []string{"10.0.1.11/24", "fd00:1::11/64"}},
	} {
		bridge := "lan-" + v.name
		w.run(lan, "ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
		w.run(lan, "ip", "link", "set", bridge, "up")
		tagged, err := port.VLAN(v.id)
		must(t, err)
		end, _ := w.link(ends(v.host, "up0", v.addrs...), ends(lan, v.name), netns.LinkOptions{})
		for _, name := range []string{tagged.Name, v.name} {
			w.run(lan, "ip", "link", "set", name, "master", bridge)
		}
		if v.id == 100 {
			s.atPlayers = end
		} else {
			s.atServers = end
		}
	}
	s.defaults(s.players, "192.0.2.1", "2001:db8:1::1")
	s.defaults(s.servers, "10.0.1.1", "fd00:1::1")
	s.ownVIPs()
	s.meetServers()
	s.edge = newEdge(w, s.gate, "nic")
	s.edge.run(everyMode(unlimited))
	for _, w := range s.ways() {
		s.udpServer(w.host, w.server, "")
		s.tcpServer(w.host, w.server, "")
		t.Run(w.name+"/udp", func(t *testing.T) { s.checkUDP(t, w) })
		t.Run(w.name+"/tcp", func(t *testing.T) { s.checkTCP(t, w, 5<<20) })
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"testing"
	"time"

	"parry/pkg/netns"
)

// protectedWithin is how soon an interface that comes back must carry the program.
const protectedWithin = time.Second

// forwardedPlay starts a UDP stream and a connection in each mode that forwards.
func (s *site) forwardedPlay() (streams []*stream, lines []*tcpPlayer) {
	s.t.Helper()
	for _, w := range s.routedWays() {
		s.udpServer(w.host, w.server, "")
		s.tcpServer(w.host, w.server, "")
		streams = append(streams, s.udpPlayer(s.players, w.player, w.vip).play(2*time.Millisecond))
		lines = append(lines, s.tcpPlayer(s.players, w.player, w.vip))
	}
	for i := range streams {
		streams[i].more(20)
		lines[i].seenAs()
	}
	return streams, lines
}

// playsOn wants every stream and every connection to go on, in the sessions that they had. It returns the longest wait.
func (s *site) playsOn(streams []*stream, lines []*tcpPlayer, within time.Duration) time.Duration {
	s.t.Helper()
	var longest time.Duration
	for _, st := range streams {
		longest = max(longest, st.alive(within))
	}
	for _, l := range lines {
		l.put(100_000)
		l.get(100_000)
	}
	return longest
}

// announced has a host tell its neighbours at once when its link addresses change, as failover software does.
func (w *world) announced(h *netns.Host) {
	w.t.Helper()
	for _, dev := range []string{"all", "default"} {
		must(w.t, h.Sysctl("net.ipv4.conf."+dev+".arp_notify", "1"), h.Sysctl("net.ipv6.conf."+dev+".ndisc_notify", "1"))
	}
}

// keepAddresses has IPv6 addresses stay when a link goes down, as a host's network manager would see to.
func (w *world) keepAddresses(h *netns.Host, devs ...string) {
	w.t.Helper()
	for _, dev := range append(devs, "all") {
		must(w.t, h.Sysctl("net.ipv6.conf."+dev+".keep_addr_on_down", "1"))
	}
}

func (s *site) protected(name string) bool {
	s.t.Helper()
	for _, i := range s.edge.status().Interfaces {
		if i.Name == name {
			return i.Protected
		}
	}
	return false
}

func TestPlayGoesOnAfterALinkWasDown(t *testing.T) {
	for _, side := range []string{"players", "servers"} {
		t.Run(side, func(t *testing.T) {
			s := newSite(t, "linkdown", siteOptions{})
			s.keepAddresses(s.gate, "players", "servers")
			s.edge.run(everyMode(unlimited))
			streams, lines := s.forwardedPlay()
			link := map[string]*netns.Interface{"players": s.up, "servers": s.down}[side]
			must(t, link.SetUp(false))
			before := streams[0].sum().echoed
			streams[0].awaitSent(50)
			if after := streams[0].sum().echoed; after > before+1 {
				t.Fatalf("%d packets came back through a link that is down", after-before)
			}
			must(t, link.SetUp(true))
			s.settle(link)
			t.Logf("play goes on after %v", s.playsOn(streams, lines, 2*time.Second).Round(time.Millisecond))
		})
	}
}

func TestPlayGoesOnAfterANICWasGone(t *testing.T) {
	ethtool := needProgram(t, "ethtool")
	s := newSite(t, "nicgone", siteOptions{})
	s.edge.run(everyMode(unlimited))
	streams, lines := s.forwardedPlay()
	s.gone(s.down)
	if !s.protected("players") {
		t.Error("the other interface is called unprotected, too")
	}
	for _, i := range s.edge.status().Interfaces {
		if i.Name == "servers" && i.Detail == "" {
			t.Error("status doesn't say why the interface isn't protected")
		}
	}
	s.linkServers(netns.LinkOptions{Offloads: true})
	back := await(t, protectedWithin, "the interface to be protected again", func() bool { return s.protected("servers") })
	// The program may be there before the link is set up: its peer then can't be told to leave segments whole.
	s.run(s.servers, ethtool, "-K", "up0", "tx", "off")
	s.run(s.gate, ethtool, "-K", "servers", "tx", "off")
	s.defaults(s.servers, "10.0.1.1", "fd00:1::1")
	t.Logf("protected %v after its return, play goes on after %v", back.Round(time.Millisecond),
		s.playsOn(streams, lines, 2*time.Second).Round(time.Millisecond))
}

func TestPlayGoesOnAfterALinkAddressChanged(t *testing.T) {
	for _, v := range []struct {
		name   string
		routed bool
		who    func(*site) *netns.Interface
	}{
		{"of the server", false, func(s *site) *netns.Interface { return s.atServers }},
		{"of the player", false, func(s *site) *netns.Interface { return s.atPlayers }},
		{"of the edge", false, func(s *site) *netns.Interface { return s.down }},
		{"of the gateway to the servers", true, func(s *site) *netns.Interface { return s.coreEnd }},
		{"of the gateway to the players", true, func(s *site) *netns.Interface { return s.ispEnd }},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := newSite(t, "mac", siteOptions{routed: v.routed})
			s.edge.run(everyMode(unlimited))
			streams, lines := s.forwardedPlay()
			i := v.who(s)
			s.announced(i.Host)
			old := i.MAC
			must(t, i.SetMAC(net.HardwareAddr{2, 0, 0x5e, 0, 0, 0x77}))
			t.Logf("%v became %v, play goes on after %v", old, i.MAC, s.playsOn(streams, lines, 2*time.Second).Round(time.Millisecond))
		})
	}
}

func TestPlayGoesOnAfterAGatewayMoved(t *testing.T) {
	for _, v := range []struct {
		name string
		move func(*site)
	}{
		{"towards the players", (*site).moveISP},
		{"towards the servers", (*site).moveCore},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := newSite(t, "gateway", siteOptions{routed: true})
			s.secondRouters()
			s.edge.interfaces = append(s.edge.interfaces, "players2", "servers2")
			s.edge.run(everyMode(unlimited))
			streams, lines := s.forwardedPlay()
			v.move(s)
			took := s.playsOn(streams, lines, 2*time.Second)
			tries := 0
			for _, w := range s.routedWays() { // new players, too
				s.otherServer(w)
				tries = max(tries, s.udpPlayer(s.players, w.player, w.other).join(2*time.Second))
			}
			t.Logf("play goes on after %v, new players are in at their %d. try at the latest", took.Round(time.Millisecond), tries)
		})
	}
}

// secondRouters adds a second way on both sides, which nobody uses yet:
//
//	players ── isp2 ── edge ── core2 ── servers
func (s *site) secondRouters() {
	s.t.Helper()
	isp, core := s.host("isp2"), s.host("core2")
	s.routes(isp)
	s.routes(core)
	s.link(ends(s.players, "up1", "192.0.3.2/24", "2001:db8:3::2/64"), ends(isp, "players", "192.0.3.1/24", "2001:db8:3::1/64"), netns.LinkOptions{})
	a, _ := s.link(ends(isp, "edge", "198.51.101.2/24", "2001:db8:e::2/64"),
		ends(s.gate, "players2", "198.51.101.1/24", "2001:db8:e::1/64"), netns.LinkOptions{})
	s.link(ends(s.servers, "up1", "10.0.3.11/24", "fd00:3::11/64"), ends(core, "servers", "10.0.3.1/24", "fd00:3::1/64"), netns.LinkOptions{})
	b, _ := s.link(ends(core, "edge", "10.0.2.2/24", "fd00:2::2/64"),
		ends(s.gate, "servers2", "10.0.2.1/24", "fd00:2::1/64"), netns.LinkOptions{})
	s.receiver(a)
	s.receiver(b)
	s.defaults(isp, "198.51.101.1", "2001:db8:e::1")
	s.defaults(core, "10.0.2.1", "fd00:2::1")
	must(s.t, isp.Route(prefix("192.0.2.0/24"), addr("192.0.3.2")), isp.Route(prefix("2001:db8:1::/64"), addr("2001:db8:3::2")),
		core.Route(prefix("10.0.1.0/24"), addr("10.0.3.11")), core.Route(prefix("fd00:1::/64"), addr("fd00:3::11")))
}

func (s *site) moveISP() {
	s.defaults(s.gate, "198.51.101.2", "2001:db8:e::2")
	s.defaults(s.players, "192.0.3.1", "2001:db8:3::1")
}

func (s *site) moveCore() {
	must(s.t, s.gate.Route(prefix("10.0.1.0/24"), addr("10.0.2.2")), s.gate.Route(prefix("fd00:1::/64"), addr("fd00:2::2")))
	s.defaults(s.servers, "10.0.3.1", "fd00:3::1")
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// Two servers by weight: players are spread by their address, always to the same, by UDP and TCP alike.
func TestPoolByWeight(t *testing.T) {
	s := newSite(t, "pool", siteOptions{})
	must(t, s.atServers.AddAddress(prefix("10.0.1.12/24")), s.atServers.AddAddress(prefix("10.0.1.13/24")))
	// All players are of one prefix: what their servers answer first is longer than what they say first.
	s.edge.run(unlimited + "queries: {unproven_kbps: 0}\n" + yaml(service{
		name: "arena", listen: `"203.0.113.10:27960"`, protocol: "[udp, tcp]", forward: "transparent",
		servers: []string{"10.0.1.11:27960 , weight: 1", "10.0.1.12:27960 , weight: 3", "10.0.1.13:27960 , weight: 0"},
	}))
	for i := range 3 {
		mark := fmt.Sprintf("s%d=", i+1)
		a := netip.MustParseAddrPort(fmt.Sprintf("10.0.1.1%d:27960", i+1))
		_, err := s.ping(s.gate, nat4, a.Addr(), 56) // as in meetServers
		must(t, err)
		s.udpServer(s.servers, a, mark)
		s.tcpServer(s.servers, a, mark)
	}
	const players = 200
	count := map[string]int{}
	for n := range players {
		a := s.playerAt(n)
		_, first := s.udpPlayer(s.players, a, at(vip4, 27960)).seenAs()
		_, again := s.udpPlayer(s.players, a, at(vip4, 27960)).seenAs()
		_, tcp := s.tcpPlayer(s.players, a, at(vip4, 27960)).seenAs()
		if first != again || first != tcp {
			t.Fatalf("%v was sent to %s, %s and by TCP to %s", a, first, again, tcp)
		}
		count[first]++
	}
	if got := count["s2"]; got < players*60/100 || got > players*90/100 || count["s1"] == 0 {
		t.Errorf("weights 1 and 3 gave %v", count)
	}
	if count["s3"] > 0 {
		t.Errorf("the server of weight 0 got %d players", count["s3"])
	}
	t.Logf("%d players on weights 1, 3 and 0: %v", players, count)
}

// A service on a range keeps each port; one on a list keeps the distances.
func TestRangesAndLists(t *testing.T) {
	s := newSite(t, "ranges", siteOptions{})
	s.edge.run(unlimited + yaml(
		service{name: "range", listen: `"203.0.113.10:27960-27969"`, forward: "nat", servers: []string{"10.0.1.11:30000-30009"}},
		service{name: "list", listen: `["203.0.113.10:27015", "203.0.113.10:27020"]`, forward: "transparent", servers: []string{"10.0.1.11:30015"}},
		service{name: "two", listen: `["203.0.113.10:4000", "203.0.113.11:4000"]`, forward: "nat", servers: []string{"10.0.1.11:4000"}},
	))
	for _, v := range []struct {
		front  netip.AddrPort
		server uint16
	}{
		{at(vip4, 27960), 30000}, {at(vip4, 27963), 30003}, {at(vip4, 27969), 30009},
		{at(vip4, 27015), 30015}, {at(vip4, 27020), 30020},
		{at(vip4, 4000), 4000}, {at(other4, 4000), 4000},
	} {
		t.Run(v.front.String(), func(t *testing.T) {
			s := s.of(t)
			s.udpServer(s.servers, at(server4, v.server), "it=")
			if _, mark := s.udpPlayer(s.players, player4, v.front).seenAs(); mark != "it" {
				t.Errorf("%v is not port %d of the server", v.front, v.server)
			}
		})
	}
	for _, closed := range []uint16{27959, 27970, 27016, 27019} {
		s.udpPlayer(s.players, player4, at(vip4, closed)).silent([]byte("x"), 20*time.Millisecond)
	}
}

// A source over its rate is held to it; who plays by the rules doesn't notice.
func TestLimitsHoldWhoExceedsThem(t *testing.T) {
	s := newSite(t, "limits", siteOptions{})
	s.withAttackers()
	const rate, burst = 500, 1000
	text := fmt.Sprintf("limits: {source: {packets_per_second: %d, burst: %d, new_sessions: 3, window: 60s, sessions: 64}}\n", rate, burst)
	for _, w := range []int{0, 1, 2, 4} { // nat, transparent and local; IPv4 and, once, IPv6
		w := s.ways()[w]
		t.Run(w.name, func(t *testing.T) { s.checkLimits(t, text, w, rate, burst) })
	}
}

func (s *site) checkLimits(t *testing.T, text string, w way, rate, burst int) {
	s = s.of(t)
	s.edge.run(text + everyMode(""))
	t.Cleanup(func() {
		s.edge.kill()
		s.edge.ok("detach", "--pin", s.edge.pin)
	})
	server := s.udpServer(w.host, w.server, "")
	attacker := attacker4
	if w.player.Is6() {
		attacker = attacker6
	}
	game := s.udpPlayer(s.players, w.player, w.vip).play(4 * time.Millisecond)
	game.more(20)

	before := server.packets.Load() - uint64(game.sum().sent)
	began := time.Now()
	stop := s.flood(s.host("attackers"), attacker, w.vip)
	game.more(250) // about a second
	sent := stop()
	took := time.Since(began)
	tally := game.noLoss()
	got := int(server.packets.Load()-before) - tally.sent
	want := burst + int(took.Seconds()*float64(rate))
	if got > want*105/100+10 || got < want*90/100 {
		t.Errorf("of %d packets in %v the server got %d, want %d", sent, took, got, want)
	}
	t.Logf("%d packets in %v, %d admitted (burst %d and %d/s: %d); the other player: %v", sent, took.Round(time.Millisecond), got, burst, rate, want, tally)

	if crowd := s.crowd(w); crowd != 3 {
		t.Errorf("%d sessions could begin within the window, want 3; dropped: %v", crowd, nonZero(s.edge.status().Drops))
	}
}

// crowd opens session after session from a fresh source until one is refused, and says how many began.
func (s *site) crowd(w way) int {
	s.t.Helper()
	a := s.playerLike(w.player, 7)
	for n := range 20 {
		if s.udpPlayer(s.players, a, w.vip).tryJoin(300*time.Millisecond) == 0 {
			return n
		}
	}
	return 20
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"parry/pkg/netns"
)

// ping sends one echo request with an even number of bytes and waits for its answer.
func (w *world) ping(h *netns.Host, from, to netip.Addr, size int) (time.Duration, error) {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	var conn *net.IPConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenIP(network, &net.IPAddr{IP: from.AsSlice()})
		return err
	})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	const id = 0x7061
	msg := append([]byte{request, 0, 0, 0, 0, 0, 0, 1}, bytesOf(9, size)...)
	binary.BigEndian.PutUint16(msg[4:], id)
	if to.Is4() { // the kernel does it for ICMPv6
		binary.BigEndian.PutUint16(msg[2:], ^onesSum(msg))
	}
	began := time.Now()
	if err := conn.SetDeadline(began.Add(patience)); err != nil {
		return 0, err
	}
	if _, err := conn.WriteTo(msg, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return 0, err
	}
	for buf := make([]byte, 65536); ; {
		n, _, err := conn.ReadFromIP(buf) // unlike Read, without the IP header
		if err != nil {
			return 0, fmt.Errorf("no answer to ping %v: %w", to, err)
		}
		got := buf[:n]
		if n >= 8 && got[0] == reply && binary.BigEndian.Uint16(got[4:]) == id && string(got[8:]) == string(msg[8:]) {
			return time.Since(began), nil
		}
	}
}

// onesSum is the Internet's sum over an even number of bytes.
func onesSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// What is none of the edge's services is the host's, as if parry were not there.
func TestHostTrafficIsLeftAlone(t *testing.T) {
	s := newSite(t, "hosttraffic", siteOptions{})
	s.edge.run(everyMode(""))
	for _, v := range []struct {
		name                string
		edge, player, vip   netip.Addr
		resolver, neighbour netip.Addr
	}{
		{"4", addr("192.0.2.1"), player4, vip4, server4, addr("192.0.2.1")},
		{"6", addr("2001:db8:1::1"), player6, vip6, server6, addr("2001:db8:1::1")},
	} {
		t.Run("ssh"+v.name, func(t *testing.T) {
			s := s.of(t)
			for _, to := range []netip.Addr{v.edge, v.vip} { // its own address, and one that carries services
				s.tcpServer(s.gate, at(to, 22), "")
				p := s.tcpPlayer(s.players, v.player, at(to, 22))
				p.put(5 << 20)
				p.get(5 << 20)
				if seen, _ := p.seenAs(); seen != p.addr() {
					t.Errorf("ssh sees %v instead of %v", seen, p.addr())
				}
			}
			t.Log("5 MB each way to the edge's own address and to a service's")
		})
		t.Run("ping"+v.name, func(t *testing.T) {
			s := s.of(t)
			for _, to := range []netip.Addr{v.edge, v.vip} {
				took, err := s.ping(s.players, v.player, to, 56)
				must(t, err)
				_, err = s.ping(s.players, v.player, to, 4000) // in fragments
				must(t, err)
				t.Logf("%v answers in %v", to, took.Round(time.Microsecond))
			}
			took, err := s.ping(s.gate, v.edge, v.player, 56)
			must(t, err)
			t.Logf("the edge gets its answer from %v in %v", v.player, took.Round(time.Microsecond))
		})
		t.Run("neighbours"+v.name, func(t *testing.T) { s.of(t).checkNeighbours(v.player, v.edge) })
		t.Run("dns"+v.name, func(t *testing.T) {
			s := s.of(t)
			s.udpServer(s.servers, at(v.resolver, 53), "")
			p := s.udpPlayer(s.gate, netip.Addr{}, at(v.resolver, 53)) // from a port of the host's choice
			p.echo(40)
			p.echo(1200)
			p.echo(3000)
			t.Logf("the edge's own requests to %v are answered, in fragments too", p.to)
		})
	}
	if drops := s.edge.status().Drops; len(nonZero(drops)) > 0 {
		t.Errorf("something was dropped: %v", nonZero(drops))
	}
}

func nonZero(drops map[string]uint64) map[string]uint64 {
	some := map[string]uint64{}
	for k, v := range drops {
		if v > 0 {
			some[k] = v
		}
	}
	return some
}

// checkNeighbours has both sides forget each other's link address and find it again.
func (s *site) checkNeighbours(player, edge netip.Addr) {
	s.t.Helper()
	for _, v := range []struct {
		host     *netns.Host
		dev      string
		from, to netip.Addr
	}{{s.players, "up0", player, edge}, {s.gate, "players", edge, player}} {
		s.run(v.host, "ip", "neigh", "flush", "to", v.to.String(), "dev", v.dev)
		_, err := s.ping(v.host, v.from, v.to, 56)
		must(s.t, err)
		state := s.run(v.host, "ip", "neigh", "show", "to", v.to.String(), "dev", v.dev)
		if !strings.Contains(state, "lladdr") {
			s.t.Errorf("%v is not resolved: %q", v.to, state)
		}
		s.t.Logf("found again: %s", strings.TrimSpace(state))
	}
}

// A flood at a closed port may cost neither the operator's way in nor a player a packet.
func TestFloodAtAClosedPortSparesTheAlwaysPorts(t *testing.T) {
	s := newSite(t, "always", siteOptions{})
	attackers := s.withAttackers()
	s.edge.run("host: {packets_per_second: 2000, source_packets_per_second: 1000, always: [tcp/2222]}\n" + everyMode(unlimited))
	w := s.ways()[0]
	s.udpServer(w.host, w.server, "")
	s.tcpServer(s.gate, at(addr("192.0.2.1"), 2222), "")
	player := s.udpPlayer(s.players, s.playerAt(1), w.vip)
	game := player.play(2 * time.Millisecond)
	game.more(50)

	flood := s.flood(attackers, attacker4, at(addr("192.0.2.1"), 9))
	await(t, patience, "the flood to be over its budget", func() bool { return s.edge.drops("host_source_rate") > 1000 })
	before := s.edge.drops("host_source_rate")
	began := time.Now()
	p := s.tcpPlayer(attackers, attacker4, at(addr("192.0.2.1"), 2222)) // even from the flooding address
	p.put(1 << 20)
	p.get(1 << 20)
	took := time.Since(began)
	game.more(50)
	during := s.edge.drops("host_source_rate") - before
	sent := flood()
	if during == 0 {
		t.Error("nothing of the flood was dropped meanwhile: it was none")
	}
	if tally := game.end(); tally.lost > 0 {
		t.Errorf("the player lost packets: %v", tally)
	} else {
		t.Logf("flood of %d packets, %d of it dropped while 1 MB each way took %v on the always port; player: %v", sent, during,
			took.Round(time.Millisecond), tally)
	}
}

// flood sends small datagrams as fast as one socket can until it is stopped, and says how many.
func (w *world) flood(h *netns.Host, from netip.Addr, to netip.AddrPort) (stop func() int) {
	w.t.Helper()
	conn := w.udp(h, at(from, 0))
	var wg sync.WaitGroup
	var sent int
	done := make(chan struct{})
	wg.Go(func() {
		payload := make([]byte, 18)
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := conn.WriteToUDPAddrPort(payload, to); err == nil {
				sent++
			}
		}
	})
	stop = sync.OnceValue(func() int {
		close(done)
		wg.Wait()
		conn.Close()
		return sent
	})
	w.t.Cleanup(func() { stop() })
	return stop
}

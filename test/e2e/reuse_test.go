// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"parry/pkg/api"
)

const (
	reusedPorts   = 64 // all that NAT has, on each address
	reuseEvery    = 100 * time.Millisecond
	reusePatience = 90 * time.Second // a port rests for 30 s after UDP and for 60 s after TCP
	stormRate     = time.Millisecond // between two stale datagrams
)

// house is a service whose players may hold every NAT port, on two addresses.
type house struct {
	name         string
	listen       [2]netip.AddrPort // by family
	servers      [2]*udpServer
	streams      []*stream
	pulses       []*pulse
	faces        map[netip.AddrPort]netip.AddrPort // whom the servers know by which NAT port
	serverOfFace map[netip.AddrPort]*udpServer
}

// TestPortReuse has every NAT port go from one service's players to another's, while the first one's servers go on
// sending to them, and its players to the edge: nothing of that may reach anybody, and nothing that is between the second
// one's players and servers may go astray.
func TestPortReuse(t *testing.T) {
	t.Parallel()
	s := newSite(t, "reuse", siteOptions{})
	beside4, beside6 := addr("10.0.1.12"), addr("fd00:1::12")
	must(t, s.atServers.AddAddress(netip.PrefixFrom(beside4, 24)), s.atServers.AddAddress(netip.PrefixFrom(beside6, 64)))
	s.own(s.servers, beside6)
	for _, a := range []netip.Addr{beside4, beside6} { // as in meetServers
		_, err := s.ping(s.gate, map[bool]netip.Addr{true: nat4, false: nat6}[a.Is4()], a, 56)
		must(t, err)
	}
	s.edge.run(fmt.Sprintf("nat: {ports: 20000-%d}\n", 20000+reusedPorts-1) + guarded + yaml(
		service{name: "old4", protocol: "[udp, tcp]", listen: `"203.0.113.10:27960"`, forward: "nat", servers: []string{"10.0.1.11:27960"}},
		service{name: "old6", protocol: "[udp, tcp]", listen: `"[2001:db8:edfe::10]:27960"`, forward: "nat", servers: []string{"[fd00:1::11]:27960"}},
		service{name: "new4", protocol: "[udp, tcp]", listen: `"203.0.113.10:27990"`, forward: "nat", servers: []string{"10.0.1.12:27990"}},
		service{name: "new6", protocol: "[udp, tcp]", listen: `"[2001:db8:edfe::10]:27990"`, forward: "nat", servers: []string{"[fd00:1::12]:27990"}},
	))
	now := s.build("old", natPort, server4, server6)
	next := s.build("new", laterPort, beside4, beside6)
	s.occupy(now, false)
	stale, rounds := 0, deaths().reuses
	for range rounds {
		stale += s.passOn(now, next)
		now, next = next, now
	}
	t.Logf("%d NAT ports changed hands %d times while %d stale datagrams flew: none reached anybody", 2*reusedPorts, rounds, stale)
}

func (s *site) build(name string, port uint16, v4, v6 netip.Addr) *house {
	h := &house{name: name, listen: [2]netip.AddrPort{at(vip4, port), at(vip6, port)}}
	for i, a := range []netip.Addr{v4, v6} {
		h.servers[i] = s.udpServer(s.servers, at(a, port), "")
		s.tcpServer(s.servers, at(a, port), "")
	}
	return h
}

// occupy lets players in until no port is left: all by UDP, or half of them by TCP.
func (s *site) occupy(h *house, tcp bool) {
	s.t.Helper()
	h.streams, h.pulses = nil, nil
	h.faces, h.serverOfFace = map[netip.AddrPort]netip.AddrPort{}, map[netip.AddrPort]*udpServer{}
	udp := reusedPorts
	if tcp {
		udp /= 2
	}
	for i, player := range []netip.Addr{player4, player6} {
		h.servers[i].forget()
		for range udp {
			p := s.udpPlayer(s.players, player, h.listen[i])
			p.join(reusePatience)
			h.streams = append(h.streams, p.play(reuseEvery))
		}
		for range reusedPorts - udp {
			h.pulses = append(h.pulses, s.dialUntil(player, h.listen[i], reusePatience).pulse(reuseEvery))
		}
	}
	moreOf(h.streams, 3)
	for i, v := range h.servers {
		for face, player := range v.known() {
			h.faces[face], h.serverOfFace[face] = player, h.servers[i]
		}
	}
	for _, a := range []netip.Addr{player4, player6} {
		if p := s.udpPlayer(s.players, a, h.listen[map[bool]int{true: 0, false: 1}[a.Is4()]]); p.tryJoin(200*time.Millisecond) != 0 {
			s.t.Errorf("one player more than there are ports is let in")
		}
	}
}

// dialUntil dials until somebody answers, a try a second: the kernel's own ones lie further and further apart.
func (s *site) dialUntil(from netip.Addr, to netip.AddrPort, within time.Duration) *tcpPlayer {
	s.t.Helper()
	for began := time.Now(); ; {
		p, err := s.dialTCP(s.players, from, to, time.Second)
		if err == nil {
			return p
		}
		if time.Since(began) > within {
			s.t.Fatalf("dial %v from %v: %v", to, from, err)
		}
	}
}

// passOn ends all sessions of one house and has the other's players take their ports, while what the first ones' servers
// and players still send flies on. Returns how many stale datagrams that were.
func (s *site) passOn(from, to *house) (stale int) {
	s.t.Helper()
	storm := from.storm()
	ended := 0
	for _, family := range []string{"4", "6"} {
		n, err := s.edge.client.EndSessions(s.t.Context(), api.Filter{Service: from.name + family})
		must(s.t, err)
		ended += n
	}
	if ended < 2*reusedPorts {
		s.t.Errorf("%d sessions ended, want %d", ended, 2*reusedPorts)
	}
	await(s.t, patience, "the sessions to be gone", func() bool { return len(s.edge.sessions(api.Filter{})) == 0 })
	heard := from.heard()
	sendOn(from.streams, 10) // their players don't know yet
	for _, st := range from.streams {
		st.halt()
	}
	for _, p := range from.pulses {
		_ = p.p.conn.Close()
		_ = p.end() // it broke, as it must
	}
	s.occupy(to, true)
	moreOf(to.streams, 20)
	if again := from.heard(); again != heard {
		s.t.Errorf("%d datagrams reached players whose sessions had ended", again-heard)
	}
	for _, st := range from.streams {
		st.stop(0)
	}
	to.check(s.t, from)
	return storm()
}

// storm has the servers send to all who they think are there, until the function that it returns is called.
func (h *house) storm() (stop func() (sent int)) {
	halt := make(chan struct{})
	var wg sync.WaitGroup
	sent := 0
	faces, servers := h.faces, h.serverOfFace
	wg.Go(func() {
		tick := time.NewTicker(stormRate)
		defer tick.Stop()
		datagram := make([]byte, streamSize)
		binary.BigEndian.PutUint32(datagram, 1<<31) // the number of none that was sent
		for {
			for face, player := range faces {
				select {
				case <-halt:
					return
				case <-tick.C:
				}
				writePlayer(datagram, player)
				if _, err := servers[face].conn.WriteToUDPAddrPort(datagram, face); err == nil {
					sent++
				}
			}
		}
	})
	return func() int {
		close(halt)
		wg.Wait()
		return sent
	}
}

// heard is how many datagrams the players have got.
func (h *house) heard() (n int) {
	for _, st := range h.streams {
		n += st.sum().heard
	}
	return n
}

// check wants the players to have played without loss, with their own servers alone, by the ports of those before.
func (h *house) check(t *testing.T, before *house) {
	t.Helper()
	for _, st := range h.streams {
		if sum := st.sum(); sum.strays > 0 || sum.heard > sum.echoed+1 { // and the answer to its joining
			t.Errorf("%v got %d datagrams of %d that it sent, %d of others", st.p.addr(), sum.heard, sum.sent, sum.strays)
		}
	}
	for _, p := range h.pulses {
		if err := p.broken(); err != nil {
			t.Errorf("the connection of %v broke: %v", p.p.addr(), err)
		}
	}
	for _, v := range h.servers {
		if n := v.mixedUp(); n > 0 {
			t.Errorf("%d datagrams came to %s from where another player's came from", n, h.name)
		}
	}
	if len(before.pulses) > 0 {
		return // their faces are not known
	}
	for face := range h.faces {
		if _, ok := before.faces[face]; !ok {
			t.Errorf("%v is a NAT port that nobody had before: the ports were not reused", face)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const adapt = 1 << 20 // bytes each way: far more than a window

// routedWays are the modes that forward, as seen behind the routers.
func (s *site) routedWays() []way {
	var all []way
	for _, w := range s.ways() {
		if w.forward != "local" {
			all = append(all, w)
		}
	}
	return all
}

// narrow makes a router forward dst in packets of at most mtu bytes.
func (w *world) narrow(router string, dst netip.Prefix, dev string, mtu int) {
	w.t.Helper()
	dest := dst.String()
	w.run(w.host(router), "ip", "route", "del", dest, "dev", dev)
	w.run(w.host(router), "ip", "route", "add", dest, "dev", dev, "mtu", "lock", strconv.Itoa(mtu))
}

// The routers on the way are narrower than everybody's own links, and say so by ICMP: their words concern packets that
// the edge has rewritten, and must reach the sender as words about its own.
func TestPathMTUIsFoundByRoutersWords(t *testing.T) {
	s := newSite(t, "pmtu", siteOptions{routed: true})
	for _, dst := range []string{"192.0.2.0/24", "2001:db8:1::/64"} {
		s.narrow("isp", prefix(dst), "players", 1400)
	}
	for _, dst := range []string{"10.0.1.0/24", "fd00:1::/64"} {
		s.narrow("core", prefix(dst), "servers", 1320)
	}
	s.edge.run(everyMode(unlimited))
	s.checkPathMTU(1320, 1400)
}

// The edge itself stands before a narrower link: it answers as a router would. (In the other direction the router
// before that link does.)
func TestPathMTUIsFoundByTheEdgesWords(t *testing.T) {
	for _, v := range []struct {
		name             string
		players, servers int
		mtu              int
	}{
		{"narrow towards the servers", 1500, 1320, 1320},
		{"narrow towards the players", 1400, 1500, 1400},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := newSite(t, "toobig", siteOptions{routed: true, playersMTU: v.players, serverMTU: v.servers})
			s.edge.run(everyMode(unlimited))
			s.checkPathMTU(v.mtu, v.mtu)
			if n := s.edge.drops("too_big"); n == 0 {
				t.Error("the edge dropped nothing as too_big: it was not asked")
			} else {
				t.Logf("the edge refused %d packets as too_big", n)
			}
		})
	}
}

// checkPathMTU has a connection of each mode send both ways, and wants both ends to know the way's MTU afterwards.
func (s *site) checkPathMTU(up, down int) {
	for _, w := range s.routedWays() {
		s.udpServer(w.host, w.server, "")
		s.otherServer(w)
		s.tcpServer(w.host, w.server, "")
		s.t.Run(w.name+"/tcp", func(t *testing.T) {
			s := s.of(t)
			p := s.tcpPlayer(s.players, w.player, w.vip)
			began := time.Now()
			p.put(adapt)
			p.get(adapt)
			mtu, err := pathMTU(p.conn)
			must(t, err)
			if got := p.line("mtu"); mtu != up || got != fmt.Sprint(down) {
				t.Errorf("the player knows a path MTU of %d, the server of %s; want %d and %d", mtu, got, up, down)
			}
			t.Logf("%d MB each way in %v; path MTU %d up, %d down", adapt>>20, time.Since(began).Round(time.Millisecond), mtu, down)
		})
		s.t.Run(w.name+"/udp", func(t *testing.T) { s.of(t).checkUDPPathMTU(w, up) })
	}
}

// checkUDPPathMTU sends what may not be cut, until the kernel knows better.
func (s *site) checkUDPPathMTU(w way, up int) {
	var conn *net.UDPConn
	must(s.t, s.players.Do(func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(at(w.player, 0)), net.UDPAddrFromAddrPort(w.other)) // of whose way the kernel knows nothing yet
		return err
	}))
	defer conn.Close()
	raw, err := conn.SyscallConn()
	must(s.t, err)
	must(s.t, raw.Control(func(fd uintptr) {
		must(s.t, unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO))
		if w.player.Is6() {
			must(s.t, unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO))
		}
	}))
	payload := bytesOf(3, w.mtu)
	took := await(s.t, patience, "the kernel to refuse datagrams of 1500 bytes", func() bool {
		_, err := conn.Write(payload)
		return errors.Is(err, unix.EMSGSIZE)
	})
	fits := bytesOf(4, up-(1500-w.mtu))
	must(s.t, conn.SetDeadline(time.Now().Add(patience)))
	if _, err := conn.Write(fits); err != nil && !errors.Is(err, unix.EMSGSIZE) { // the error of the one before
		s.t.Fatal(err)
	} else if err != nil {
		_, err = conn.Write(fits)
		must(s.t, err)
	}
	n, err := conn.Read(make([]byte, 2048))
	for errors.Is(err, unix.EMSGSIZE) {
		n, err = conn.Read(make([]byte, 2048))
	}
	must(s.t, err)
	if n != len(fits) {
		s.t.Errorf("%d bytes came back of %d", n, len(fits))
	}
	s.t.Logf("told within %v; %d bytes go there and back", took.Round(time.Millisecond), n)
}

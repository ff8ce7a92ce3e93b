// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/netns"
)

const (
	bulkQuick = 16 << 20 // bytes each way
	bulkAll   = 1 << 30
)

// serverKernel is what a server's kernel takes of TCP.
type serverKernel struct {
	name                     string
	sack, timestamps, scales string // of net.ipv4.tcp_*
	mtu                      int
	lossy                    bool // a packet in 400 is lost behind the edge, each way
}

// What a server's kernel takes is what its players are offered, and all bytes come as they went: with each set of options translated, with
// gaps that SACK mends, by paths that are narrower than the players'.
func TestBulkThroughSYNProxy(t *testing.T) {
	for _, k := range []serverKernel{
		{"everything", "1", "1", "1", 1500, false},
		{"everything, lossy", "1", "1", "1", 1500, true},
		{"no SACK", "0", "1", "1", 1500, true},
		{"no timestamps", "1", "0", "1", 1500, true},
		{"no window scale", "1", "1", "0", 1500, false},
		{"bare", "0", "0", "0", 1400, false},
	} {
		t.Run(k.name, func(t *testing.T) { checkBulk(t, k) })
	}
}

func checkBulk(t *testing.T, k serverKernel) {
	size := int64(bulkQuick)
	if os.Getenv("PARRY_E2E") == "all" && k.name == "everything" {
		size = bulkAll
	}
	s := newSite(t, "bulk", siteOptions{})
	must(t, s.servers.Sysctl("net.ipv4.tcp_sack", k.sack), s.servers.Sysctl("net.ipv4.tcp_timestamps", k.timestamps),
		s.servers.Sysctl("net.ipv4.tcp_window_scaling", k.scales), s.atServers.SetMTU(k.mtu))
	if k.lossy {
		must(t, s.atPlayers.SetGRO(false), s.atServers.SetGRO(false)) // each packet by itself
		s.loses(s.players, 400)
		s.loses(s.servers, 400)
	}
	ways := []struct {
		name, forward       string
		player, vip, server netip.Addr
	}{{"nat", "nat", player4, vip4, server4}, {"transparent6", "transparent", player6, vip6, server6}}
	var services []service
	for _, w := range ways {
		s.tcpServer(s.servers, at(w.server, 25565), "")
		services = append(services, service{name: w.name, listen: fmt.Sprintf("%q", at(w.vip, 25565)), protocol: "tcp", forward: w.forward,
			servers: []string{at(w.server, 25565).String()}, more: "syn_proxy: always"})
	}
	s.edge.run(unlimited + yaml(services...))
	for _, w := range ways {
		s.edge.awaitTCP(w.name, true)
		p := s.tcpPlayer(s.players, w.player, at(w.vip, 25565))
		s.agreed(p, k, w.vip.Is4())
		began := time.Now()
		p.put(size)
		up := time.Since(began)
		p.get(size)
		s.proxied(w.name)
		down := time.Since(began) - up
		if again := s.tcpInfo(p).Total_retrans; k.lossy && again == 0 {
			t.Errorf("%s: nothing was lost on the way", w.name)
		}
		t.Logf("%s: %d MiB up in %v, down in %v, bit for bit", w.name, size>>20, up.Round(time.Millisecond), down.Round(time.Millisecond))
	}
}

// loses has a host lose a packet of TCP in n as it comes in.
func (s *site) loses(h *netns.Host, n int) {
	s.t.Helper()
	nft := needProgram(s.t, "nft")
	s.run(h, nft, "add table inet lossy")
	s.run(h, nft, "add chain inet lossy in { type filter hook prerouting priority -300; }")
	s.run(h, nft, fmt.Sprintf("add rule inet lossy in tcp dport != 22 numgen random mod %d == 0 drop", n))
}

// tcpInfo is what a player's kernel says of his connection.
func (s *site) tcpInfo(p *tcpPlayer) *unix.TCPInfo {
	s.t.Helper()
	raw, err := p.conn.(*net.TCPConn).SyscallConn()
	must(s.t, err)
	var info *unix.TCPInfo
	var asked error
	must(s.t, raw.Control(func(fd uintptr) { info, asked = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }), asked)
	return info
}

// agreed wants a player's connection to have what its server takes, and no more.
func (s *site) agreed(p *tcpPlayer, k serverKernel, v4 bool) {
	s.t.Helper()
	info := s.tcpInfo(p)
	const timestamps, sack, scales = 1, 2, 4 // TCPI_OPT_* of linux/tcp.h
	for _, o := range []struct {
		name string
		bit  uint8
		want string
	}{{"timestamps", timestamps, k.timestamps}, {"SACK", sack, k.sack}, {"window scale", scales, k.scales}} {
		if has := info.Options&o.bit != 0; has != (o.want == "1") {
			s.t.Errorf("%s agreed on: %v, and the server's kernel has it at %s", o.name, has, o.want)
		}
	}
	mss := uint32(k.mtu - 60)
	if v4 {
		mss += 20
	}
	if k.timestamps == "1" {
		mss -= 12 // of each segment
	}
	if info.Snd_mss > mss {
		s.t.Errorf("segments of %d bytes to a server that takes %d", info.Snd_mss, mss)
	}
}

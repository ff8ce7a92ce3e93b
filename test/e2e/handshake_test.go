// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"parry/pkg/api"
	"parry/pkg/netns"
)

const (
	shakenBulk  = 8 << 20
	bannerPort  = 2 // counted from a way's port: its server speaks first
	nobodyPort  = 4 // no server is there
	shakenPorts = 5
)

// shakenWay is a service of a mode and family.
type shakenWay struct {
	name, forward string
	vip, server   netip.Addr
	player        netip.Addr
	port          uint16
	header, proxy bool
}

func (w shakenWay) at(n uint16) netip.AddrPort       { return at(w.vip, w.port+n) }
func (w shakenWay) serverAt(n uint16) netip.AddrPort { return at(w.server, w.port+n) }

func (w shakenWay) service() service {
	more := "syn_proxy: " + map[bool]string{true: "always", false: "off"}[w.proxy]
	if w.header {
		more += ", proxy_protocol: v2"
	}
	ports := func(a netip.Addr) string {
		return fmt.Sprintf("%q", fmt.Sprintf("%s-%d", at(a, w.port), w.port+shakenPorts-1))
	}
	return service{name: w.name, protocol: "tcp", forward: w.forward, listen: ports(w.vip), servers: []string{strings.Trim(ports(w.server), `"`)}, more: more}
}

func shakenWays() []shakenWay {
	var all []shakenWay
	port := uint16(20000)
	for _, kind := range []struct{ header, proxy bool }{{false, true}, {true, true}, {true, false}} {
		for _, forward := range []string{"nat", "transparent"} {
			for _, f := range []struct {
				name                string
				vip, server, player netip.Addr
			}{{"4", vip4, server4, player4}, {"6", vip6, server6, player6}} {
				w := shakenWay{forward + f.name, forward, f.vip, f.server, f.player, port, kind.header, kind.proxy}
				if kind.header {
					w.name += "-header"
				}
				if !kind.proxy {
					w.name += "-alone"
				}
				all = append(all, w)
				port += 10
			}
		}
	}
	return all
}

// echoServer greets who connects, before he has said anything or when he has, and echoes.
func (s *site) echoServer(w shakenWay, port uint16, first bool) {
	s.t.Helper()
	var l net.Listener
	must(s.t, s.servers.Do(func() (err error) {
		l, err = net.Listen("tcp", w.serverAt(port).String())
		return err
	}))
	if w.header {
		l = &proxyproto.Listener{Listener: l, ReadHeaderTimeout: patience}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with its connection
				defer c.Close()
				in := bufio.NewReader(c)
				if !first {
					_, _ = in.Peek(1)
				}
				fmt.Fprintf(c, "welcome %s\n", c.RemoteAddr())
				_, _ = io.Copy(c, in)
			}()
		}
	}()
	s.t.Cleanup(func() { l.Close(); <-done })
}

// Real stacks on both sides play through the SYN proxy, and through the PROXY header: who speaks first, all bytes, half-closed
// connections, refusals.
func TestSYNProxy(t *testing.T) {
	s := newSite(t, "synproxy", siteOptions{})
	ways := shakenWays()
	var services []service
	for _, w := range ways {
		services = append(services, w.service())
	}
	s.edge.run(unlimited + yaml(services...))
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			s.echoServer(w, bannerPort, true)
			s.echoServer(w, bannerPort+1, false)
			t.Run("the server speaks first", func(t *testing.T) { s.checkBanner(t, w) })
			t.Run("all bytes", func(t *testing.T) { s.checkEcho(t, w) })
			t.Run("nobody listens", func(t *testing.T) { s.checkRefused(t, w) })
			if !w.header {
				s.tcpServer(s.servers, w.serverAt(0), "")
				t.Run("the client speaks first", func(t *testing.T) { s.checkShaken(t, w) })
			}
		})
	}
}

// The same with all that TCP has agreed on, and every fiftieth segment lost in both directions: what is lost is asked for again by blocks, windows and
// timestamps that the edge has translated, and nothing arrives otherwise than it was sent.
func TestSYNProxyWithLoss(t *testing.T) {
	s := newSite(t, "synloss", siteOptions{})
	var services []service
	var ways []shakenWay
	for _, w := range shakenWays() {
		if !w.header {
			ways, services = append(ways, w), append(services, w.service())
		}
	}
	s.edge.run(unlimited + yaml(services...))
	s.teachServers()
	for _, h := range []*netns.Host{s.players, s.servers} {
		s.run(h, needProgram(t, "nft"), "add table inet loss; add chain inet loss in { type filter hook input priority 0; }; "+
			"add rule inet loss in tcp flags & syn == 0 numgen random mod 50 < 1 drop")
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			s.tcpServer(s.servers, w.serverAt(0), "")
			p := s.tcpPlayer(s.players, w.player, w.at(0))
			raw, err := p.conn.(*net.TCPConn).SyscallConn()
			must(t, err)
			info := func() (i *unix.TCPInfo) {
				must(t, raw.Control(func(fd uintptr) { i, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }))
				must(t, err)
				return i
			}
			const all = 1 | 2 | 4 // TCPI_OPT_TIMESTAMPS, SACK, WSCALE
			if o := info().Options; o&all != all {
				t.Errorf("the player's options are %#x", o)
			}
			p.put(shakenBulk)
			p.get(shakenBulk)
			if info().Total_retrans == 0 {
				t.Error("nothing was lost: the test is blind")
			}
		})
	}
}

// teachServers tells the fast path what Linux takes of TCP, as the daemon does once it has asked.
func (s *site) teachServers() {
	s.t.Helper()
	pins, err := filepath.Glob(filepath.Join(s.edge.pin, "gen-*", "server"))
	must(s.t, err)
	for _, pin := range pins {
		m, err := ebpf.LoadPinnedMap(pin, nil)
		must(s.t, err)
		for i := range m.MaxEntries() {
			v, err := m.LookupBytes(i)
			must(s.t, err)
			binary.NativeEndian.PutUint16(v[18:], 1440) // struct server of bpf/abi.h: mss, then wscale, sack, timestamps, known
			copy(v[24:], []byte{7, 1, 1, 1})
			must(s.t, m.Put(i, v))
		}
		must(s.t, m.Close())
	}
}

func (s *site) checkBanner(t *testing.T, w shakenWay) {
	began := time.Now()
	p := s.tcpPlayer(s.players, w.player, w.at(bannerPort))
	must(t, p.conn.SetDeadline(time.Now().Add(patience)))
	got, err := bufio.NewReader(p.conn).ReadString('\n')
	must(t, err)
	t.Logf("greeted after %v: %s", time.Since(began), strings.TrimSpace(got))
	if want := fmt.Sprintf("welcome %s\n", p.addr()); (w.header || w.forward == "transparent") && got != want {
		t.Errorf("the server says %q, want %q", got, want)
	}
	if all := s.edge.sessions(api.Filter{Service: w.name}); len(all) != 1 || all[0].SYNProxy != w.proxy {
		t.Errorf("sessions %+v", all)
	}
	const words = "and then the client, who closes his half"
	_, err = io.WriteString(p.conn, words)
	must(t, err)
	must(t, p.conn.(*net.TCPConn).CloseWrite())
	rest, err := io.ReadAll(p.conn)
	must(t, err)
	if string(rest) != words {
		t.Errorf("echoed: %q", rest)
	}
}

// checkEcho has the client speak first, and much.
func (s *site) checkEcho(t *testing.T, w shakenWay) {
	p := s.tcpPlayer(s.players, w.player, w.at(bannerPort+1))
	must(t, p.deadline(shakenBulk))
	words := bytesOf(7, shakenBulk)
	sent := make(chan error, 1)
	go func() {
		_, err := p.conn.Write(words)
		sent <- errors.Join(err, p.conn.(*net.TCPConn).CloseWrite())
	}()
	in := bufio.NewReader(p.conn)
	got, err := in.ReadString('\n')
	must(t, err)
	if want := fmt.Sprintf("welcome %s\n", p.addr()); w.header && got != want {
		t.Errorf("the server says %q, want %q", got, want)
	}
	back, err := io.ReadAll(in)
	must(t, err, <-sent)
	if !bytes.Equal(back, words) {
		t.Errorf("%d bytes came back otherwise, as %d", len(words), len(back))
	}
}

func (s *site) checkRefused(t *testing.T, w shakenWay) {
	p, err := s.dialTCP(s.players, w.player, w.at(nobodyPort), patience)
	if err == nil { // the refusal comes after the edge's handshake, perhaps before the player has looked
		must(t, p.conn.SetDeadline(time.Now().Add(patience)))
		_, err = p.conn.Read(make([]byte, 1))
	}
	want := syscall.ECONNREFUSED
	if w.proxy { // its handshake was with the edge
		want = syscall.ECONNRESET
	}
	if !errors.Is(err, want) {
		t.Errorf("a server that isn't there: %v, want: %v", err, want)
	}
}

func (s *site) checkShaken(t *testing.T, w shakenWay) {
	p := s.tcpPlayer(s.players, w.player, w.at(0))
	seen, _ := p.seenAs()
	if w.forward == "transparent" && seen != p.addr() {
		t.Errorf("the server sees %v, not %v", seen, p.addr())
	}
	p.put(shakenBulk)
	p.get(shakenBulk)
}

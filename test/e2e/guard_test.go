// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"parry/pkg/netns"
)

// The rules that `server guard` prints, loaded on the server: play by the edge goes on, everybody else is kept from the game's port,
// and nothing else is touched.
func TestGuardLetsTheEdgeInAlone(t *testing.T) {
	nft := needProgram(t, "nft")
	s := newSite(t, "guard", siteOptions{})
	s.edge.run(everyMode(unlimited))
	other := s.host("other") // reaches the servers past the edge
	s.link(ends(other, "up0", "10.9.0.2/24", "fd00:9::2/64"), ends(s.servers, "up1", "10.9.0.1/24", "fd00:9::1/64"), netns.LinkOptions{})
	s.defaults(other, "10.9.0.1", "fd00:9::1")
	for _, w := range s.routedWays() {
		s.udpServer(w.host, w.server, "")
		s.tcpServer(w.host, w.server, "")
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			past, mine := addr("10.9.0.2"), addr("10.9.0.1") // mine: the server's other address
			if w.server.Addr().Is6() {
				past, mine = addr("fd00:9::2"), addr("fd00:9::1")
			}
			sshd, list := at(w.server.Addr(), 22), at(past, 27950)
			s.tcpServer(s.servers, sshd, "")
			s.run(s.servers, nft, "flush", "ruleset") // what the way before loaded
			direct := s.udpPlayer(other, past, w.server)
			direct.echo(10) // without rules there is no holding anybody

			file := filepath.Join(s.net.Dir(), "guard.nft")
			s.run(s.gate, "sh", "-c", s.edge.bin+" server guard "+w.forward+"4-1 "+w.forward+"6-1 --nft -c "+s.edge.file+" > "+file)
			s.run(s.servers, nft, "-c", "-f", file)
			s.run(s.servers, nft, "-f", file)
			s.run(s.servers, nft, "-f", file) // once more changes nothing

			s.udpPlayer(s.players, w.player, w.vip).echo(100)
			c := s.tcpPlayer(s.players, w.player, w.vip)
			c.put(1 << 20)
			direct.silent([]byte("still there?"), 100*time.Millisecond)
			s.udpPlayer(other, past, w.server).silent([]byte("new"), 100*time.Millisecond)
			s.refused(other, w.server)
			s.tcpPlayer(other, past, sshd).put(1000) // what is no game's passes
			if _, err := s.ping(other, past, w.server.Addr(), 56); err != nil {
				t.Error(err)
			}
			// What the server itself asks is answered to its game port.
			s.udpServer(other, list, "")
			heartbeat := &udpPlayer{t: t, conn: s.udp(s.servers, at(mine, w.server.Port())), to: list}
			defer heartbeat.conn.Close()
			heartbeat.echo(10)
			t.Logf("loaded:\n%s", s.run(s.servers, nft, "list", "ruleset"))
		})
	}
}

// refused wants no TCP connection to come about.
func (s *site) refused(h *netns.Host, to netip.AddrPort) {
	s.t.Helper()
	err := h.Do(func() error {
		c, err := net.DialTimeout("tcp", to.String(), 300*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err == nil {
		s.t.Errorf("TCP to %v gets in", to)
	}
}

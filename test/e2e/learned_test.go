// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
)

// serverTCP is what `parry server list` says of a pool's servers.
func (e *edge) serverTCP(pool string) *api.ServerTCP {
	e.t.Helper()
	var all []api.Server
	must(e.t, json.Unmarshal([]byte(e.ok("server", "list", "--json")), &all))
	for _, s := range all {
		if s.Pool == pool {
			return s.TCP
		}
	}
	e.t.Fatalf("no server of pool %s is listed", pool)
	return nil
}

// awaitTCP waits until a server's TCP is known, or known to be unknown.
func (e *edge) awaitTCP(pool string, known bool) *api.ServerTCP {
	e.t.Helper()
	var tcp *api.ServerTCP
	e.await(serverPatience, "what a server takes of TCP", func() bool {
		tcp = e.serverTCP(pool)
		return tcp != nil && tcp.Known == known && (known || tcp.Detail != "")
	})
	return tcp
}

// The daemon learns what servers take of TCP, forgets it when they are gone, and says so. A daemon that comes anew begins with what the
// one before knew.
func TestServersTCPIsLearned(t *testing.T) {
	s := newSite(t, "handshake", siteOptions{})
	must(t, s.servers.Sysctl("net.ipv4.tcp_sack", "0"), s.servers.Sysctl("net.ipv4.tcp_timestamps", "0"))
	first := s.tcpServer(s.servers, at(server4, 25565), "")
	s.tcpServer(s.servers, at(server6, 25565), "")
	s.edge.run(yaml(
		service{name: "four", listen: `"203.0.113.10:25565"`, protocol: "tcp", forward: "nat", servers: []string{"10.0.1.11:25565"}},
		service{name: "six", listen: `"[2001:db8:edfe::12]:25565"`, protocol: "tcp", forward: "transparent", servers: []string{"[fd00:1::11]:25565"}, more: "syn_proxy: always"},
		service{name: "off", listen: `"203.0.113.11:25566"`, protocol: "tcp", forward: "nat", servers: []string{"10.0.1.11:25566"}, more: "syn_proxy: off"},
	))
	for pool, mss := range map[string]uint16{"four": 1460, "six": 1440} {
		got := s.edge.awaitTCP(pool, true)
		if *got.MSS != mss || got.WindowScale == nil || *got.SACK || *got.Timestamps || got.Detail != "" {
			text, _ := json.Marshal(got)
			t.Errorf("%s: %s, want an MSS of %d, no SACK, no timestamps", pool, text, mss)
		}
	}
	if got := s.edge.serverTCP("off"); got != nil {
		t.Errorf("a server without the SYN proxy was asked: %+v", got)
	}

	s.edge.kill()
	first.close()
	s.edge.start()
	got := s.edge.awaitTCP("four", false)
	if got.MSS != nil || !strings.Contains(got.Detail, "refuses") {
		t.Errorf("of a server that is gone: %+v", got)
	}
	s.edge.wantEvent("server.tcp", "does not shake hands")
	must(t, s.servers.Sysctl("net.ipv4.tcp_sack", "1"))
	s.tcpServer(s.servers, at(server4, 25565), "")
	if got := s.edge.awaitTCP("four", true); !*got.SACK {
		t.Errorf("the server has come back with SACK: %+v", got)
	}
	s.edge.wantEvent("server.tcp", "SACK, no timestamps")
	s.checkDrops()
}

// wantEvent wants an event among those that the daemon remembers.
func (e *edge) wantEvent(kind, text string) {
	e.t.Helper()
	e.await(patience, "the event "+kind, func() bool {
		found := false
		for ev, err := range e.client.Events(e.t.Context(), api.EventQuery{Types: []string{kind}, Since: time.Unix(1, 0)}) {
			must(e.t, err)
			found = found || strings.Contains(ev.Text, text)
		}
		return found
	})
}

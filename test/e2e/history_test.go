// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/history"
)

// pastServices are those of TestHistory, which a reload changes one of.
func pastServices(server, limits string) string {
	udp := func(name, port, server, more string) service {
		return service{name: name, listen: `"203.0.113.10:` + port + `"`, forward: "nat", servers: []string{server + ":" + port}, more: more}
	}
	tcp := udp("lines", "27964", "10.0.1.11", "")
	tcp.protocol = "tcp"
	return "timeouts: {udp: 3s, weak: 3s, tcp: 10s, opening: 1s, closing: 1s}\n" +
		yaml(udp("played", "27960", "10.0.1.11", ""), udp("limited", "27961", "10.0.1.11", limits), udp("drained", "27962", server, ""), tcp)
}

// recordOf waits for the record of a session that ended.
func (s *site) recordOf(client netip.AddrPort) (r history.Record) {
	s.t.Helper()
	s.edge.await(20*time.Second, client.String()+" to be recorded", func() bool {
		all, err := api.Collect(s.edge.client.History(s.t.Context(), history.Filter{Client: netip.PrefixFrom(client.Addr(), 32)}))
		must(s.t, err)
		for i := range all {
			if all[i].Client == client {
				r = all[i]
				return true
			}
		}
		return false
	})
	return r
}

// insist sends on for a while, whatever becomes of it.
func (p *udpPlayer) insist(payload []byte, within time.Duration) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < within; <-tick.C {
		_, err := p.conn.WriteToUDPAddrPort(payload, p.to)
		must(p.t, err)
	}
}

// Each session that was proven leaves a record that says whose doing its end was, and records outlive the daemon.
func TestHistory(t *testing.T) {
	t.Parallel()
	s := newSite(t, "history", siteOptions{})
	s.edge.run(unlimited + pastServices("10.0.1.11", ""))
	for _, port := range []uint16{27960, 27961, 27962} {
		s.udpServer(s.servers, at(server4, port), "")
	}
	want := map[netip.AddrPort]string{}
	playing := func(n int, port uint16) *udpPlayer {
		p := s.udpPlayer(s.players, s.playerAt(n), at(vip4, port))
		p.join(patience)
		p.echo(200)
		p.echo(200)
		return p
	}
	began := time.Now().Add(-time.Second)

	want[playing(1, 27960).addr()] = history.ByIdle
	killed := playing(2, 27960)
	want[killed.addr()] = history.ByKilled
	s.edge.ok("session", "kill", "--client", killed.addr().Addr().String())
	s.endLines(want)
	blocked := playing(3, 27960)
	want[blocked.addr()] = history.ByBlock
	s.edge.ok("block", "add", blocked.addr().Addr().String(), "--reason", "e2e")
	blocked.insist([]byte("still here"), 2*time.Second)
	quiet := playing(4, 27960) // who hears of it at once and sends nothing more: the entry alone tells
	want[quiet.addr()] = history.ByBlock
	s.edge.ok("block", "add", quiet.addr().Addr().String(), "--ttl", "1h")
	limited, drained := playing(5, 27961), playing(6, 27962)
	want[limited.addr()], want[drained.addr()] = history.ByLimit, history.ByDrain
	s.edge.configure(unlimited + pastServices("10.0.1.99", "limits: {max_packet: 100}"))
	s.edge.ok("reload")
	limited.insist(make([]byte, 200), 2*time.Second)
	cut := playing(7, 27960)
	want[cut.addr()] = history.ByPath
	s.run(s.servers, "ip", "addr", "del", server4.String()+"/24", "dev", "up0")
	s.run(s.gate, "ip", "neigh", "flush", "to", server4.String(), "dev", "servers")
	cut.insist([]byte("hello?"), 2700*time.Millisecond) // the edge gives a neighbour up after a second or two: what counts is what is dropped a second after that
	s.run(s.servers, "ip", "addr", "add", server4.String()+"/24", "dev", "up0")

	for client, by := range want {
		r := s.recordOf(client)
		if r.EndedBy != by || r.Start.Before(began) || r.End.Before(r.Start) || r.Up == nil || r.Up.Packets < 3 || r.Down.Packets < 3 || r.Edge.Addr() != vip4 ||
			r.Proof == "none" || (r.ServerName == "") != (by == history.ByDrain) || r.Up.Loss != nil {
			t.Errorf("%v ended by %s, want %s: %+v, up %+v, down %+v", client, r.EndedBy, by, r, *r.Up, *r.Down)
		}
	}
	s.checkPast(t, blocked, want)
}

// endLines ends TCP connections from either side.
func (s *site) endLines(want map[netip.AddrPort]string) {
	s.t.Helper()
	server := s.tcpServer(s.servers, at(server4, 27964), "")
	left := s.tcpPlayer(s.players, s.playerAt(8), at(vip4, 27964))
	left.put(100)
	want[left.addr()] = history.ByClient
	must(s.t, left.conn.(*net.TCPConn).SetLinger(0), left.conn.Close()) // by a reset
	stays := s.tcpPlayer(s.players, s.playerAt(9), at(vip4, 27964))
	stays.put(100)
	want[stays.addr()] = history.ByServer
	server.close()
	must(s.t, stays.conn.Close())
}

// checkPast kills the daemon and asks the next one of the past, by its command line.
func (s *site) checkPast(t *testing.T, blocked *udpPlayer, want map[netip.AddrPort]string) {
	t.Helper()
	s.edge.kill()
	s.edge.start()
	if st := s.edge.status().History; st.Lost+st.Damaged+st.PassedOver > 0 || st.Segments == 0 {
		t.Errorf("%+v", st)
	}
	var all []history.Record
	must(t, json.Unmarshal([]byte(s.edge.ok("session", "history", "--json")), &all))
	if len(all) != len(want) {
		t.Errorf("%d records of %d sessions outlived the daemon", len(all), len(want))
	}
	who := blocked.addr().Addr().String()
	for _, x := range []struct {
		args []string
		says []string
	}{
		{[]string{"session", "history", "--client", who, "--since", "1h"}, []string{who, "played-1", "block"}},
		{[]string{"session", "history", "--ended-by", "drain"}, []string{"drained"}},
		{[]string{"player", "list", "--lately", "1h"}, []string{who, "played"}},
		{[]string{"player", "show", who}, []string{"block list: " + who + ", e2e", "ended by block"}},
		{[]string{"explain", who, "--at", "1s"}, []string{"ended by block", "block list: " + who, "Not known:", "had been connected to played"}},
	} {
		out := s.edge.ok(x.args...)
		for _, text := range x.says {
			if !strings.Contains(out, text) {
				t.Errorf("parry %s doesn't say %q:\n%s", strings.Join(x.args, " "), text, out)
			}
		}
	}
	if o := s.edge.cli("", "explain", "Nobody"); o.code != 1 || !strings.Contains(o.err, `player "Nobody" is not known`) {
		t.Errorf("of a player whom nobody knows it says %s%s", o.out, o.err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"parry/pkg/api"
)

// A service that only watches says whom its limits would have hit; switched on, it hits a player and only watches again by itself, and
// what was promoted holds over a restart and goes as the file says so itself.
func TestShadow(t *testing.T) {
	t.Parallel()
	s := newSite(t, "shadow", siteOptions{})
	w := s.ways()[0]
	config := func(enforce string) string {
		return yaml(service{
			name: "nat4", protocol: "[udp, tcp]", forward: "nat", listen: w.vip.String(), servers: []string{w.server.String()},
			more: "enforce: " + enforce + ", limits: {source: {packets_per_second: 50, burst: 10}}",
		})
	}
	s.edge.run(config("false"))
	s.udpServer(w.host, w.server, "")
	s.tcpServer(w.host, w.server, "")
	row := func() (r api.ShadowRow) {
		rep, err := s.edge.client.Shadow(t.Context(), "nat4")
		must(t, err)
		for _, x := range rep.Rows {
			if x.Reason == "rate_packets" {
				r = x
			}
		}
		return r
	}
	// Strangers, and one whom TCP's handshake proves a player.
	for i := range 3 {
		p := s.udpPlayer(s.players, s.playerAt(i+1), w.vip)
		for range 100 {
			_, err := p.conn.WriteToUDPAddrPort([]byte("much"), w.vip)
			must(t, err)
		}
	}
	player := s.tcpPlayer(s.players, w.player, w.vip)
	for range 100 {
		player.line("who")
	}
	await(t, patience, "refusals to be booked", func() bool { r := row(); return r.Players == 1 && r.Sources == 4 })
	r := row()
	if r.What != "nat4" || r.Packets < 100 || s.edge.drops("rate_packets") != 0 {
		t.Errorf("booked %+v, dropped %d", r, s.edge.drops("rate_packets"))
	}
	if out := s.edge.ok("shadow", "report"); !strings.Contains(out, "packets of 4 sources, 1 of whom proved to be players; by nat4") {
		t.Errorf("parry shadow report says %q", out)
	}
	// On trial it hits that player.
	if out := s.edge.ok("shadow", "promote", "nat4", "--roll-back-after", "1h", "--max-players", "0"); !strings.Contains(out, "on trial until") {
		t.Errorf("parry shadow promote says %q", out)
	}
	if st := s.edge.status(); !st.Services[0].Enforce || len(st.Promoted) != 1 || st.Promoted[0].State != api.ShadowTrial {
		t.Errorf("promoted: %+v", st.Promoted)
	}
	s.edge.term()
	s.edge.start()
	if st := s.edge.status(); !st.Services[0].Enforce || len(st.Promoted) != 1 {
		t.Errorf("after a restart: %+v", st.Promoted)
	}
	for range 100 { // TCP sends again what is lost
		player.line("who")
		if s.edge.drops("rate_packets") > 0 {
			break
		}
	}
	await(t, 3*patience, "the trial to be rolled back", func() bool { return len(s.edge.status().Promoted) == 0 })
	if s.edge.status().Services[0].Enforce {
		t.Error("it is enforced still")
	}
	if said := s.edge.ok("event", "tail", "--follow=false", "--type", "shadow"); !strings.Contains(said, "nat4 only watches again: it has hit 1 players (rate_packets)") {
		t.Errorf("events: %s", said)
	}
	// Without a trial, until the file itself says so.
	s.edge.ok("shadow", "promote", "nat4", "--roll-back-after", "0s")
	if o := s.edge.cli("", "shadow", "promote", "nat4"); o.code != 1 || !strings.Contains(o.err, "roll it back first") {
		t.Errorf("promoted twice: %d %s", o.code, o.err)
	}
	s.edge.configure(config("true"))
	s.edge.ok("reload")
	if st := s.edge.status(); !st.Services[0].Enforce || len(st.Promoted) != 0 {
		t.Errorf("after a reload: %+v", st.Promoted)
	}
	s.edge.configure(config("false"))
	s.edge.ok("reload")
	if s.edge.status().Services[0].Enforce {
		t.Error("a promotion outlived a file that said so itself")
	}
}

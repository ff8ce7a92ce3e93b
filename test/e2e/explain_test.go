// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
)

// Who is dropped can be told why: by the sample that is taken of each source always, and whole while it is watched.
func TestExplain(t *testing.T) {
	t.Parallel()
	s := newSite(t, "explain", siteOptions{})
	s.edge.run(everyMode("limits: {source: {packets_per_second: 200, burst: 20}}\n"))
	for _, w := range []way{s.ways()[0], s.ways()[1]} {
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			s.udpServer(w.host, w.server, "")
			p := s.udpPlayer(s.players, w.player, w.vip)
			p.join(patience)
			burst := func() {
				for range 200 {
					_, err := p.conn.WriteToUDPAddrPort([]byte("much"), w.vip)
					must(t, err)
				}
			}
			burst()
			var e api.Explanation
			await(t, patience, "its drops to be known", func() bool {
				var err error
				e, err = s.edge.client.Explain(t.Context(), api.ExplainQuery{Address: w.player})
				must(t, err)
				return e.Drops["rate_packets"] > 0
			})
			if e.Blocked || e.Allowed || len(e.Sessions) != 1 || len(e.Last) == 0 || !strings.HasPrefix(e.Last[0].Packet, "udp ") ||
				!strings.Contains(e.Last[0].Packet, p.addr().String()) || e.Last[0].Service != w.name || e.Last[0].Direction != "up" {
				t.Errorf("explained: %+v", e)
			}
			if len(e.Limits) != 3 || e.Limits[0].Limit != "packets_per_second" || e.Limits[0].Value != 200 || e.Limits[0].Level != api.LevelSource {
				t.Errorf("limits: %+v", e.Limits)
			}
			if text := strings.Join(e.Text, " "); !strings.Contains(text, "is not blocked. It ") || !strings.Contains(text, "more packets came than one player sends") {
				t.Errorf("the player is told %q", text)
			}
			began := make(chan api.Explanation, 1)
			go func() {
				e, err := s.edge.client.Explain(t.Context(), api.ExplainQuery{Address: w.player, Watch: 2 * time.Second})
				if err != nil {
					t.Error(err)
				}
				began <- e
			}()
			await(t, patience, "it to be watched", func() bool {
				return strings.Contains(s.edge.said(), "an address is watched\" address="+w.player.String())
			})
			burst()
			e = <-began
			if e.Watched == nil || e.Watched.Up < 200 || e.Watched.Dropped < 100 || e.Watched.Lost != 0 || e.Drops["rate_packets"] < 100 {
				t.Errorf("watched: %+v, dropped %v", e.Watched, e.Drops)
			}
			s.edge.ok("block", "add", w.player.String(), "--reason", "e2e")
			if out := s.edge.ok("explain", w.player.String()); !strings.Contains(out, "blocked    yes") || !strings.Contains(out, "block list: "+w.player.String()+", e2e") {
				t.Errorf("parry explain says\n%s", out)
			}
		})
	}
}

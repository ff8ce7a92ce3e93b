// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"parry/pkg/lab"
)

// joinWorld has a hundred clients come in 30 seconds of a SYN flood as fast as one CPU makes it.
const joinWorld = 45 * time.Second

// Clients of Minecraft's protocol (status, login, the first packet of play) come while SYNs from everywhere flood their service; their
// server has no SYN cookies of its own.
func TestJoinsUnderSYNFlood(t *testing.T) {
	all(t)
	for _, edge := range []struct {
		name   string
		make   lab.EdgeMaker
		target string
		holds  bool
	}{{"SYN flood", lab.Parry(program(t)), "at least 99", true}, {"SYN flood, plain edge (nftables)", lab.Nftables(), "less", false}} {
		r, err := lab.Run(t.Context(), lab.Options{
			Scenario: "syn", Duration: joinWorld, Short: true, Edge: edge.make, View: lab.Quiet{}, Log: slog.New(slog.DiscardHandler),
		})
		must(t, err)
		for _, g := range r.Players {
			if g.Group != "new" || g.Protocol != "tcp" {
				continue
			}
			part := g.ByGame[0]
			figure(t, fmt.Sprintf("%s, %d packets/s: in within 2 s", edge.name, r.Attack.PPS), fmt.Sprintf("%d of %d", part.InTime, part.Players), edge.target)
			figure(t, "  half of them within; the slowest of those who are in", fmt.Sprintf("%v; %v", round(part.JoinMS), round(part.JoinMaxMS)), "")
			if good := part.InTime*100 >= part.Players*99; part.Players < 90 || good != edge.holds {
				t.Errorf("%s: %+v", edge.name, part)
			}
		}
		if edge.holds && r.Err() != nil {
			t.Error(r.Err())
		}
	}
}

// round makes one of the lab's times readable.
func round[T ~int64](d T) time.Duration { return time.Duration(d).Round(10 * time.Microsecond) }

// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"log/slog"
	"os"
	"testing"
	"time"
)

func TestParryKeepsPlayersPlaying(t *testing.T) {
	needRoot(t)
	binary := os.Getenv("PARRY_BIN")
	if binary == "" {
		t.Skip("PARRY_BIN is not set: make e2e builds parry and sets it")
	}
	for _, tt := range []struct {
		scenario string
		reason   string // that must have dropped most of the flood's share
		joins    bool   // newcomers get in at once
	}{
		{"fixed-udp", "rate_packets", true},
		{"host-udp", "host_rate", true},
		{"host-icmp", "host_rate", true},
		{"fragments", "fragment_orphan", false},
		{"random-udp", "", false},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			r, err := Run(t.Context(), Options{Scenario: tt.scenario, Duration: shortRun, Edge: Parry(binary), View: Quiet{},
				Log: slog.New(slog.DiscardHandler)})
			must(t, err, r.Err())
			dropped := sumOf(r.Attack.Dropped)
			if r.Attack.Packets == 0 {
				t.Errorf("no attack: %+v", r.Attack)
			}
			// A flood of forged sources may fill the NAT ports before anything is dropped: how much is the machine's speed.
			if tt.reason != "" && (dropped < r.Attack.Packets/2 || r.Attack.Dropped[tt.reason] < dropped/3) {
				t.Errorf("attack: %+v", r.Attack)
			}
			if b := r.Block; b == nil || !b.Joined || !b.Silenced || !b.Released || time.Duration(b.EffectMS) > 500*time.Millisecond {
				t.Errorf("block: %+v", b)
			}
			if c := r.Restart; c == nil || c.Lost > 0 || c.SessionsAdopted < establishedPlayers+tcpPlayers {
				t.Errorf("restart: %+v", c)
			}
			if fresh := r.Players[1]; tt.joins && fresh.Joined != fresh.Players {
				t.Errorf("new players: %+v", fresh)
			}
		})
	}
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

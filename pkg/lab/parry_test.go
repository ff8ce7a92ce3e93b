// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"parry/test/need"
)

// hold fails unless what is no question of the machine's speed held: how soon newcomers and queries got through on two busy cores is
// what `parry lab` measures.
func hold(t *testing.T, r *Report) {
	t.Helper()
	for _, c := range r.Checks {
		switch {
		case c.OK:
		case slices.Contains([]string{"end_to_end", "join_challenge", "join_plain", "queries", "tcp_unbroken"}, c.Name):
			t.Logf("%s: %s, wanted %s", c.Name, c.Found, c.Wanted)
		default:
			t.Errorf("%s: %s, wanted %s", c.Name, c.Found, c.Wanted)
		}
	}
}

func TestParryKeepsPlayersPlaying(t *testing.T) {
	need.Root(t)
	binary := os.Getenv("PARRY_BIN")
	if binary == "" {
		t.Skip("PARRY_BIN is not set: make e2e builds parry and sets it")
	}
	for _, tt := range []struct {
		scenario string
		short    bool
		reason   string  // that must have dropped some of the flood
		passes   float64 // packets a second that the limits let through, bursts included; 0 = not said
	}{
		{"fixed-udp", false, "unproven_rate", fixedAttackers * (1000 + 2000)},
		{"random-udp", true, "greylisted", 0},
		{"getstatus", true, "greylisted", 0},
		{"carpet", true, "greylisted", 0},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			r, err := Run(t.Context(), Options{Scenario: tt.scenario, Duration: MinDuration, Short: tt.short, Edge: Parry(binary), View: Quiet{},
				Log: slog.New(slog.DiscardHandler)})
			must(t, err)
			hold(t, r)
			if r.Attack.Packets == 0 {
				t.Errorf("no attack: %+v", r.Attack)
			}
			// How much of the flood is dropped is the machine's speed; how much may pass is the configuration's.
			seconds := float64(r.Attack.Packets)/float64(max(r.Attack.PPS, 1)) + 1
			if r.Attack.Dropped[tt.reason] == 0 {
				t.Errorf("nothing dropped as %s: %+v", tt.reason, r.Attack)
			}
			if tt.passes > 0 && float64(r.Attack.Reached+r.Attack.Host) > tt.passes*seconds {
				t.Errorf("more than %v a second passed: %+v", tt.passes, r.Attack)
			}
			if tt.short {
				return
			}
			if b := r.Block; b == nil || !b.Joined || !b.Silenced || !b.Released || time.Duration(b.EffectMS) > 500*time.Millisecond {
				t.Errorf("block: %+v", b)
			}
			if c := r.Restart; c == nil || c.Lost > 0 || c.SessionsAdopted < uint64(establishedPlayers()+tcpPlayers) {
				t.Errorf("restart: %+v", c)
			}
		})
	}
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

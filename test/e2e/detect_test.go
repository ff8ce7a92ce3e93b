// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
)

// blockOf is the entry of the block list for an address, made by the detector; nil: there is none.
func (e *edge) blockOf(a netip.Addr) *blocklist.Entry {
	e.t.Helper()
	var all []blocklist.Entry
	must(e.t, json.Unmarshal([]byte(e.ok("block", "list", a.String(), "--json")), &all))
	for i := range all {
		if all[i].Source == blocklist.SourceDetect {
			return &all[i]
		}
	}
	return nil
}

// robot connects, says something and leaves, n times at even intervals or until it is refused.
func (s *site) robot(from netip.Addr, to netip.AddrPort, n int, every time.Duration) (joined int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range n {
		if p, err := s.dialTCP(s.players, from, to, every/2); err == nil {
			joined++
			p.line("who")
			must(s.t, p.conn.Close())
		}
		if s.edge.blockOf(from) != nil {
			return joined
		}
		<-tick.C
	}
	return joined
}

// A source that connects again and again by a clock is blocked by itself, with its evidence and for a time; others are not, and what a
// person takes back stays back. It outlives the daemon.
func TestDetectorBlocksARobot(t *testing.T) {
	s := newSite(t, "detect", siteOptions{})
	w := s.ways()[0]
	config := func(mode string) string {
		return "detect: {mode: " + mode + "}\n" + yaml(service{name: "nat4", protocol: "[udp, tcp]", forward: "nat", listen: w.vip.String(), servers: []string{w.server.String()}})
	}
	s.edge.run(config("block"))
	s.tcpServer(w.host, w.server, "")
	robot, human := s.playerAt(1), s.tcpPlayer(s.players, s.playerAt(2), w.vip)
	human.line("who")
	joined := s.robot(robot, w.vip, 40, 300*time.Millisecond)
	b := s.edge.blockOf(robot)
	if b == nil || b.Reason != "risk" || b.Confidence != 1 || b.Expires == nil || time.Until(*b.Expires) > 10*time.Minute {
		t.Fatalf("after %d connections: %+v", joined, b)
	}
	if joined < 10 || joined > 12 {
		t.Errorf("blocked after %d connections, its limit lets in 10 and the 11th is one too many", joined)
	}
	human.line("who")
	if s.edge.blockOf(s.playerAt(2)) != nil {
		t.Error("somebody else is blocked, too")
	}
	why := func() (x api.BlockExplanation) {
		must(t, json.Unmarshal([]byte(s.edge.ok("block", "explain", robot.String(), "--json")), &x))
		return x
	}
	x := why()
	if !x.Blocked || len(x.Decisions) != 1 || len(x.Decisions[0].Facts) != 3 || x.Decisions[0].DelayMS > 500 || x.Standing == nil || !x.Standing.Blocked {
		t.Errorf("explained as %+v", x)
	}
	t.Logf("%.1f ms from the packet to the block: %s", x.Decisions[0].DelayMS, x.Decisions[0].Text)
	if out := s.edge.ok("block", "explain", robot.String()); !strings.Contains(out, "each 0.3 s after the other") {
		t.Errorf("in words: %s", out)
	}
	if out := s.edge.ok("event", "tail", "--follow=false", "--type", "block.add"); !strings.Contains(out, "blocked "+robot.String()+" for 10m0s: ") {
		t.Errorf("events: %s", out)
	}
	if _, err := s.dialTCP(s.players, robot, w.vip, time.Second); err == nil {
		t.Error("it gets in")
	}
	s.edge.term()
	s.edge.start()
	if x := why(); !x.Blocked || len(x.Decisions) != 1 || len(x.Decisions[0].Facts) != 3 || !x.Standing.Blocked {
		t.Errorf("after a restart: %+v", x)
	}
	// Somebody takes it back: so it stays, whatever it does, for as long as the block would have held.
	s.edge.ok("block", "del", robot.String())
	if x := why(); x.Blocked || !x.Decisions[0].Lifted || x.Standing.Blocked {
		t.Errorf("taken back: %+v", x)
	}
	if joined := s.robot(robot, w.vip, 14, 300*time.Millisecond); joined == 0 || s.edge.blockOf(robot) != nil {
		t.Errorf("taken back, and blocked again after %d connections", joined)
	}
	// One that only watches says so, and blocks nobody.
	s.edge.configure(config("watch"))
	s.edge.ok("reload")
	s.robot(s.playerAt(3), w.vip, 14, 300*time.Millisecond)
	await(t, patience, "the detector to say what it would do", func() bool {
		return strings.Contains(s.edge.ok("event", "tail", "--follow=false", "--type", "detect.would"), "would block "+s.playerAt(3).String())
	})
	if s.edge.blockOf(s.playerAt(3)) != nil {
		t.Error("mode: watch blocks")
	}
}

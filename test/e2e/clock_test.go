// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/api"
)

// needVM skips what would upset a machine that others use; target is what runs it in a virtual one.
func needVM(t *testing.T, why, target string) {
	t.Helper()
	if os.Getenv("PARRY_VM") == "" {
		t.Skip(why + ": `" + target + "` does it in a virtual machine")
	}
}

// step moves the machine's clock.
func step(t *testing.T, by time.Duration) {
	t.Helper()
	now := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
	must(t, unix.ClockSettime(unix.CLOCK_REALTIME, &now))
}

// The edge lives by the clock that only goes forward. A step of the other one, either way, ends no session and no block
// before its time, and keeps none beyond it.
func TestClockJumps(t *testing.T) {
	needVM(t, "steps the machine's clock", "make e2e-kernel")
	s := newSite(t, "clock", siteOptions{})
	s.edge.run(everyMode(guarded))
	c := s.newCrowd(s.ways(), 1, 50*time.Millisecond)
	web := c.ways[0]
	s.udpPlayer(s.players, s.playerAt(1), web.vip).echo(10) // the edge's host knows these players' ways
	s.edge.ok("block", "add", s.playerAt(9).String(), "--ttl", "1h")
	long := s.udpPlayer(s.players, s.playerAt(9), web.vip)
	for _, by := range []time.Duration{25 * time.Hour, -50 * time.Hour, 24 * 365 * time.Hour} {
		short := s.udpPlayer(s.players, s.playerAt(2), web.vip)
		s.edge.ok("block", "add", s.playerAt(2).String(), "--ttl", "4s")
		began := time.Now() // Go's clock for what takes time is the one that isn't moved
		step(t, by)
		short.silent([]byte("still blocked"), 500*time.Millisecond)
		long.silent([]byte("still blocked"), 100*time.Millisecond)
		c.more(10)
		s.expiresIn(s.playerAt(9), 58*time.Minute, time.Hour)
		if s.udpPlayer(s.players, s.playerAt(2), web.vip).tryJoin(30*time.Second) == 0 || time.Since(began) < 3500*time.Millisecond {
			t.Errorf("after a step of %v a block of 4 s held for %v", by, time.Since(began))
		}
		t.Logf("after a step of %v a block of 4 s held for %v", by, time.Since(began).Round(100*time.Millisecond))
		s.edge.kill()
		c.more(5)
		s.edge.start()
		long.silent([]byte("still blocked"), 100*time.Millisecond)
		c.more(5)
		c.meet()
		for _, v := range s.edge.sessions(api.Filter{}) {
			if v.AgeMS < 0 || v.AgeMS > time.Hour.Milliseconds() || v.IdleMS < 0 || v.IdleMS > time.Minute.Milliseconds() {
				t.Errorf("a session is %d ms old and idle for %d ms", v.AgeMS, v.IdleMS)
			}
		}
	}
	c.end()
}

// expiresIn wants a block to be listed with the time that it has still to run, whatever time people say it is.
func (s *site) expiresIn(who netip.Addr, least, most time.Duration) {
	s.t.Helper()
	for e, err := range s.edge.client.Entries(s.t.Context(), api.Block) {
		must(s.t, err)
		if e.Prefix.Addr() != who {
			continue
		}
		if left := e.Expires.Sub(time.Now().Round(0)); left < least || left > most {
			s.t.Errorf("the block of %v is listed to end in %v", who, left)
		}
		return
	}
	s.t.Errorf("%v is not listed as blocked", who)
}

// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"bufio"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	shellPort   = 27962
	robots      = 50
	robotEvery  = 300 * time.Millisecond
	robotTries  = 60
	delayTarget = 100 * time.Millisecond
)

// detectConfig has strangers begin sessions as fast as they come, for each is to be told of: a service that floods go to, one for robots.
const detectConfig = `sizes: {sessions: 1048576, unproven: 262144, sources: 8388608}
attack: {elevated: {strangers_per_second: 0, refused_per_second: 0}, attack: {strangers_per_second: 0, refused_per_second: 0}}
strangers: {sessions_per_second: 1000000}
queries: {unproven_kbps: 0}
services:
  - {name: arena, listen: "198.18.0.1:27960", protocol: udp, forward: transparent, pool: arena}
  - {name: shell, listen: "198.18.0.1:27962", protocol: tcp, forward: nat, pool: shell, syn_proxy: "off"}
pools:
  - {name: arena, servers: [{name: s1, address: "198.51.100.2:27960"}]}
  - {name: shell, servers: [{name: s1, address: "198.51.100.2:27962"}]}
`

// From the packet that completes the evidence to the block: robots connect by a clock beside a flood of which each packet is to be
// told of (200,000 a second, and as many as a CPU makes), while somebody plays.
func TestBlockDelay(t *testing.T) {
	all(t)
	for _, f := range []struct {
		name string
		rate uint64
	}{{"nothing else", 1}, {"200,000 samples/s offered", 200_000}, {"as many as a CPU makes", 0}} {
		t.Run(f.name, func(t *testing.T) {
			e := newEdge(t, "delay", detectConfig)
			e.start(t)
			e.greet(t)
			e.swallow(t)
			e.underFlood(t, f.name, f.rate, func() { e.robots(t) })
			e.delays(t, f.name)
			e.stop(t)
		})
	}
}

// Ten times as much as the daemon can take: it is held to a tenth of the CPU time that the same flood took of it.
func TestSamplesOverload(t *testing.T) {
	all(t)
	const rate, long = 200_000, 20 * time.Second
	e := newEdge(t, "overload", detectConfig)
	e.start(t)
	e.greet(t)
	e.swallow(t)
	took := e.underFlood(t, "all that it asks for", rate, func() { time.Sleep(long) }) // the time is what is measured
	e.underFlood(t, "a tenth of that CPU time", rate, func() { e.held(t, took/10, long) })
	e.stop(t)
}

// held has the daemon stand still, for so long, whenever it has had more than its share of a CPU.
func (e *edge) held(t *testing.T, share float64, long time.Duration) {
	t.Helper()
	pid, cpu, began := e.daemon.PID(), e.cpuTime(t), time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < long {
		<-tick.C
		sig := unix.SIGCONT
		if float64(e.cpuTime(t)-cpu) > share*float64(time.Since(began)) {
			sig = unix.SIGSTOP
		}
		must(t, unix.Kill(pid, sig))
	}
	had := float64(e.cpuTime(t)-cpu) / float64(time.Since(began))
	must(t, unix.Kill(pid, unix.SIGCONT))
	figure(t, "the daemon was given; of a CPU", fmt.Sprintf("%.1f %%", 100*had), "")
}

// robots connect by a clock, ten at a time so that they keep it, until they are blocked.
func (e *edge) robots(t *testing.T) {
	t.Helper()
	for first := 0; first < robots; first += 10 {
		var some sync.WaitGroup
		for n := first; n < first+10; n++ {
			a := robotAt(n)
			must(t, e.up.AddAddress(netip.PrefixFrom(a, 16)))
			some.Go(func() { e.robot(t, a) })
		}
		some.Wait()
	}
}

func (e *edge) robot(t *testing.T, a netip.Addr) {
	tick := time.NewTicker(robotEvery)
	defer tick.Stop()
	for range robotTries {
		<-tick.C
		if x, err := e.api.ExplainBlock(t.Context(), a); err != nil || x.Blocked {
			return
		}
		if c := e.shell(t, a, robotEvery/2); c != nil {
			_, _ = c.Write([]byte("hello\n"))
			_, _ = bufio.NewReader(c).ReadString('\n')
			_ = c.Close()
		}
	}
}

// robotAt is the address of a robot, in a network of its own, or one block is for all of them.
func robotAt(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(1 + n), 7}) }

// delays are what the daemon says of its blocks: from the packet that completed the evidence until the map held it.
func (e *edge) delays(t *testing.T, name string) {
	t.Helper()
	var all []time.Duration
	for n := range robots {
		x, err := e.api.ExplainBlock(t.Context(), robotAt(n))
		must(t, err)
		if x.Blocked && len(x.Decisions) > 0 {
			all = append(all, time.Duration(x.Decisions[0].DelayMS*float64(time.Millisecond)))
		}
	}
	figure(t, "  robots that are blocked", fmt.Sprintf("%d of %d", len(all), robots), "most: a machine this busy breaks their clocks")
	if 2*len(all) < robots {
		t.Fatalf("%s: %d are blocked, there are %d robots", name, len(all), robots)
	}
	slices.Sort(all)
	figure(t, "  from the packet to the block: half", all[len(all)/2].Round(10*time.Microsecond).String(), "")
	within(t, "  from the packet to the block: 99 %", all[min(len(all)*99/100, len(all)-1)], delayTarget)
}

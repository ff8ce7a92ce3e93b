// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parry/pkg/lab"
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

// From the packet that completes the evidence to the block: a hundred robots connect by a clock beside a flood of which each packet is to
// be told of (200,000 a second, and as many as a CPU makes), while somebody plays.
func TestBlockDelay(t *testing.T) {
	all(t)
	for _, f := range []struct {
		name string
		rate uint64
	}{{"nothing else", 1}, {"200,000 samples/s offered", 200_000}, {"as many as a CPU makes", 0}} {
		t.Run(f.name, func(t *testing.T) { blockDelay(t, f.name, f.rate) })
	}
}

func blockDelay(t *testing.T, name string, rate uint64) {
	e := newEdge(t, "delay", detectConfig)
	e.start(t)
	e.greet(t)
	e.swallow(t)
	play := e.play(t)
	g, err := lab.NewGenerator(e.up, e.front.MAC, []lab.Stream{{
		Sources: []lab.Source{{Prefix: netip.MustParsePrefix("16.0.0.0/4"), FirstPort: 1024, LastPort: 65535}},
		Target:  netip.AddrPortFrom(edgeAddr, servicePort), Protocol: lab.UDP, Payload: make([]byte, 32), Random: true,
	}})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var flood lab.Flood
	flooded := make(chan error, 1)
	cpu, began, before := e.cpuTime(t), time.Now(), e.offered(t)
	go func() {
		var err error
		flood, err = g.Run(ctx, lab.Load{Rate: rate})
		flooded <- err
	}()
	e.robots(t)
	stop()
	must(t, <-flooded, g.Close())
	took := time.Since(began)
	figure(t, name+": packets/s; of samples offered", fmt.Sprintf("%.0f; %.0f", flood.Rate(), float64(e.offered(t)-before)/took.Seconds()), "")
	e.delays(t, name)
	st, err := e.api.Status(t.Context())
	must(t, err)
	for _, kind := range []string{"first", "begin", "step", "turn", "drop"} {
		k := st.Samples.Kinds[kind]
		figure(t, "  samples of kind "+kind+": taken; lost; passed over", fmt.Sprintf("%d; %d; %d", k.Taken, k.Lost, k.PassedOver), "")
	}
	figure(t, "  the daemon's CPU; memory (RSS)", fmt.Sprintf("%.0f %%; %s", 100*float64(e.cpuTime(t)-cpu)/float64(took), mib(e.rss(t))), "")
	sent, lost := play()
	figure(t, "  moves of a player; without an answer", fmt.Sprintf("%d; %d", sent, lost), "none lost for it")
	e.stop(t)
}

// offered is how many samples the fast path had to tell, whatever became of them.
func (e *edge) offered(t *testing.T) (n uint64) {
	t.Helper()
	st, err := e.api.Status(t.Context())
	must(t, err)
	return st.Samples.Taken + st.Samples.Lost + st.Samples.PassedOver
}

// greet runs a TCP server that answers what it is told, until the test ends.
func (e *edge) greet(t *testing.T) {
	t.Helper()
	var l net.Listener
	must(t, e.server.Do(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(serverAddr, shellPort).String())
		return err
	}))
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			stop := context.AfterFunc(t.Context(), func() { _ = c.Close() })
			open.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
				stop()
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
}

// swallow is a server of the flooded service that never answers, so that the flood costs it little.
func (e *edge) swallow(t *testing.T) {
	t.Helper()
	var c *net.UDPConn
	must(t, e.server.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(serverAddr, servicePort)))
		return err
	}))
	must(t, c.SetReadBuffer(4096))
	t.Cleanup(func() { _ = c.Close() })
}

// play is somebody in a match (one connection, a move every 20 ms); the function ends it and says how it was.
func (e *edge) play(t *testing.T) (end func() (sent, lost uint64)) {
	t.Helper()
	c := e.shell(t, playerAddr, patience)
	var moves, answers atomic.Uint64
	done := make(chan struct{})
	var moving, hearing sync.WaitGroup
	moving.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if _, err := c.Write([]byte("move\n")); err == nil {
				moves.Add(1)
			}
		}
	})
	hearing.Go(func() {
		for in := bufio.NewScanner(c); in.Scan(); {
			answers.Add(1)
		}
	})
	return func() (uint64, uint64) {
		close(done)
		moving.Wait()
		_ = c.(*net.TCPConn).CloseWrite() // the server answers what is on its way, and closes
		_ = c.SetReadDeadline(time.Now().Add(patience))
		hearing.Wait()
		_ = c.Close()
		return moves.Load(), moves.Load() - answers.Load()
	}
}

// shell connects from an address; nil: it could not, in time.
func (e *edge) shell(t *testing.T, from netip.Addr, within time.Duration) (c net.Conn) {
	t.Helper()
	err := e.player.Do(func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: within}
		c, err = d.DialContext(t.Context(), "tcp4", netip.AddrPortFrom(edgeAddr, shellPort).String())
		return err
	})
	if err != nil {
		return nil
	}
	return c
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

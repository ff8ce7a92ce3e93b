// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/lab"
)

// underFlood has strangers begin sessions at a rate (0 = as many as a CPU makes) while somebody plays and do goes on. It prints what became
// of the samples and of the player, and returns which share of a CPU the daemon took.
func (e *edge) underFlood(t *testing.T, name string, rate uint64, do func()) float64 {
	t.Helper()
	play := e.play(t)
	g, err := lab.NewGenerator(e.up, e.front.MAC, []lab.Stream{{
		Sources: []lab.Source{{Prefix: netip.MustParsePrefix("16.0.0.0/4"), FirstPort: 1024, LastPort: 65535}},
		Target:  netip.AddrPortFrom(edgeAddr, servicePort), Protocol: lab.UDP, Payload: make([]byte, 32), Random: true,
	}})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var flood lab.Flood
	flooded := make(chan error, 1)
	cpu, began, before := e.cpuTime(t), time.Now(), e.samples(t)
	go func() {
		var err error
		flood, err = g.Run(ctx, lab.Load{Rate: rate})
		flooded <- err
	}()
	do()
	stop()
	must(t, <-flooded, g.Close())
	took := time.Since(began)
	share := float64(e.cpuTime(t)-cpu) / float64(took)
	after := e.samples(t)
	figure(t, name+": packets/s; of samples offered", fmt.Sprintf("%.0f; %.0f", flood.Rate(), float64(offered(after)-offered(before))/took.Seconds()), "")
	for _, kind := range []string{"first", "begin", "step", "turn", "drop"} {
		k, was := after.Kinds[kind], before.Kinds[kind]
		figure(t, "  samples of kind "+kind+": taken; lost; passed over",
			fmt.Sprintf("%d; %d; %d", k.Taken-was.Taken, k.Lost-was.Lost, k.PassedOver-was.PassedOver), "")
	}
	figure(t, "  the daemon's CPU; memory (RSS)", fmt.Sprintf("%.1f %%; %s", 100*share, mib(e.rss(t))), "")
	sent, lost := play()
	figure(t, "  moves of a player; without an answer", fmt.Sprintf("%d; %d", sent, lost), "none lost")
	if lost > 0 || sent == 0 {
		t.Errorf("%s: of %d moves of a player %d were without an answer", name, sent, lost)
	}
	return share
}

func (e *edge) samples(t *testing.T) api.Samples {
	t.Helper()
	st, err := e.api.Status(t.Context())
	must(t, err)
	return st.Samples
}

// offered is how many samples the fast path had to tell, whatever became of them.
func offered(s api.Samples) uint64 { return s.Taken + s.Lost + s.PassedOver }

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

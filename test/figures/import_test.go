// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
)

const (
	importHosts    = 1_000_000
	importPrefixes = 100_000
	pingEvery      = time.Millisecond
	blocks         = 5
	importTarget   = 5 * time.Second
	blockTarget    = 50 * time.Millisecond
)

// A long list is imported by the real command into a running daemon; then one more entry, beside all those, has to
// end a live session at once.
func TestImportOfAMillionAndOneBlockMore(t *testing.T) {
	all(t)
	e := newEdge(t, "import", arena("", "limits: {source: {packets_per_second: 20000, new_sessions: 100}}"))
	e.start(t)
	e.echo(t)
	list := filepath.Join(e.world.Dir(), "list.txt")
	writeList(t, list)

	began := time.Now()
	e.parry(t, "block", "import", list, "--reason", "weekly list", "--socket", e.socket)
	within(t, "import of 1,000,000 /32 and 100,000 prefixes", time.Since(began), importTarget)
	if n := countEntries(t, e); n != importHosts+importPrefixes {
		t.Errorf("%d entries are listed, not %d", n, importHosts+importPrefixes)
	}

	p := startPing(t, e.dial(t, 40000))
	var command, call, returned []time.Duration
	for i := range 2 * blocks {
		p.awaitPlay(t)
		before := drops(t, e)
		began, done := now(), time.Duration(0)
		if i%2 == 0 {
			e.parry(t, "block", "add", playerAddr.String(), "--socket", e.socket)
			done = now()
		} else {
			entry := blocklist.Entry{Prefix: netip.PrefixFrom(playerAddr, 32), Source: blocklist.SourceAPI, Added: time.Now()}
			must(t, e.api.Add(t.Context(), api.Block, []blocklist.Entry{entry}))
			done = now()
		}
		lost := p.awaitLoss(t, began)
		if after := drops(t, e); after <= before {
			t.Errorf("a blocked player's packets were lost, but not counted as denied (%d, then %d)", before, after)
		}
		if i%2 == 0 {
			command, returned = append(command, lost-began), append(returned, lost-done)
		} else {
			call = append(call, lost-began)
		}
		e.parry(t, "block", "del", playerAddr.String(), "--socket", e.socket)
	}
	within(t, "`parry block add` (exec) to the first packet lost, median of 5", median(command), blockTarget)
	within(t, "the API's add (call) to the first packet lost, median of 5", median(call), blockTarget)
	figure(t, "  the worst of them", slices.Max(append(command, call...)).Round(100*time.Microsecond).String(), "")
	t.Logf("first packet lost after the command returned: %v", returned)
}

// writeList writes random hosts and prefixes, none of which holds anybody in the world.
func writeList(t *testing.T, path string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	random := func(seen map[netip.Prefix]bool, bits int) {
		for {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], r.Uint32())
			p := netip.PrefixFrom(netip.AddrFrom4(a), bits).Masked()
			if a[0] == 198 || a[0] == 0 || seen[p] {
				continue
			}
			seen[p] = true
			if bits == 32 {
				fmt.Fprintln(&b, p.Addr())
			} else {
				fmt.Fprintln(&b, p)
			}
			return
		}
	}
	hosts, nets := make(map[netip.Prefix]bool, importHosts), make(map[netip.Prefix]bool, importPrefixes)
	for i := range importHosts {
		random(hosts, 32)
		if i%(importHosts/importPrefixes) == 0 {
			random(nets, 20+r.IntN(11)) // /20 to /30, as published lists have them
		}
	}
	must(t, os.WriteFile(path, b.Bytes(), 0o644))
}

// countEntries counts what `block export` writes.
func countEntries(t *testing.T, e *edge) int {
	t.Helper()
	began := time.Now()
	out := e.parry(t, "block", "export", "--socket", e.socket)
	figure(t, "export of the same", time.Since(began).Round(time.Millisecond).String(), "")
	n := 0
	for s := bufio.NewScanner(bytes.NewReader([]byte(out))); s.Scan(); {
		if line := s.Text(); line != "" && line[0] != '#' {
			n++
		}
	}
	return n
}

func drops(t *testing.T, e *edge) uint64 {
	t.Helper()
	s, err := e.api.Status(t.Context())
	must(t, err)
	return s.Services[0].Drops["denied"]
}

// ping is a player who sends a numbered packet each millisecond and notes which come back.
type ping struct {
	mu   sync.Mutex      // guards all below
	sent []time.Duration // by number
	back []bool
}

// startPing runs until the test ends.
func startPing(t *testing.T, c *net.UDPConn) *ping {
	t.Helper()
	p := &ping{}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { p.send(c, stop) })
	wg.Go(func() { p.receive(c) })
	t.Cleanup(func() {
		close(stop)
		_ = c.Close() // ends receive
		wg.Wait()
	})
	return p
}

func (p *ping) send(c *net.UDPConn, stop <-chan struct{}) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	var b [64]byte
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		binary.BigEndian.PutUint64(b[:], uint64(len(p.sent)))
		p.sent, p.back = append(p.sent, now()), append(p.back, false)
		p.mu.Unlock()
		_, _ = c.Write(b[:]) // a loss is what is looked for
	}
}

func (p *ping) receive(c *net.UDPConn) {
	var b [64]byte
	for {
		n, err := c.Read(b[:])
		if err != nil {
			return // closed
		}
		i := binary.BigEndian.Uint64(b[:n])
		p.mu.Lock()
		if i < uint64(len(p.back)) {
			p.back[i] = true
		}
		p.mu.Unlock()
	}
}

// awaitPlay waits until the last 50 of the answers that are due have come.
func (p *ping) awaitPlay(t *testing.T) {
	t.Helper()
	p.await(t, "no play", func() bool {
		settled := len(p.sent) - 20
		return settled > 50 && !slices.Contains(p.back[settled-50:settled], false)
	})
}

// awaitLoss waits for 50 packets in a row that were sent after since and lost, and returns when the first of them left.
func (p *ping) awaitLoss(t *testing.T, since time.Duration) time.Duration {
	t.Helper()
	var first time.Duration
	p.await(t, "no packet was lost", func() bool {
		run := 0
		for i, at := range p.sent[:max(0, len(p.sent)-20)] {
			switch {
			case at < since:
				continue
			case p.back[i]:
				run = 0
			case run == 0:
				first = at
				fallthrough
			default:
				run++
			}
		}
		return run >= 50
	})
	return first
}

func (p *ping) await(t *testing.T, otherwise string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		p.mu.Lock()
		yes := ok()
		p.mu.Unlock()
		if yes {
			return
		}
	}
	t.Fatal(otherwise)
}

// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"parry/loader"
	"parry/pkg/api"
)

const (
	million     = 1_000_000
	natMemory   = 512 << 20
	perClient   = 10 // sessions of one source: as many as the default limits let it begin at once
	stallTarget = 2 * time.Second
)

// millionConfig is an edge for a million NAT sessions over 16 addresses.
func millionConfig(opening string) string {
	var addrs []string
	for i := range 16 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + i)}).String())
	}
	return arena("", fmt.Sprintf("nat: {addresses: [%s], ports: 1024-65535}\nsizes: {sessions: 1048576}\ntimeouts: {opening: %s}\n",
		strings.Join(addrs, ", "), opening))
}

// A million players' sessions, made by packets through the daemon's own program, fit in memory; and nothing that the
// daemon does with so many keeps it from answering.
func TestAMillionNATSessions(t *testing.T) {
	all(t)
	e := newEdge(t, "million", millionConfig("20m"))
	took := e.start(t)
	figure(t, "start to attached at this size", took.Round(time.Millisecond).String(), "")
	before := e.memory(t)
	e.open(t, million)
	after := e.memory(t)
	e.reportMemory(t, before, after)

	ask := watchAPI(t, e)
	began := time.Now()
	n := e.list(t)
	figure(t, "`session list` of all, as a process", time.Since(began).Round(time.Millisecond).String(), "")
	if n != million {
		t.Errorf("%d sessions are listed, not %d", n, million)
	}
	figure(t, "longest answer to `session list --limit 1` meanwhile", ask.worst().String(), "")
	began = time.Now()
	_, err := e.api.Status(t.Context())
	must(t, err)
	figure(t, "`status` with a million sessions", time.Since(began).Round(time.Millisecond).String(), "")
	figure(t, "daemon's memory (RSS) after listing them", mib(e.rss(t)), "")
	cpu := e.cpuTime(t)
	time.Sleep(5 * time.Second)
	figure(t, "daemon's CPU with a million sessions", fmt.Sprintf("%.1f %%", float64(e.cpuTime(t)-cpu)/float64(5*time.Second)*100), "")

	e.configure(t, millionConfig("1s"))
	began = time.Now()
	must(t, e.api.Reload(t.Context()))
	e.awaitEmpty(t)
	figure(t, "a million sessions time out: all swept after", time.Since(began).Round(time.Millisecond).String(), "")
	within(t, "longest answer to `session list --limit 1` meanwhile", ask.worst(), stallTarget)
	figure(t, "daemon's memory (RSS) after sweeping them", mib(e.rss(t)), "")
}

// The same of IPv6: its tables have room for as many, beside IPv4's.
func TestMemoryOfAMillionIPv6NATSessions(t *testing.T) {
	all(t)
	var addrs []string
	for i := range 16 {
		addrs = append(addrs, fmt.Sprintf("\"2001:db8:2::%x\"", 0x100+i))
	}
	e := newEdge(t, "million6", fmt.Sprintf(`nat: {addresses: [%s], ports: 1024-65535}
sizes: {sessions: 1048576}
services: [{name: arena, listen: "[2001:db8:1::1]:27960", protocol: udp, forward: nat, pool: p}]
pools: [{name: p, servers: [{name: s1, address: "[2001:db8:2::2]:27960"}]}]
`, strings.Join(addrs, ", ")))
	e.start(t)
	var six uint64
	for name, n := range e.memory(t) {
		if strings.HasPrefix(name, "flow6") || strings.HasPrefix(name, "nat6") || strings.HasPrefix(name, "nat_ring6") {
			six += n
		}
	}
	figure(t, "tables of a million IPv6 NAT sessions over 16 addresses", mib(six), "said separately")
}

// open sends the first packets of n sessions through the daemon's program.
func (e *edge) open(t *testing.T, n int) {
	t.Helper()
	prog := e.program(t)
	began := time.Now()
	must(t, e.host.Do(func() error { // test runs take the routes of the namespace that they are made in
		return sendStrangers(prog, n)
	}))
	took := time.Since(began)
	figure(t, fmt.Sprintf("%d sessions made by test runs, one system call each", n), took.Round(time.Millisecond).String(), "")
}

// program opens the fast path that the daemon runs.
func (e *edge) program(t *testing.T) *ebpf.Program {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(e.pin, "gen-*", "prog_parry"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("the daemon's program: %v %v", paths, err)
	}
	p, err := ebpf.LoadPinnedProgram(paths[0], nil)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

func sendStrangers(prog *ebpf.Program, n int) error {
	b := strangerFrame(netip.AddrPortFrom(edgeAddr, servicePort))
	for i := range n {
		binary.BigEndian.PutUint32(b[26:], 100<<24|uint32(i/perClient)) // 100.0.0.0 and on
		binary.BigEndian.PutUint16(b[34:], uint16(20000+i%perClient))
		code, err := prog.Run(&ebpf.RunOptions{Data: b})
		if err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
		if code != loader.XDPRedirect {
			return fmt.Errorf("session %d: XDP code %d", i, code)
		}
	}
	return nil
}

// memory sums what the kernel says that each pinned map takes, by name.
func (e *edge) memory(t *testing.T) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	must(t, filepath.WalkDir(e.pin, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), "prog_") || filepath.Base(filepath.Dir(path)) == "links" {
			return err
		}
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return err
		}
		defer m.Close()
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.FD()))
		for line := range strings.Lines(string(info)) {
			if v, ok := strings.CutPrefix(line, "memlock:"); ok {
				var n uint64
				if _, err := fmt.Sscan(v, &n); err != nil {
					return err
				}
				all[d.Name()] += n
			}
		}
		return err
	}))
	return all
}

func (e *edge) reportMemory(t *testing.T, before, after map[string]uint64) {
	t.Helper()
	var total, grown, six, lists uint64
	for name, n := range after {
		total += n
		grown += n - before[name]
		switch {
		case strings.HasSuffix(name, "6"):
			six += n
		case strings.HasPrefix(name, "deny") || name == "denial" || strings.HasPrefix(name, "allow"):
			lists += n
		}
		if n > 1<<20 {
			t.Logf("%-16s %s", name, mib(n))
		}
	}
	figure(t, "map memory, a million IPv4 NAT sessions over 16 addresses", mib(total-six), "at most "+mib(natMemory))
	figure(t, "  of which for the block and allow lists", mib(lists), "")
	figure(t, "  grown while they were made", mib(grown), "")
	figure(t, "map memory of IPv6, beside it", mib(six), "")
	if total-six > natMemory {
		t.Errorf("a million sessions take %s", mib(total-six))
	}
}

// list asks for all sessions by the command and counts them.
func (e *edge) list(t *testing.T) int {
	t.Helper()
	out := e.parry(t, "session", "list", "--limit", "0", "--json", "--socket", e.socket)
	return strings.Count(out, `"id"`)
}

// awaitEmpty waits until no session is left.
func (e *edge) awaitEmpty(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		s, err := e.api.Sessions(t.Context(), api.Filter{Limit: 1})
		must(t, err)
		if len(s) == 0 {
			return
		}
	}
	t.Fatal("sessions are left")
}

// asker asks the daemon small things again and again.
type asker struct {
	mu   sync.Mutex // guards slow
	slow time.Duration
}

func watchAPI(t *testing.T, e *edge) *asker {
	t.Helper()
	a := &asker{}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	wg.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			_, err := e.api.Sessions(ctx, api.Filter{Limit: 1})
			took := time.Since(began)
			if err != nil && ctx.Err() == nil {
				t.Errorf("no answer: %v", err)
				return
			}
			a.mu.Lock()
			a.slow = max(a.slow, took)
			a.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return a
}

// worst is the longest answer since the last call.
func (a *asker) worst() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.slow
	a.slow = 0
	return d.Round(time.Millisecond)
}

// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/api"
	"parry/pkg/netns"
	"parry/test/need"
)

const patience = 20 * time.Second

// all skips what takes longer than a unit test should.
func all(t *testing.T) {
	t.Helper()
	need.Root(t)
	if os.Getenv("PARRY_FIGURES") == "" {
		t.Skip("takes long or a quiet machine: `make figures` (PARRY_FIGURES=1) runs it")
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// figure prints one measured value beside what it should be.
func figure(t testing.TB, what, value, target string) {
	t.Helper()
	if target != "" {
		target = "target " + target
	}
	fmt.Fprintf(t.Output(), "%-64s %16s   %s\n", what, value, target)
}

// within prints a value and fails the test where it is over its target.
func within(t testing.TB, what string, value, target time.Duration) {
	t.Helper()
	figure(t, what, value.Round(100*time.Microsecond).String(), "under "+target.String())
	if value >= target {
		t.Errorf("%s: %v, not under %v", what, value, target)
	}
}

// edge is a player's host, an edge with a daemon, and a server's host, in a row.
type edge struct {
	world                *netns.World
	player, host, server *netns.Host
	up, front            *netns.Interface // the player's end, and the edge's
	binary               string
	pin, socket, config  string
	api                  *api.Client
	daemon               *netns.Process
}

// Where things are in an edge's world (RFC 2544 and RFC 5737 addresses).
var (
	edgeAddr   = netip.MustParseAddr("198.18.0.1")
	playerAddr = netip.MustParseAddr("198.18.0.2")
	serverAddr = netip.MustParseAddr("198.51.100.2")
)

const servicePort = 27960

// newEdge makes the world of one edge, whose daemon is not started yet. config is added to what every edge needs.
func newEdge(t *testing.T, name, config string) *edge {
	t.Helper()
	w, err := netns.NewWorld(t.Context(), name, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	e := &edge{world: w, binary: program(t), socket: filepath.Join(w.Dir(), "parry.sock"), config: filepath.Join(w.Dir(), "parry.yaml")}
	for _, h := range []struct {
		name string
		host **netns.Host
	}{{"player", &e.player}, {"edge", &e.host}, {"server", &e.server}} {
		*h.host, err = w.Host(h.name)
		must(t, err)
	}
	link := func(a, b *netns.Host, an, bn, ap, bp string) (*netns.Interface, *netns.Interface) {
		x, y, err := w.Link(netns.End{Host: a, Name: an, Addresses: []netip.Prefix{netip.MustParsePrefix(ap)}},
			netns.End{Host: b, Name: bn, Addresses: []netip.Prefix{netip.MustParsePrefix(bp)}}, netns.LinkOptions{Queues: 2})
		must(t, err)
		return x, y
	}
	e.up, e.front = link(e.player, e.host, "up0", "front0", "198.18.0.2/16", "198.18.0.1/16")
	link(e.host, e.server, "back0", "up0", "198.51.100.1/24", "198.51.100.2/24")
	must(t, e.server.DefaultRoute(netip.MustParseAddr("198.51.100.1")), e.host.DefaultRoute(playerAddr))
	fs, err := w.MountBPF("bpf")
	must(t, err)
	e.pin = filepath.Join(fs, "parry")
	e.configure(t, config)
	e.api = api.Dial(e.socket)
	return e
}

// configure writes the configuration.
func (e *edge) configure(t *testing.T, more string) {
	t.Helper()
	text := fmt.Sprintf("interfaces: [{name: front0}, {name: back0}]\npin: %s\nstate: %s\napi: {socket: %s}\nmetrics: \"\"\n%s",
		e.pin, filepath.Join(e.world.Dir(), "state"), e.socket, more)
	must(t, os.WriteFile(e.config, []byte(text), 0o644))
}

// arena is one UDP service with one server; service is put into it, more beside it.
func arena(service, more string) string {
	return fmt.Sprintf(`services:
  - {name: arena, listen: "%v:%d", protocol: udp, forward: nat, pool: p%s}
pools:
  - {name: p, servers: [{name: s1, address: "%v:%d"}]}
%s`, edgeAddr, servicePort, service, serverAddr, servicePort, more)
}

// program is the parry under test.
func program(t *testing.T) string {
	t.Helper()
	bin, err := need.Parry(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// start runs the daemon and returns how long it took from its exec to its word (sd_notify) that it protects.
func (e *edge) start(t *testing.T) time.Duration {
	t.Helper()
	path := filepath.Join(e.world.Dir(), "notify")
	_ = os.Remove(path) // of the daemon before; its absence is no news
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer l.Close()
	must(t, l.SetReadDeadline(time.Now().Add(patience)))
	log, err := os.OpenFile(e.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(t, err)
	defer log.Close() // the daemon has its own
	cmd := exec.Command(e.binary, "run", "-c", e.config)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), "NOTIFY_SOCKET="+path)
	began := time.Now()
	e.daemon, err = e.host.Start(cmd)
	must(t, err)
	var buf [512]byte
	n, err := l.Read(buf[:])
	took := time.Since(began)
	if err != nil || !strings.HasPrefix(string(buf[:n]), "READY=1") {
		t.Fatalf("the daemon is not ready: %v %q\n%s", err, buf[:n], e.words())
	}
	return took
}

func (e *edge) log() string { return filepath.Join(e.world.Dir(), "parry.log") }

// words are what the daemon said last.
func (e *edge) words() string {
	text, err := os.ReadFile(e.log())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// stop ends the daemon; the fast path stays.
func (e *edge) stop(t *testing.T) {
	t.Helper()
	must(t, e.daemon.Stop(patience))
	if err := e.daemon.Err(); err != nil {
		t.Fatalf("the daemon ended badly: %v\n%s", err, e.words())
	}
}

// parry runs a command of the program in the edge's namespace.
func (e *edge) parry(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := e.host.Exec(ctx, append([]string{e.binary}, args...)...)
	must(t, err)
	return out
}

// dial opens a UDP socket of the player's, bound to port (0 = any), towards the service.
func (e *edge) dial(t *testing.T, port uint16) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, e.player.Do(func() (err error) {
		c, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(playerAddr, port)),
			net.UDPAddrFromAddrPort(netip.AddrPortFrom(edgeAddr, servicePort)))
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// echo runs a server that sends every datagram back, until the test ends.
func (e *edge) echo(t *testing.T) {
	t.Helper()
	var c *net.UDPConn
	must(t, e.server.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(serverAddr, servicePort)))
		return err
	}))
	must(t, c.SetReadBuffer(4<<20))
	done := make(chan struct{})
	go func() {
		defer close(done)
		var buf [2048]byte
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf[:])
			if err != nil {
				return // closed
			}
			_, _ = c.WriteToUDPAddrPort(buf[:n], from) // a player may be gone
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
}

// cpuTime is how long the daemon has worked, on all its threads.
func (e *edge) cpuTime(t *testing.T) time.Duration {
	t.Helper()
	const sched = 2 // CPUCLOCK_SCHED: a process's clock is named by its inverted id and this kind (clock_getcpuclockid(3))
	var ts unix.Timespec
	must(t, unix.ClockGettime(int32(^e.daemon.PID()<<3|sched), &ts))
	return time.Duration(ts.Nano())
}

// rss is the memory that the daemon holds now, in bytes.
func (e *edge) rss(t *testing.T) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.daemon.PID()))
	must(t, err)
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib uint64
			_, err := fmt.Sscan(v, &kib)
			must(t, err)
			return kib << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	return time.Duration(ts.Nano())
}

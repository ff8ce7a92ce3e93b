// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parry/test/need"
)

func TestMain(m *testing.M) {
	if os.Getenv("PARRY_TEST_CRASH") != "" {
		crashWithWorld()
	}
	goleak.VerifyTestMain(m)
}

// crashWithWorld makes a world with a process, says so and waits to be killed: the crash of the leftovers' test.
func crashWithWorld() {
	w, err := NewWorld(context.Background(), "crash", slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	h, err := w.Host("edge")
	if err == nil {
		_, err = w.MountBPF("bpf")
	}
	var p *Process
	if err == nil {
		p, err = h.Start(exec.Command("sleep", "600"))
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ready", w.Name(), p.PID())
	time.Sleep(time.Minute)
	os.Exit(1)
}

func newWorld(t *testing.T, name string) *World {
	t.Helper()
	need.Root(t)
	w, err := NewWorld(t.Context(), name, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func host(t *testing.T, w *World, name string) *Host {
	t.Helper()
	h, err := w.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// must fails the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// traces lists what on the machine still carries a world's name.
func traces(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{namesDir + "/" + name + "-*", worldsDir + "/" + name} {
		paths, err := filepath.Glob(pattern)
		must(t, err)
		found = append(found, paths...)
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(info)) {
		if strings.Contains(line, name) {
			found = append(found, line)
		}
	}
	return found
}

func TestClosedWorldLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, "closed")
	a, b := host(t, w, "a"), host(t, w, "b")
	_, _, err := w.Link(End{Host: a, Name: "toB"}, End{Host: b, Name: "toA"}, LinkOptions{})
	must(t, err)
	_, err = w.MountBPF("bpf")
	must(t, err)
	p, err := a.Start(exec.Command("sleep", "600"))
	must(t, err)
	if got := traces(t, w.Name()); len(got) < 4 {
		t.Fatalf("a living world shows only %q: the test can't see what it looks for", got)
	}
	// A namespace that something holds outlives its name: its links must be gone all the same.
	held, err := os.Open(a.Path())
	must(t, err)
	defer held.Close()

	must(t, w.Close())
	if got := traces(t, w.Name()); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
	if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d still there (%v)", p.PID(), err)
	}
	cmd := exec.Command("nsenter", "--net=/proc/self/fd/3", "ip", "-o", "link")
	cmd.ExtraFiles = []*os.File{held}
	links, err := cmd.CombinedOutput()
	must(t, err)
	if strings.Contains(string(links), "toB") {
		t.Errorf("links left in the held namespace:\n%s", links)
	}
	must(t, w.Close())
	if _, err := w.Host("late"); err == nil {
		t.Error("a closed world made a host")
	}
}

func TestWorldOfKilledOwnerIsRemovedByTheNext(t *testing.T) {
	need.Root(t)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "PARRY_TEST_CRASH=1")
	stdout, err := cmd.StdoutPipe()
	must(t, err, cmd.Start())
	var name string
	var pid int
	if _, err := fmt.Fscanf(stdout, "ready %s %d\n", &name, &pid); err != nil {
		t.Fatalf("the owner did not get ready: %v", err)
	}
	log := slog.New(slog.DiscardHandler)
	must(t, RemoveStale(log))
	if got := traces(t, name); len(got) < 3 {
		t.Fatalf("a living owner's world was removed: only %q is left", got)
	}
	unlock, err := lockWorlds() // else the next may be another process's, and this look come too late
	must(t, err, cmd.Process.Kill())
	_ = cmd.Wait() // killed: an error, as wanted
	got := traces(t, name)
	unlock()
	if len(got) < 3 {
		t.Fatalf("the crash left only %q: nothing to test", got)
	}
	newWorld(t, "next")
	if got := traces(t, name); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
	waitGone(t, pid)
}

// waitGone waits until a process that was killed has ended (a zombie counts as ended).
func waitGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d of the crashed owner lives on", pid)
}

func TestOrphanNamespaceIsRemoved(t *testing.T) {
	need.Root(t)
	cmd := exec.Command("true")
	must(t, cmd.Run())
	path := fmt.Sprintf("%s/parry-%d-orphan-edge", namesDir, cmd.ProcessState.Pid())
	ns, err := makeNamed(path)
	must(t, err, ns.Close())
	must(t, RemoveStale(slog.New(slog.DiscardHandler)))
	if _, err := os.Stat(path); err == nil {
		t.Error("the orphan is still there")
	}
}

func TestHostsTalkOverALink(t *testing.T) {
	w := newWorld(t, "talk")
	a, r, b := host(t, w, "a"), host(t, w, "router"), host(t, w, "b")
	p := netip.MustParsePrefix
	_, _, err := w.Link(
		End{Host: a, Name: "up0", Addresses: []netip.Prefix{p("192.0.2.2/24"), p("2001:db8:1::2/64")}},
		End{Host: r, Name: "left0", Addresses: []netip.Prefix{p("192.0.2.1/24"), p("2001:db8:1::1/64")}}, LinkOptions{})
	must(t, err)
	_, _, err = w.Link(
		End{Host: r, Name: "right0", Addresses: []netip.Prefix{p("198.51.100.1/24"), p("2001:db8:2::1/64")}},
		End{Host: b, Name: "up0", Addresses: []netip.Prefix{p("198.51.100.2/24"), p("2001:db8:2::2/64")}}, LinkOptions{MTU: 1400})
	must(t, err)
	must(t, r.Sysctl("net.ipv4.ip_forward", "1"), r.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	for _, gw := range []string{"192.0.2.1", "2001:db8:1::1"} {
		must(t, a.DefaultRoute(netip.MustParseAddr(gw)))
	}
	for _, gw := range []string{"198.51.100.1", "2001:db8:2::1"} {
		must(t, b.DefaultRoute(netip.MustParseAddr(gw)))
	}
	for _, to := range []string{"198.51.100.2", "2001:db8:2::2"} {
		t.Run(to, func(t *testing.T) { echoOnce(t, a, b, netip.MustParseAddr(to)) })
	}
	out, err := a.Exec(t.Context(), "ip", "-o", "link", "show", "up0")
	must(t, err)
	if !strings.Contains(out, "mtu 1500") {
		t.Errorf("Exec is not in the host: %q", out)
	}
}

// echoOnce sends a datagram from a to addr in b and back.
func echoOnce(t *testing.T, a, b *Host, addr netip.Addr) {
	t.Helper()
	var server *net.UDPConn
	must(t, b.Do(func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	}))
	defer server.Close()
	var client net.Conn
	must(t, a.Do(func() (err error) {
		client, err = net.Dial("udp", server.LocalAddr().String())
		return err
	}))
	defer client.Close()
	deadline := time.Now().Add(5 * time.Second)
	must(t, server.SetDeadline(deadline), client.SetDeadline(deadline))
	_, err := client.Write([]byte("ping"))
	must(t, err)
	buf := make([]byte, 16)
	n, from, err := server.ReadFromUDPAddrPort(buf)
	must(t, err)
	_, err = server.WriteToUDPAddrPort(buf[:n], from)
	must(t, err)
	n, err = client.Read(buf)
	must(t, err)
	if got := string(buf[:n]); got != "ping" {
		t.Errorf("got %q back", got)
	}
}

func TestLinkIsFitForXDP(t *testing.T) {
	w := newWorld(t, "offloads")
	a, b := host(t, w, "a"), host(t, w, "b")
	ia, _, err := w.Link(End{Host: a, Name: "x0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}, End{Host: b, Name: "x0"}, LinkOptions{Queues: 2})
	must(t, err)
	if got := ia.MAC.String(); got != "02:00:00:00:00:01" {
		t.Errorf("mac is %s", got)
	}
	if _, err := exec.LookPath("ethtool"); err != nil {
		t.Skip("ethtool is not installed")
	}
	out, err := a.Exec(t.Context(), "ethtool", "-k", "x0")
	must(t, err)
	for _, want := range []string{
		"tx-checksumming: off", "tx-tcp-segmentation: off", "tx-vlan-offload: off", "generic-segmentation-offload: off", "generic-receive-offload: on",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in:\n%s", want, out)
		}
	}
	must(t, ia.SetMTU(1300), ia.SetUp(false), ia.SetMAC(net.HardwareAddr{2, 0, 0, 0, 0, 9}), ia.SetUp(true))
	again, err := a.Interface("x0")
	must(t, err)
	if got := again.MAC.String(); got != "02:00:00:00:00:09" {
		t.Errorf("mac is %s after the change", got)
	}
}

func TestVLANSubinterface(t *testing.T) {
	w := newWorld(t, "vlan")
	a, b := host(t, w, "a"), host(t, w, "b")
	ia, ib, err := w.Link(End{Host: a, Name: "x0"}, End{Host: b, Name: "x0"}, LinkOptions{})
	must(t, err)
	_, err = ia.VLAN(7, netip.MustParsePrefix("192.0.2.1/24"))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	must(t, err)
	_, err = ib.VLAN(7, netip.MustParsePrefix("192.0.2.2/24"))
	must(t, err)
	echoOnce(t, a, b, netip.MustParseAddr("192.0.2.2"))
}

func TestDoSurvivesGoexitAndExecFailuresSpeak(t *testing.T) {
	w := newWorld(t, "do")
	h := host(t, w, "a")
	if err := h.Do(func() error { return io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if err := h.Do(func() error { runtime.Goexit(); return nil }); !errors.Is(err, errNotReturned) {
		t.Errorf("got %v", err)
	}
	if err := h.Do(func() error { return h.Do(func() error { return nil }) }); err != nil {
		t.Errorf("nested: %v", err)
	}
	_, err := h.Exec(t.Context(), "sh", "-c", "echo what happened >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "what happened") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Exec(ctx, "sleep", "600"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestNamesAreChecked(t *testing.T) {
	for _, name := range []string{"", "Upper", "a-b", "a/b", strings.Repeat("x", 40)} {
		if _, err := NewWorld(t.Context(), name, slog.Default()); err == nil {
			t.Errorf("world %q was made", name)
		}
	}
}

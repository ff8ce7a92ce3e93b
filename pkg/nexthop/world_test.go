// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"parry/test/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 15 * time.Second

// host is a network namespace without a name: it goes with its last handle.
type host struct {
	t  *testing.T
	ns netns.NsHandle
	nl *netlink.Handle
}

func newHost(t *testing.T) *host {
	t.Helper()
	need.Root(t)
	var ns netns.NsHandle
	var err error
	onThread(func() { ns, err = netns.New() })
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("network namespaces can't be made here: %v", err)
	}
	must(t, err)
	h := &host{t: t, ns: ns}
	h.nl, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(func() { h.nl.Close(); _ = ns.Close() })
	lo, err := h.nl.LinkByName("lo")
	must(t, err)
	must(t, h.nl.LinkSetUp(lo))
	h.sysctl("ipv6/conf/default/accept_dad", "0") // link-local addresses serve at once
	return h
}

// onThread runs f on a thread of its own, which ends with it: f may change its
// namespace.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f()
	}()
	<-done
}

// in runs f inside the namespace.
func (h *host) in(f func() error) {
	h.t.Helper()
	var err error
	onThread(func() {
		if err = netns.Set(h.ns); err == nil {
			err = f()
		}
	})
	must(h.t, err)
}

func (h *host) sysctl(path, value string) {
	h.t.Helper()
	h.in(func() error { return os.WriteFile("/proc/sys/net/"+path, []byte(value), 0) })
}

func (h *host) link(name string) netlink.Link {
	h.t.Helper()
	l, err := h.nl.LinkByName(name)
	if err != nil {
		h.t.Fatalf("link %s: %v", name, err)
	}
	return l
}

func (h *host) index(name string) int { h.t.Helper(); return h.link(name).Attrs().Index }

func (h *host) mac(name string) (m [6]byte) {
	h.t.Helper()
	copy(m[:], h.link(name).Attrs().HardwareAddr)
	return m
}

// add makes a link and switches it on; a kernel without that kind skips the test.
func (h *host) add(l netlink.Link) {
	h.t.Helper()
	err := h.nl.LinkAdd(l)
	if errors.Is(err, unix.EOPNOTSUPP) {
		h.t.Skipf("this kernel has no %s devices", l.Type())
	}
	must(h.t, err)
	must(h.t, h.nl.LinkSetUp(h.link(l.Attrs().Name)))
}

func (h *host) addr(name string, prefixes ...string) {
	h.t.Helper()
	for _, p := range prefixes {
		a, err := netlink.ParseAddr(p)
		must(h.t, err)
		a.Flags = unix.IFA_F_NODAD
		must(h.t, h.nl.AddrAdd(h.link(name), a))
	}
}

func (h *host) route(dst, via string) {
	h.t.Helper()
	_, to, err := net.ParseCIDR(dst)
	must(h.t, err)
	must(h.t, h.nl.RouteReplace(&netlink.Route{Dst: to, Gw: net.ParseIP(via)}))
}

func (h *host) vlan(name, parent string, id int, proto netlink.VlanProtocol) {
	h.t.Helper()
	h.add(&netlink.Vlan{
		LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: h.index(parent)},
		VlanId:    id, VlanProtocol: proto,
	})
}

// speak makes the host send a packet to another, so that the other hears its MAC.
func (h *host) speak(to string) {
	h.t.Helper()
	h.in(func() error {
		c, err := net.Dial("udp", net.JoinHostPort(to, "9"))
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("x"))
		return errors.Join(err, c.Close())
	})
}

// neighs returns the neighbour table as the kernel shows it.
func (h *host) neighs() map[Key]netlink.Neigh {
	h.t.Helper()
	out := map[Key]netlink.Neigh{}
	list, err := h.nl.NeighList(0, 0)
	must(h.t, err)
	for _, n := range list {
		if a, ok := netip.AddrFromSlice(n.IP); ok && !a.Unmap().IsMulticast() {
			out[Key{Ifindex: n.LinkIndex, Gateway: a.Unmap()}] = n
		}
	}
	return out
}

// pair makes two hosts joined by eth0, .1 and ::1 the edge, .2 and ::2 the peer.
func pair(t *testing.T) (edge, peer *host) {
	t.Helper()
	edge, peer = newHost(t), newHost(t)
	join(edge, peer, "eth0")
	edge.addr("eth0", "192.0.2.1/24", "2001:db8::1/64")
	peer.addr("eth0", "192.0.2.2/24", "2001:db8::2/64")
	return edge, peer
}

func join(a, b *host, name string) {
	a.t.Helper()
	must(a.t, a.nl.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(b.ns),
	}))
	must(a.t, a.nl.LinkSetUp(a.link(name)))
	must(a.t, b.nl.LinkSetUp(b.link(name)))
}

// watch starts a watcher in h and stops it with the test.
func watch(h *host, opts Options) *Watcher {
	h.t.Helper()
	w := open(h, opts)
	run(h.t, w)
	return w
}

func open(h *host, opts Options) (w *Watcher) {
	h.t.Helper()
	h.in(func() (err error) {
		w, err = New(slog.New(slog.DiscardHandler), opts)
		return err
	})
	h.t.Cleanup(func() { must(h.t, w.Close()) })
	return w
}

func run(t *testing.T, w *Watcher) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// await reads events until one is as wanted.
func await(t *testing.T, w *Watcher, what string, is func(Event) bool) Event {
	t.Helper()
	timeout := time.After(patience)
	var seen []string
	for {
		select {
		case e, ok := <-w.Changes():
			if !ok {
				t.Fatalf("the watcher ended while waiting for %s", what)
			}
			if is(e) {
				return e
			}
			seen = append(seen, fmt.Sprintf("%s %s %s gone=%t %+v", e.Kind, e.Link.Name, e.Change, e.Gone, e.Hop))
		case <-timeout:
			t.Fatalf("no %s within %s; seen instead:\n%q", what, patience, seen)
		}
	}
}

func awaitHop(t *testing.T, w *Watcher, k Key, what string, is func(Hop) bool) Hop {
	t.Helper()
	return await(t, w, what, func(e Event) bool { return e.Kind == HopChanged && e.Hop.Key == k && is(e.Hop) }).Hop
}

func awaitLink(t *testing.T, w *Watcher, name string, c Change) Event {
	t.Helper()
	return await(t, w, name+" "+c.String(), func(e Event) bool {
		return e.Kind == LinkChanged && e.Link.Name == name && e.Change&c == c
	})
}

func valid(h Hop) bool   { return h.Valid }
func invalid(h Hop) bool { return !h.Valid }

func key(h *host, name, gw string) Key {
	h.t.Helper()
	return Key{Ifindex: h.index(name), Gateway: netip.MustParseAddr(gw)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

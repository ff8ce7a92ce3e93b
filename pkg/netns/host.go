// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one network namespace of a world.
type Host struct {
	name   string // edge
	full   string // parry-PID-WORLD-edge
	world  string
	ns     *os.File
	handle *netlink.Handle
	log    *slog.Logger
	spawn  *spawner

	mu    sync.Mutex // guards procs
	procs []*Process
}

// errNotReturned is what Do answers when its function left by runtime.Goexit (a test's Fatal, say).
var errNotReturned = errors.New("the function did not return")

func newHost(w *World, name string) (h *Host, err error) {
	h = &Host{name: name, full: w.name + "-" + name, world: w.dir, log: w.log}
	if h.ns, err = makeNamed(h.Path()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	h.handle, err = netlink.NewHandleAt(vnetns.NsHandle(int(h.ns.Fd())), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if h.spawn, err = newSpawner(h); err != nil {
		return nil, err
	}
	if err := h.quiet(); err != nil {
		return nil, err
	}
	lo, err := h.handle.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find loopback: %w", err)
	}
	if err := h.handle.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("set loopback up: %w", err)
	}
	return h, nil
}

// quiet switches off what would send packets by itself or judge them before the test does: IPv6 autoconfiguration
// and duplicate detection, reverse path filters.
func (h *Host) quiet() error {
	for _, s := range [][2]string{
		{"net.ipv6.conf.default.accept_dad", "0"}, {"net.ipv6.conf.all.accept_dad", "0"},
		{"net.ipv6.conf.default.dad_transmits", "0"},
		{"net.ipv6.conf.default.router_solicitations", "0"}, {"net.ipv6.conf.default.accept_ra", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"}, {"net.ipv4.conf.all.rp_filter", "0"},
	} {
		// A kernel without IPv6 has no such keys: then there is nothing to quieten.
		if err := h.Sysctl(s[0], s[1]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Name returns the host's name within its world.
func (h *Host) Name() string { return h.name }

// Namespace returns the name that `ip netns` shows.
func (h *Host) Namespace() string { return h.full }

// Path returns the file that stands for the namespace (setns, `nsenter --net=`).
func (h *Host) Path() string { return filepath.Join(namesDir, h.full) }

// Do runs f inside the host's namespace, on a thread of its own that is thrown away afterwards. Sockets that f opens
// stay in the namespace and may be used anywhere; goroutines that f starts are not in it.
func (h *Host) Do(f func() error) error {
	ch := make(chan error, 1)
	go func() {
		err := errNotReturned
		defer func() { ch <- err }()
		runtime.LockOSThread() // never unlocked: a thread of another namespace must not go back to the pool
		if err = unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter %s: %w", h.full, err)
			return
		}
		err = errNotReturned
		err = f()
	}()
	return <-ch
}

// Sysctl sets a kernel setting of the namespace; key has dots ("net.ipv4.ip_forward"). An interface's name with dots
// is written with slashes, as sysctl(8) has it.
func (h *Host) Sysctl(key, value string) error {
	swap := strings.NewReplacer(".", "/", "/", ".")
	err := h.Do(func() error {
		return os.WriteFile("/proc/sys/"+swap.Replace(key), []byte(value), 0o644)
	})
	if err != nil {
		return fmt.Errorf("set %s=%s in %s: %w", key, value, h.name, err)
	}
	return nil
}

// close removes the links and the namespace. Processes are stopped before (stopProcesses).
func (h *Host) close() error {
	var errs []error
	if h.spawn != nil {
		h.spawn.close()
	}
	if h.handle != nil {
		errs = append(errs, removeLinks(h.handle))
		h.handle.Close()
	}
	errs = append(errs, h.ns.Close(), unbind(h.Path()))
	return errors.Join(errs...)
}

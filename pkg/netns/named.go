// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// makeNamed makes a network namespace, binds it to path so that `ip netns` knows it, and returns it open.
func makeNamed(path string) (*os.File, error) {
	if err := shareNames(); err != nil {
		return nil, err
	}
	type made struct {
		f   *os.File
		err error
	}
	ch := make(chan made, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here, with the namespace that it was moved to
		f, err := unshareTo(path)
		ch <- made{f, err}
	}()
	m := <-ch
	return m.f, m.err
}

func unshareTo(path string) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "none", unix.MS_BIND, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("bind to %s: %w", path, err), os.Remove(path))
	}
	ns, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, unbind(path))
	}
	return ns, nil
}

// shareNames makes /run/netns a shared mount, as iproute2 does: without it a later `ip netns add` would mount over
// our names, and a private mount namespace would keep a removed one alive. Like iproute2 we leave it in place.
func shareNames() error {
	if err := os.MkdirAll(namesDir, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(namesDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil { // iproute2 takes the same lock
		return fmt.Errorf("lock %s: %w", namesDir, err)
	}
	err = unix.Mount("", namesDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err := unix.Mount(namesDir, namesDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s to itself: %w", namesDir, err)
		}
		err = unix.Mount("", namesDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	}
	if err != nil {
		return fmt.Errorf("share mount %s: %w", namesDir, err)
	}
	return nil
}

// unbind takes a namespace's name away. The namespace ends when its last user does.
func unbind(path string) error {
	// EINVAL: not mounted, so only the file is there, left by a crash between making it and mounting.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeNamed removes a namespace of a crashed world: its links at once, since something may still hold it, then
// its name.
func removeNamed(path string) error {
	var errs []error
	if ns, err := vnetns.GetFromPath(path); err == nil {
		if handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err == nil {
			errs = append(errs, removeLinks(handle))
			handle.Close()
		}
		errs = append(errs, ns.Close())
	}
	return errors.Join(append(errs, unbind(path))...)
}

// removeLinks deletes the virtual links of a namespace. The kernel would do so too, some time after its end; done
// here, the links are gone when the call returns.
func removeLinks(handle *netlink.Handle) error {
	links, err := listLinks(handle)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		switch l.Type() {
		case "veth", "vlan", "dummy", "bridge", "bond":
			// A pair's other end goes with the first: gone is what we want.
			if err := handle.LinkDel(l); err != nil && !isGone(err) {
				errs = append(errs, fmt.Errorf("delete link %s: %w", l.Attrs().Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func isGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.As(err, &netlink.LinkNotFoundError{})
}

// listLinks asks again when links changed during the answer.
func listLinks(handle *netlink.Handle) ([]netlink.Link, error) {
	for {
		links, err := handle.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list links: %w", err)
		}
		return links, nil
	}
}

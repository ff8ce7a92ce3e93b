// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"parry/loader"
	"parry/test/packet"
)

// device makes a second interface, in a network namespace that ends with the test, and lets frames be redirected to it.
func (w *world) device(t *testing.T) int {
	t.Helper()
	ready, done, end := make(chan error), make(chan struct{}), make(chan struct{})
	index := 0
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and the namespace with it
		var err error
		index, err = w.makeDevice()
		ready <- err
		<-end
	}()
	t.Cleanup(func() { close(end); <-done })
	must(t, <-ready)
	return index
}

func (w *world) makeDevice() (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return 0, err
	}
	l := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "out"}, PeerName: "far"}
	if err := netlink.LinkAdd(l); err != nil {
		return 0, err
	}
	made, err := netlink.LinkByName("out")
	if err != nil {
		return 0, err
	}
	i := made.Attrs().Index
	return i, w.edge.SetLink(loader.LinkInfo{Ifindex: i, Phys: i, MTU: 1500, MAC: packet.EdgeSide})
}

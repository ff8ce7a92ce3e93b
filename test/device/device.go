// SPDX-License-Identifier: Apache-2.0

// Package device makes an interface that frames can be redirected to, for tests that run programs and send nothing.
package device

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is one end of a veth, in a network namespace of its own.
type Device struct {
	Ifindex int
	end     chan struct{}
	done    chan struct{}
}

// New makes a device and runs use in its namespace, where its index means it.
func New(use func(ifindex int) error) (*Device, error) {
	d := &Device{end: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(d.done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and the namespace with it
		err := d.make()
		if err == nil {
			err = use(d.Ifindex)
		}
		ready <- err
		<-d.end
	}()
	if err := <-ready; err != nil {
		d.Close()
		return nil, fmt.Errorf("make a device: %w", err)
	}
	return d, nil
}

func (d *Device) make() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "out"}, PeerName: "far"}); err != nil {
		return err
	}
	made, err := netlink.LinkByName("out")
	if err != nil {
		return err
	}
	d.Ifindex = made.Attrs().Index
	return nil
}

// Close removes it.
func (d *Device) Close() {
	close(d.end)
	<-d.done
}

// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errLost says that the kernel had messages for us that we will never see.
var errLost = errors.New("netlink messages were lost")

// socket is a netlink socket that listens to changes. The netlink library's own
// subscriptions end at the first lost message; this one goes on.
type socket struct {
	file *os.File
	raw  syscall.RawConn
	buf  []byte
}

// groups are the changes that the watcher follows. Rules and nexthop objects
// change routes without a message about the routes.
func groups() []int {
	return []int{
		unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP,
	}
}

// openSocket opens the socket in the calling thread's network namespace, with
// room for rcvbuf bytes of unread messages.
func openSocket(rcvbuf int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	// Without CAP_NET_ADMIN the size stops at net.core.rmem_max, which is enough
	// to work; a full buffer costs a resync.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rcvbuf) != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, rcvbuf)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	for _, g := range groups() {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		}
	}
	var raw syscall.RawConn
	if err == nil {
		raw, err = file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up netlink socket: %w", err), file.Close())
	}
	return &socket{file: file, raw: raw, buf: make([]byte, 256<<10)}, nil
}

// receive waits for messages, which are valid until the next call. It returns
// errLost when some were lost, and os.ErrDeadlineExceeded after interrupt.
func (s *socket) receive() ([]syscall.NetlinkMessage, error) {
	for {
		n, err := s.read(true)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			continue // not from the kernel
		}
		msgs, err := syscall.ParseNetlinkMessage(s.buf[:n])
		if err != nil {
			return nil, errLost // cut or garbled: what it said is gone
		}
		return msgs, nil
	}
}

// drain throws away what waits, so that a dump begins after it: messages of
// before a loss would otherwise be replayed over the dump and be wrong for ever.
func (s *socket) drain() error {
	for {
		_, err := s.read(false)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err != nil && err != errLost:
			return err
		}
	}
}

// read receives one datagram; 0 bytes mean that it was not the kernel's.
func (s *socket) read(wait bool) (n int, err error) {
	var from unix.Sockaddr
	var flags int
	var rerr error
	err = s.raw.Read(func(fd uintptr) bool {
		n, _, flags, from, rerr = unix.Recvmsg(int(fd), s.buf, nil, 0)
		return !wait || rerr != unix.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case rerr == unix.ENOBUFS:
		return 0, errLost
	case rerr == unix.EINTR:
		return 0, nil
	case rerr != nil:
		return 0, rerr
	}
	if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
		return 0, nil
	}
	if flags&unix.MSG_TRUNC != 0 {
		return 0, errLost
	}
	return n, nil
}

// interrupt makes a waiting receive return, now and ever after.
func (s *socket) interrupt() error { return s.file.SetReadDeadline(time.Unix(1, 0)) }

func (s *socket) close() error { return s.file.Close() }

// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	header4   = 20
	header6   = 40
	headerUDP = 8
	hops      = 64
	protoUDP  = 17
)

// Raw sends by raw sockets, whose packets bring their own IP header: the services' addresses may be anybody's to this host.
// It may be used from anywhere.
type Raw struct {
	mu   sync.Mutex // guards buf; a socket is the kernel's to guard
	buf  []byte
	fd4  int
	fd6  int // -1: this kernel has no IPv6
	open bool
}

// NewRaw opens the sockets, in the network namespace of the caller's thread. Their packets have a priority (socket(7),
// SO_PRIORITY) by which the host tells them from a server's own. It needs CAP_NET_RAW, and CAP_NET_ADMIN for a priority above 6.
func NewRaw(priority int) (*Raw, error) {
	r := &Raw{fd4: -1, fd6: -1, open: true, buf: make([]byte, 0, header6+headerUDP+Longest)}
	var err error
	if r.fd4, err = rawSocket(unix.AF_INET, priority); err != nil {
		return nil, err
	}
	r.fd6, err = rawSocket(unix.AF_INET6, priority)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		err = nil
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func rawSocket(family, priority int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return -1, fmt.Errorf("open a raw socket for answers: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priority); err != nil {
		return -1, errors.Join(fmt.Errorf("set the priority of answers: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// Close closes the sockets.
func (r *Raw) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open {
		return nil
	}
	r.open = false
	err := unix.Close(r.fd4)
	if r.fd6 >= 0 {
		err = errors.Join(err, unix.Close(r.fd6))
	}
	return err
}

// Send sends one UDP packet. from and to are of one family.
func (r *Raw) Send(from, to netip.AddrPort, payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	switch {
	case !r.open:
		err = unix.EBADF
	case from.Addr().Is4() && to.Addr().Is4():
		r.buf = packet4(r.buf[:0], from, to, payload)
		err = unix.Sendto(r.fd4, r.buf, 0, &unix.SockaddrInet4{Addr: to.Addr().As4()})
	case from.Addr().Is6() && to.Addr().Is6() && r.fd6 >= 0:
		r.buf = packet6(r.buf[:0], from, to, payload)
		err = unix.Sendto(r.fd6, r.buf, 0, &unix.SockaddrInet6{Addr: to.Addr().As16()})
	default:
		err = unix.EAFNOSUPPORT
	}
	if err != nil {
		return fmt.Errorf("answer %v in the name of %v: %w", to, from, err)
	}
	return nil
}

// packet4 appends an IPv4 packet. The kernel fills in its length, checksum and ID (raw(7)).
func packet4(b []byte, from, to netip.AddrPort, payload []byte) []byte {
	src, dst := from.Addr().As4(), to.Addr().As4()
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(header4+headerUDP+len(payload)))
	b = append(b, 0, 0, 0, 0, hops, protoUDP, 0, 0)
	b = append(append(b, src[:]...), dst[:]...)
	return udp(b, sum(src[:])+sum(dst[:]), from.Port(), to.Port(), payload)
}

func packet6(b []byte, from, to netip.AddrPort, payload []byte) []byte {
	src, dst := from.Addr().As16(), to.Addr().As16()
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(headerUDP+len(payload)))
	b = append(b, protoUDP, hops)
	b = append(append(b, src[:]...), dst[:]...)
	return udp(b, sum(src[:])+sum(dst[:]), from.Port(), to.Port(), payload)
}

// udp appends a UDP packet whose addresses sum up to `addrs`.
func udp(b []byte, addrs uint64, from, to uint16, payload []byte) []byte {
	length := uint16(headerUDP + len(payload))
	check := addrs + protoUDP + 2*uint64(length) + uint64(from) + uint64(to) + sum(payload)
	for check>>16 != 0 {
		check = check&0xffff + check>>16
	}
	if check = ^check & 0xffff; check == 0 {
		check = 0xffff // 0 would say that there is none (RFC 768)
	}
	for _, v := range []uint16{from, to, length, uint16(check)} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return append(b, payload...)
}

// sum adds up 16-bit words; an odd last byte is a word's first.
func sum(b []byte) (n uint64) {
	for ; len(b) >= 2; b = b[2:] {
		n += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint64(b[0]) << 8
	}
	return n
}

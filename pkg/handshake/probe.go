// SPDX-License-Identifier: Apache-2.0

package handshake

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// again are the times of a SYN's repetitions: a lost packet or two are no reason to forget a server.
var again = []time.Duration{0, 200 * time.Millisecond, 600 * time.Millisecond}

// Probe sends a server a SYN that offers everything, whatever this host's own connections would, and reads its answer. The kernel, which
// knows of no such connection, answers that by a RST. It needs CAP_NET_RAW. It ends with ctx, which has a deadline.
func Probe(ctx context.Context, server netip.AddrPort) (Options, error) {
	o, err := probe(ctx, server)
	if err != nil {
		return Options{}, fmt.Errorf("shake hands with %v: %w", server, err)
	}
	return o, nil
}

func probe(ctx context.Context, server netip.AddrPort) (_ Options, err error) {
	network := "ip6:tcp"
	if server.Addr().Is4() {
		network = "ip4:tcp"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, server.Addr().String())
	if err != nil {
		return Options{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	raw, ours := conn.(*net.IPConn), conn.LocalAddr().(*net.IPAddr)
	self, ok := netip.AddrFromSlice(ours.IP)
	if !ok {
		return Options{}, fmt.Errorf("the host has no address towards it: %v", ours)
	}
	port, err := reserve(self.Unmap(), ours.Zone)
	if err != nil {
		return Options{}, err
	}
	defer func() { err = errors.Join(err, port.Close()) }()
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })() // of an open socket it can't fail
	q := question{raw: raw, from: netip.AddrPortFrom(self.Unmap(), port.number), to: server, isn: rand.Uint32()}
	return q.ask(ctx)
}

// question is one SYN on its way.
type question struct {
	raw      *net.IPConn
	from, to netip.AddrPort
	isn      uint32
}

func (q *question) ask(ctx context.Context) (Options, error) {
	syn := q.syn()
	began := time.Now()
	for i := range again {
		if _, err := q.raw.Write(syn); err != nil {
			return Options{}, fmt.Errorf("send a SYN: %w", err)
		}
		until, _ := ctx.Deadline()
		if i+1 < len(again) {
			until = began.Add(again[i+1])
		}
		if err := q.raw.SetReadDeadline(until); err != nil {
			return Options{}, err
		}
		o, err := q.await()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return o, err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return Options{}, errors.New("it does not answer")
}

// await reads what the server sends to this host, until it is the answer.
func (q *question) await() (Options, error) {
	var b [1500]byte
	for {
		n, _, err := q.raw.ReadFrom(b[:]) // without the IP header
		if err != nil {
			return Options{}, err
		}
		if o, ok, err := answerOf(b[:n], q.to.Addr().Is4(), q.to.Port(), q.from.Port(), q.isn); ok {
			return o, err
		}
	}
}

func (q *question) syn() []byte {
	be := binary.BigEndian
	mss := uint16(1440)
	if q.to.Addr().Is4() {
		mss = 1460
	}
	b := be.AppendUint16(nil, q.from.Port())
	b = be.AppendUint16(b, q.to.Port())
	b = be.AppendUint32(b, q.isn)
	b = append(b, 0, 0, 0, 0, (headerTCP+20)/4<<4, flagSYN, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, optMSS, 4)
	b = be.AppendUint16(b, mss)
	b = append(b, optSACKPermitted, 2, optTimestamps, 10)
	b = be.AppendUint32(b, rand.Uint32()|1)
	b = append(b, 0, 0, 0, 0, optNothing, optWindowScale, 3, 7)
	be.PutUint16(b[16:], ^fold(sum(q.from.Addr().AsSlice())+sum(q.to.Addr().AsSlice())+unix.IPPROTO_TCP+uint64(len(b))+sum(b)))
	return b
}

// sum adds up 16-bit words of an even number of bytes.
func sum(b []byte) (n uint64) {
	for ; len(b) >= 2; b = b[2:] {
		n += uint64(binary.BigEndian.Uint16(b))
	}
	return n
}

func fold(n uint64) uint16 {
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return uint16(n)
}

// reserved is a port that nobody else on this host uses.
type reserved struct {
	fd     int
	number uint16
}

func (r *reserved) Close() error { return os.NewSyscallError("close", unix.Close(r.fd)) }

// reserve binds a socket that never connects: to the kernel's own TCP what comes to its port is nobody's.
func reserve(self netip.Addr, zone string) (_ *reserved, err error) {
	family, at := unix.AF_INET6, unix.Sockaddr(nil)
	if self.Is4() {
		family, at = unix.AF_INET, &unix.SockaddrInet4{Addr: self.As4()}
	} else {
		to := &unix.SockaddrInet6{Addr: self.As16()}
		if i, err := net.InterfaceByName(zone); zone != "" && err == nil {
			to.ZoneId = uint32(i.Index)
		}
		at = to
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	r := &reserved{fd: fd}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if err := unix.Bind(fd, at); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	switch b := bound.(type) {
	case *unix.SockaddrInet4:
		r.number = uint16(b.Port)
	case *unix.SockaddrInet6:
		r.number = uint16(b.Port)
	}
	return r, nil
}

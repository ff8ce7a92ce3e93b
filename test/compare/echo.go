// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/netns"
)

const (
	pingSize    = 22 // bytes of payload, as the flood's
	pingWait    = time.Second
	lookEvery   = 100 * time.Millisecond // for the end of an echo
	warmings    = 3                      // exchanges of each flow before anything is measured
	warmPatient = 5                      // tries
)

// echo is a server that sends every datagram back, on a thread that blocks in the kernel: Go's poller would be the larger
// part of a round trip.
type echo struct {
	fd   int
	stop atomic.Bool
	done chan struct{}
}

func startEcho(h *netns.Host, at netip.AddrPort) (*echo, error) {
	fd, err := socket(h, at, lookEvery)
	if err != nil {
		return nil, fmt.Errorf("start the echo: %w", err)
	}
	e := &echo{fd: fd, done: make(chan struct{})}
	go e.run()
	return e, nil
}

func (e *echo) run() {
	defer close(e.done)
	runtime.LockOSThread() // never unlocked: its affinity goes with it
	_ = stayOnLastCPU()    // else a round trip is that of another CPU's wake-up: slower, and no less fair
	var buf [2048]byte
	for !e.stop.Load() {
		n, from, err := unix.Recvfrom(e.fd, buf[:], 0)
		if err == nil {
			_ = unix.Sendto(e.fd, buf[:n], 0, from) // a loss shows at the other end
		}
	}
}

// Close ends it and waits.
func (e *echo) Close() error {
	e.stop.Store(true)
	<-e.done
	return unix.Close(e.fd)
}

// socket is a blocking UDP socket in a host.
func socket(h *netns.Host, at netip.AddrPort, wait time.Duration) (int, error) {
	fd := -1
	err := h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		tv := unix.NsecToTimeval(int64(wait))
		return errors.Join(
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
			unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}))
	})
	if err != nil && fd >= 0 {
		err = errors.Join(err, unix.Close(fd))
	}
	return fd, err
}

// exchange sends one datagram and waits for its echo.
func exchange(fd int, to *unix.SockaddrInet4, seq byte) (time.Duration, error) {
	var buf [pingSize]byte
	buf[0] = seq
	began := time.Now()
	if err := unix.Sendto(fd, buf[:], 0, to); err != nil {
		return 0, err
	}
	for {
		n, _, err := unix.Recvfrom(fd, buf[:], 0)
		if err != nil {
			return 0, fmt.Errorf("no echo: %w", err)
		}
		if n == pingSize && buf[0] == seq {
			return time.Since(began), nil
		}
	}
}

// warm has each flow of the flood, and the pings', speak with the server: that makes and proves all sessions.
func (s *site) warm() error {
	for p := uint16(firstFlow); p <= pingFlow; p++ {
		fd, err := socket(s.client, netip.AddrPortFrom(clientAddr(), p), pingWait)
		if err != nil {
			return err
		}
		err = s.warmOne(fd)
		if err = errors.Join(err, unix.Close(fd)); err != nil {
			return fmt.Errorf("flow %d: %w", p, err)
		}
	}
	return nil
}

func (s *site) warmOne(fd int) error {
	to := &unix.SockaddrInet4{Port: int(s.target.Port()), Addr: s.target.Addr().As4()}
	var err error
	for range warmPatient { // a proxy may not listen yet
		for i := range warmings {
			if _, err = exchange(fd, to, byte(i)); err != nil {
				break
			}
		}
		if err == nil {
			return nil
		}
		time.Sleep(lookEvery)
	}
	return err
}

// ping measures n round trips. Returns the sorted times, and how many got none.
func (s *site) ping(n int) (times []time.Duration, lost int, err error) {
	fd, err := socket(s.client, netip.AddrPortFrom(clientAddr(), pingFlow), pingWait)
	if err != nil {
		return nil, 0, err
	}
	to := &unix.SockaddrInet4{Port: int(s.target.Port()), Addr: s.target.Addr().As4()}
	err = s.client.Do(func() error { // on a thread of its own, which is thrown away
		if err := stayOnLastCPU(); err != nil {
			return err
		}
		for i := range n {
			t, err := exchange(fd, to, byte(i))
			if err != nil {
				lost++
				continue
			}
			times = append(times, t)
		}
		return nil
	})
	slices.Sort(times)
	return times, lost, errors.Join(err, unix.Close(fd))
}

// stayOnLastCPU pins the calling thread to the CPU that the generator takes, too.
func stayOnLastCPU() error {
	last, err := lastCPU()
	if err != nil {
		return err
	}
	var one unix.CPUSet
	one.Set(last)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("stay on one CPU: %w", err)
	}
	return nil
}

func lastCPU() (int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return 0, fmt.Errorf("ask for the allowed CPUs: %w", err)
	}
	last := 0
	for i := range len(allowed) * 64 {
		if allowed.IsSet(i) {
			last = i
		}
	}
	return last, nil
}

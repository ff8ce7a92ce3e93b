// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"parry/pkg/netns"
)

// socketRoom is the receive buffer of a match server, in bytes: a busy one's, so that a burst is not lost at the
// last step.
const socketRoom = 8 << 20

// Match is the game servers: UDP sockets that answer each move, TCP sockets that echo.
type Match struct {
	score     *Score
	log       *slog.Logger
	udp       []*net.UDPConn
	tcp       []net.Listener
	strangers atomic.Uint64
}

// NewMatch opens the servers' sockets in a host.
func NewMatch(h *netns.Host, score *Score, udp, tcp []netip.AddrPort, log *slog.Logger) (*Match, error) {
	m := &Match{score: score, log: log}
	err := h.Do(func() error {
		for _, addr := range udp {
			conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
			if err != nil {
				return err
			}
			m.udp = append(m.udp, conn)
			if err := widen(conn); err != nil {
				return err
			}
		}
		for _, addr := range tcp {
			l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
			if err != nil {
				return err
			}
			m.tcp = append(m.tcp, l)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open servers: %w", err), m.close())
	}
	return m, nil
}

func widen(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketRoom)
	})
	return errors.Join(err, inner)
}

// Strangers is how many datagrams came that no player of the lab sent.
func (m *Match) Strangers() uint64 { return m.strangers.Load() }

// Run serves until the context ends.
func (m *Match) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, conn := range m.udp {
		wg.Go(func() { m.serveUDP(conn) })
	}
	for _, l := range m.tcp {
		wg.Go(func() { m.serveTCP(l, &wg) })
	}
	<-ctx.Done()
	err := m.close()
	wg.Wait()
	return err
}

func (m *Match) close() error {
	var errs []error
	for _, c := range m.udp {
		errs = append(errs, c.Close())
	}
	for _, l := range m.tcp {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// serveUDP answers hellos with welcomes and moves with states, until the socket is closed.
func (m *Match) serveUDP(conn *net.UDPConn) {
	var buf [2048]byte
	var out [packetSize]byte
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		p, ok := decode(buf[:max(n, 0)])
		if err != nil || !ok {
			if err == nil {
				m.strangers.Add(1)
			}
			continue // a refused answer of earlier (ICMP) is the client's business
		}
		c := m.score.at(p.cell)
		if c == nil || p.kind != kindHello && p.kind != kindMove {
			m.strangers.Add(1)
			continue
		}
		c.atServer.Add(1)
		p.kind++ // hello to welcome, move to state
		p.encode(&out)
		if _, err := conn.WriteToUDPAddrPort(out[:], from); err == nil {
			c.fromServer.Add(1)
		}
	}
}

// serveTCP echoes on every connection until the listener is closed.
func (m *Match) serveTCP(l net.Listener, wg *sync.WaitGroup) {
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for c := range open {
			_ = c.Close() // ends its echo
		}
	}()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			continue // a connection that was reset before it was accepted
		}
		mu.Lock()
		open[conn] = true
		mu.Unlock()
		wg.Go(func() {
			if _, err := io.Copy(conn, conn); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
				m.log.Debug("echo ended", "err", err)
			}
			_ = conn.Close()
			mu.Lock()
			defer mu.Unlock()
			delete(open, conn)
		})
	}
}

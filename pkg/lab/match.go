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

// Match is the game servers: UDP sockets that speak their game, TCP sockets that echo.
type Match struct {
	score     *Score
	log       *slog.Logger
	udp       []*net.UDPConn
	games     []gameID // of each socket
	tcp       []net.Listener
	serves    []func(net.Conn) error // of each listener
	strangers atomic.Uint64
	others    scoreCell // of what no player of the lab sent
}

// newMatch opens the sockets of the services' servers in a host.
func newMatch(h *netns.Host, score *Score, services []service, log *slog.Logger) (*Match, error) {
	m := &Match{score: score, log: log}
	err := h.Do(func() error {
		for _, s := range services {
			for _, addr := range s.servers {
				if err := m.open(s, addr); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open servers: %w", err), m.close())
	}
	return m, nil
}

func (m *Match) open(s service, addr netip.AddrPort) error {
	if s.protocol == "tcp" {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
		if err == nil {
			m.tcp, m.serves = append(m.tcp, l), append(m.serves, s.serve)
		}
		return err
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	m.udp, m.games = append(m.udp, conn), append(m.games, s.game)
	return widen(conn)
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
	for i, conn := range m.udp {
		wg.Go(func() { m.serveUDP(conn, newSpeaker(m.games[i])) })
	}
	for i, l := range m.tcp {
		wg.Go(func() { m.serveTCP(l, m.serves[i], &wg) })
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

// serveUDP speaks the server's side of a game until the socket is closed.
func (m *Match) serveUDP(conn *net.UDPConn, game speaker) {
	var buf [2048]byte
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a refused answer of earlier (ICMP) is the client's business
		}
		answer, p, ours := game.serve(from, buf[:n])
		c := m.score.at(p.cell)
		if !ours || c == nil {
			c = &m.others
			m.strangers.Add(1)
		}
		c.atServer.Add(1)
		if answer == nil {
			continue
		}
		if _, err := conn.WriteToUDPAddrPort(answer, from); err == nil {
			c.fromServer.Add(1)
		}
	}
}

// serve is the server's side of a connection: Minecraft, or an echo.
func (s service) serve(conn net.Conn) error {
	if s.listen == realm {
		return mineServe(newMineConn(conn))
	}
	_, err := io.Copy(conn, conn)
	return err
}

// serveTCP serves every connection until the listener is closed.
func (m *Match) serveTCP(l net.Listener, serve func(net.Conn) error, wg *sync.WaitGroup) {
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for c := range open {
			_ = c.Close() // ends its service
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
			if err := serve(conn); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
				m.log.Debug("a connection ended", "err", err)
			}
			_ = conn.Close()
			mu.Lock()
			defer mu.Unlock()
			delete(open, conn)
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parry/pkg/netns"
)

const (
	patience  = 3 * time.Second // for one answer
	udpBuffer = 4 << 20         // bytes: no test may lose a packet in a socket
	who       = "who?"
)

// udpServer echoes every datagram but "who?", which it answers with the address that it sees.
type udpServer struct {
	t    *testing.T
	conn *net.UDPConn
	mark string // answers begin with it: which server it was
	done chan struct{}

	packets atomic.Uint64
	mu      sync.Mutex // guards all below
	last    map[netip.AddrPort]time.Time
	players map[netip.AddrPort]netip.AddrPort // whose streams come from an address and port
	mixed   int                               // datagrams of another's stream than the last one from there
}

func (w *world) udpServer(h *netns.Host, listen netip.AddrPort, mark string) *udpServer {
	w.t.Helper()
	s := &udpServer{
		t: w.t, conn: w.udp(h, listen), mark: mark, done: make(chan struct{}), last: map[netip.AddrPort]time.Time{},
		players: map[netip.AddrPort]netip.AddrPort{},
	}
	go s.serve()
	w.t.Cleanup(func() {
		s.conn.Close()
		<-s.done
	})
	return s
}

// udp opens a socket in a host.
func (w *world) udp(h *netns.Host, local netip.AddrPort) *net.UDPConn {
	w.t.Helper()
	var conn *net.UDPConn
	must(w.t, h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		return err
	}))
	must(w.t, conn.SetReadBuffer(udpBuffer), conn.SetWriteBuffer(udpBuffer))
	return conn
}

func (s *udpServer) serve() {
	defer close(s.done)
	buf := make([]byte, 65536)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an answer: the next datagram is another matter
		}
		s.packets.Add(1)
		s.note(at(from.Addr().Unmap(), from.Port()), buf[:n])
		answer := buf[:n]
		if string(answer) == who {
			answer = []byte(s.mark + from.String())
		}
		_, _ = s.conn.WriteToUDPAddrPort(answer, from) // the player misses it if that fails
	}
}

func (s *udpServer) note(from netip.AddrPort, datagram []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[from] = time.Now()
	if len(datagram) != streamSize {
		return
	}
	player := playerOf(datagram)
	if before, ok := s.players[from]; ok && before != player {
		s.mixed++
	}
	s.players[from] = player
}

// mixedUp is how many datagrams came from where another player's came from before.
func (s *udpServer) mixedUp() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mixed
}

// known are the players by where their streams come from; forget begins anew.
func (s *udpServer) known() map[netip.AddrPort]netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.players)
}

// left is told of a player who won't come back: others may be given the port by which the server knew him.
func (s *udpServer) left(player netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.players, func(_, p netip.AddrPort) bool { return p == player })
}

func (s *udpServer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.players)
}

// lastFrom is when the last datagram of an address and port arrived.
func (s *udpServer) lastFrom(a netip.AddrPort) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[a]
}

// udpPlayer is one client socket.
type udpPlayer struct {
	t    *testing.T
	conn *net.UDPConn
	to   netip.AddrPort
}

func (w *world) udpPlayer(h *netns.Host, local netip.Addr, to netip.AddrPort) *udpPlayer {
	w.t.Helper()
	p := &udpPlayer{t: w.t, conn: w.udp(h, at(local, 0)), to: to}
	w.t.Cleanup(func() { p.conn.Close() })
	return p
}

func (p *udpPlayer) addr() netip.AddrPort {
	return p.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// tryJoin repeats a datagram, as games do, until it is answered, and says how often it was sent; 0 = in vain.
func (p *udpPlayer) tryJoin(within time.Duration) (tries int) {
	p.t.Helper()
	buf := make([]byte, 65536)
	for began := time.Now(); time.Since(began) < within; {
		tries++
		_, err := p.conn.WriteToUDPAddrPort([]byte("join"), p.to)
		must(p.t, err, p.conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		if n, _, err := p.conn.ReadFromUDPAddrPort(buf); err == nil && string(buf[:n]) == "join" {
			return tries
		}
	}
	return 0
}

// join must be answered.
func (p *udpPlayer) join(within time.Duration) (tries int) {
	p.t.Helper()
	if tries = p.tryJoin(within); tries == 0 {
		p.t.Fatalf("%v is not answered within %v", p.addr(), within)
	}
	return tries
}

// ask sends one datagram, once, and waits for its answer, which must come from where it went.
func (p *udpPlayer) ask(payload []byte) ([]byte, error) {
	if _, err := p.conn.WriteToUDPAddrPort(payload, p.to); err != nil {
		return nil, err
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	buf := make([]byte, 65536)
	n, from, err := p.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		return nil, fmt.Errorf("no answer to %d bytes: %w", len(payload), err)
	}
	if at(from.Addr().Unmap(), from.Port()) != p.to {
		return nil, fmt.Errorf("the answer came from %v, not from %v", from, p.to)
	}
	return buf[:n], nil
}

// echo wants a payload back as it was.
func (p *udpPlayer) echo(size int) {
	p.t.Helper()
	sent := bytesOf(uint64(size), size)
	got, err := p.ask(sent)
	must(p.t, err)
	if !bytes.Equal(got, sent) {
		p.t.Fatalf("%d bytes came back as other %d", len(sent), len(got))
	}
}

// seenAs asks the server what address it sees. mark is what the answer began with.
func (p *udpPlayer) seenAs() (seen netip.AddrPort, mark string) {
	p.t.Helper()
	got, err := p.ask([]byte(who))
	must(p.t, err)
	return parseSeen(p.t, string(got))
}

// parseSeen takes "MARK" or "" and an address apart; a mark ends with '='.
func parseSeen(t *testing.T, text string) (netip.AddrPort, string) {
	t.Helper()
	mark := ""
	if i := bytes.IndexByte([]byte(text), '='); i >= 0 {
		mark, text = text[:i], text[i+1:]
	}
	seen, err := netip.ParseAddrPort(text)
	must(t, err)
	return netip.AddrPortFrom(seen.Addr().Unmap(), seen.Port()), mark
}

// silent wants no answer within a time.
func (p *udpPlayer) silent(payload []byte, within time.Duration) {
	p.t.Helper()
	must(p.t, p.conn.SetReadDeadline(time.Now().Add(within)))
	_, err := p.conn.WriteToUDPAddrPort(payload, p.to)
	must(p.t, err)
	n, from, err := p.conn.ReadFromUDPAddrPort(make([]byte, 65536))
	if err == nil {
		p.t.Fatalf("%d bytes came from %v where nothing should", n, from)
	}
}

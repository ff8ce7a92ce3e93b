// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
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
	mu      sync.Mutex // guards last
	last    map[netip.AddrPort]time.Time
}

func (w *world) udpServer(h *netns.Host, listen netip.AddrPort, mark string) *udpServer {
	w.t.Helper()
	s := &udpServer{t: w.t, conn: w.udp(h, listen), mark: mark, done: make(chan struct{}), last: map[netip.AddrPort]time.Time{}}
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
		s.mu.Lock()
		s.last[at(from.Addr().Unmap(), from.Port())] = time.Now()
		s.mu.Unlock()
		answer := buf[:n]
		if string(answer) == who {
			answer = []byte(s.mark + from.String())
		}
		_, _ = s.conn.WriteToUDPAddrPort(answer, from) // the player misses it if that fails
	}
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

// stream plays: numbered datagrams at a steady rate, and it counts which come back.
type stream struct {
	p          *udpPlayer
	stopSender chan struct{}
	sender     sync.WaitGroup
	receiver   sync.WaitGroup

	mu     sync.Mutex // guards all below
	sentAt []time.Time
	back   []bool
	echoed int
	failed int // sends that the kernel refused: no packet left
	lastAt time.Time
	maxGap time.Duration
	notify chan int // numbers of echoes, while somebody waits
}

// tally is what a stream came to.
type tally struct {
	sent, echoed, lost, refused int
	gap                         time.Duration // the longest between two echoes
	missing                     []int         // numbers of what didn't come back
}

func (t tally) String() string {
	text := fmt.Sprintf("%d sent, %d lost, longest gap %v", t.sent, t.lost, t.gap.Round(time.Millisecond))
	if t.lost > 0 {
		text += fmt.Sprintf(", lost ones from number %d to %d", t.missing[0], t.missing[len(t.missing)-1])
	}
	return text
}

const streamSize = 100 // bytes of a stream's datagram

func (p *udpPlayer) play(every time.Duration) *stream {
	p.t.Helper()
	must(p.t, p.conn.SetReadDeadline(time.Time{}))
	s := &stream{p: p, stopSender: make(chan struct{})}
	s.sender.Go(func() { s.send(every) })
	s.receiver.Go(s.receive)
	p.t.Cleanup(func() { s.stop(0) })
	return s
}

func (s *stream) send(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	buf := make([]byte, streamSize)
	for {
		select {
		case <-s.stopSender:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		n := len(s.sentAt)
		s.sentAt = append(s.sentAt, time.Now())
		s.back = append(s.back, false)
		s.mu.Unlock()
		binary.BigEndian.PutUint32(buf, uint32(n))
		if _, err := s.p.conn.WriteToUDPAddrPort(buf, s.p.to); err != nil {
			s.mu.Lock()
			s.failed++
			s.mu.Unlock()
		}
	}
}

func (s *stream) receive() {
	buf := make([]byte, 2048)
	for {
		n, _, err := s.p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // the deadline that end sets
		}
		if n == streamSize {
			s.note(int(binary.BigEndian.Uint32(buf)))
		}
	}
}

func (s *stream) note(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= len(s.back) || s.back[n] {
		return
	}
	s.back[n] = true
	s.echoed++
	now := time.Now()
	if !s.lastAt.IsZero() {
		s.maxGap = max(s.maxGap, now.Sub(s.lastAt))
	}
	s.lastAt = now
	if s.notify != nil {
		select {
		case s.notify <- n:
		default:
		}
	}
}

// alive waits until something that is sent from now on comes back, and says how long that took.
func (s *stream) alive(within time.Duration) time.Duration {
	s.p.t.Helper()
	echoes := make(chan int, 1024)
	s.mu.Lock()
	began, from := time.Now(), len(s.sentAt)
	s.notify = echoes
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.notify = nil
		s.mu.Unlock()
	}()
	deadline := time.After(within)
	for {
		select {
		case n := <-echoes:
			if n >= from {
				return time.Since(began)
			}
		case <-deadline:
			s.p.t.Fatalf("play does not go on within %v: %v", within, s.sum())
		}
	}
}

// more plays on for so many more echoes.
func (s *stream) more(echoes int) {
	s.p.t.Helper()
	s.mu.Lock()
	want := s.echoed + echoes
	s.mu.Unlock()
	await(s.p.t, 30*time.Second, fmt.Sprintf("%d echoes", echoes), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.echoed >= want
	})
}

// awaitSent waits until so many more packets were sent.
func (s *stream) awaitSent(n int) {
	s.p.t.Helper()
	sum := s.sum()
	want := sum.sent + sum.refused + n
	await(s.p.t, patience, "packets to be sent", func() bool {
		sum := s.sum()
		return sum.sent+sum.refused >= want
	})
}

func (s *stream) sum() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := tally{
		sent: len(s.sentAt) - s.failed, echoed: s.echoed, lost: len(s.sentAt) - s.failed - s.echoed, refused: s.failed, gap: s.maxGap,
	}
	for n, ok := range s.back {
		if !ok {
			t.missing = append(t.missing, n)
		}
	}
	return t
}

// end stops playing, gives what is under way time to come back, and sums up.
func (s *stream) end() tally { return s.stop(time.Second) }

func (s *stream) stop(wait time.Duration) tally {
	select {
	case <-s.stopSender:
	default:
		close(s.stopSender)
	}
	s.sender.Wait()
	deadline := time.Now().Add(wait)
	for time.Now().Before(deadline) && s.sum().lost > 0 {
		time.Sleep(2 * time.Millisecond) // for what may never come there is no event
	}
	_ = s.p.conn.SetReadDeadline(time.Now()) // a closed socket has ended the reader already
	s.receiver.Wait()
	return s.sum()
}

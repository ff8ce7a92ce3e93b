// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// stream plays: numbered datagrams at a steady rate, and it counts which come back.
type stream struct {
	p          *udpPlayer
	hold       *atomic.Bool // nothing is sent while it is set
	stopSender chan struct{}
	sender     sync.WaitGroup
	receiver   sync.WaitGroup

	mu     sync.Mutex // guards all below
	back   []bool     // by number, all that were sent
	echoed int
	failed int // sends that the kernel refused: no packet left
	heard  int // datagrams that came, of whatever kind
	strays int // of others' streams
	lastAt time.Time
	maxGap time.Duration
	notify chan int // numbers of echoes, while somebody waits
}

// tally is what a stream came to.
type tally struct {
	sent, echoed, lost, refused int
	heard, strays               int           // what came; what of it is another's
	gap                         time.Duration // the longest between two echoes
	missing                     []int         // numbers of what didn't come back, once it has ended
}

func (t tally) String() string {
	text := fmt.Sprintf("%d sent, %d lost, longest gap %v", t.sent, t.lost, t.gap.Round(time.Millisecond))
	if len(t.missing) > 0 {
		text += fmt.Sprintf(", lost ones from number %d to %d", t.missing[0], t.missing[len(t.missing)-1])
	}
	return text
}

// A stream's datagram begins with its number and with whose it is: the player's port and address.
const streamSize = 100

func playerOf(datagram []byte) netip.AddrPort {
	a := netip.AddrFrom16([16]byte(datagram[6:22])).Unmap()
	return at(a, binary.BigEndian.Uint16(datagram[4:6]))
}

func writePlayer(datagram []byte, player netip.AddrPort) {
	a := player.Addr().As16()
	binary.BigEndian.PutUint16(datagram[4:6], player.Port())
	copy(datagram[6:22], a[:])
}

func (p *udpPlayer) play(every time.Duration) *stream { return p.playUnless(new(atomic.Bool), every) }

func (p *udpPlayer) playUnless(hold *atomic.Bool, every time.Duration) *stream {
	p.t.Helper()
	must(p.t, p.conn.SetReadDeadline(time.Time{}))
	s := &stream{p: p, hold: hold, stopSender: make(chan struct{})}
	s.sender.Go(func() { s.send(every) })
	s.receiver.Go(s.receive)
	p.t.Cleanup(func() { s.stop(0) })
	return s
}

func (s *stream) send(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	buf := make([]byte, streamSize)
	writePlayer(buf, s.p.addr())
	for {
		select {
		case <-s.stopSender:
			return
		case <-tick.C:
		}
		if s.hold.Load() {
			continue
		}
		s.mu.Lock()
		n := len(s.back)
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
	self := s.p.addr()
	for {
		n, _, err := s.p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // the deadline that end sets
		}
		number, own := -1, n == streamSize && playerOf(buf) == self
		if own {
			number = int(binary.BigEndian.Uint32(buf))
		}
		s.note(number, n == streamSize && !own)
	}
}

// note takes down what came: number n of the stream, or (-1) something else, which may be another stream's.
func (s *stream) note(n int, stray bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard++
	if stray {
		s.strays++
	}
	if n < 0 || n >= len(s.back) || s.back[n] {
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
	began, from := time.Now(), len(s.back)
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
	moreOf([]*stream{s}, echoes)
}

// moreOf has every stream play on, all at once.
func moreOf(all []*stream, echoes int) {
	for i, want := range ahead(all, func(t tally) int { return t.echoed }, echoes) {
		s := all[i]
		s.p.t.Helper()
		await(s.p.t, 30*time.Second, fmt.Sprintf("%d echoes", echoes), func() bool { return s.sum().echoed >= want })
	}
}

// sendOn waits until every stream has sent so many packets more.
func sendOn(all []*stream, n int) {
	for i, want := range ahead(all, func(t tally) int { return t.sent + t.refused }, n) {
		s := all[i]
		s.p.t.Helper()
		await(s.p.t, patience, "packets to be sent", func() bool { sum := s.sum(); return sum.sent+sum.refused >= want })
	}
}

// awaitSent is sendOn for one.
func (s *stream) awaitSent(n int) {
	s.p.t.Helper()
	sendOn([]*stream{s}, n)
}

// next is the number of the datagram that is numbered next.
func (s *stream) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.back)
}

// heardFrom counts the answers to datagrams from a number on.
func (s *stream) heardFrom(n int) (heard int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, back := range s.back[n:] {
		if back {
			heard++
		}
	}
	return heard
}

// ahead is what a count of each stream will be when it has grown by n.
func ahead(all []*stream, count func(tally) int, n int) (want []int) {
	for _, s := range all {
		want = append(want, count(s.sum())+n)
	}
	return want
}

func (s *stream) sum() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := tally{
		sent: len(s.back) - s.failed, echoed: s.echoed, lost: len(s.back) - s.failed - s.echoed, refused: s.failed, gap: s.maxGap,
		heard: s.heard, strays: s.strays,
	}
	return t
}

// missing are the numbers of what didn't come back.
func (s *stream) missing() (all []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, ok := range s.back {
		if !ok {
			all = append(all, n)
		}
	}
	return all
}

// end stops playing, gives what is under way time to come back, and sums up.
func (s *stream) end() tally { return s.stop(time.Second) }

// forgive has what is missing so far be no loss: there was no way for it.
func (s *stream) forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.back {
		s.back[n] = true
	}
	s.echoed, s.failed = len(s.back), 0
}

// halt has the sender stop, and waits for nothing.
func (s *stream) halt() {
	select {
	case <-s.stopSender:
	default:
		close(s.stopSender)
	}
}

func (s *stream) stop(wait time.Duration) tally {
	s.halt()
	s.sender.Wait()
	deadline := time.Now().Add(wait)
	for time.Now().Before(deadline) && s.sum().lost > 0 {
		time.Sleep(2 * time.Millisecond) // for what may never come there is no event
	}
	_ = s.p.conn.SetReadDeadline(time.Now()) // a closed socket has ended the reader already
	s.receiver.Wait()
	sum := s.sum()
	sum.missing = s.missing()
	return sum
}

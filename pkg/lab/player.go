// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"parry/pkg/netns"
)

const (
	movesPerSecond = 60
	helloAgain     = time.Second // as real clients repeat their first packet
)

// Player is one client of a game: it joins, then moves until its context ends.
type Player struct {
	id    uint32
	group Group
	game  gameID
	every time.Duration
	stay  time.Duration // for how long it plays, 0 = until its context ends
	conn  *net.UDPConn
	score *Score
	epoch time.Time

	asked    atomic.Int64  // ns since epoch: the first hello
	joinTook atomic.Int64  // ns from it, 0 = not in yet
	welcome  chan struct{} // closed when in
	heard    atomic.Int64  // ns since epoch of the last state

	uncounted scoreCell

	speech sync.Mutex // guards talk
	talk   dialect

	mu      sync.Mutex // guards samples
	samples []sample
}

// newPlayer opens a player's socket in a host, from an address of its own to a service of its game.
func newPlayer(h *netns.Host, id int, g Group, game gameID, from netip.Addr, service netip.AddrPort, score *Score) (*Player, error) {
	p := &Player{id: uint32(id), group: g, game: game, every: time.Second / movesPerSecond, score: score, epoch: time.Now(),
		welcome: make(chan struct{}), talk: newDialect(game, uint32(id))}
	err := h.Do(func() (err error) {
		p.conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(service))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("player %d: %w", id, err)
	}
	return p, nil
}

// Run joins and plays until the context ends, then waits a moment for what is on its way.
func (p *Player) Run(ctx context.Context) error {
	var reader sync.WaitGroup
	reader.Go(p.read)
	if p.join(ctx) {
		p.play(ctx)
		time.Sleep(linger)
	}
	err := p.conn.Close()
	reader.Wait()
	return err
}

// linger is how long packets may still be on their way when play ends.
const linger = 300 * time.Millisecond

// Address is where the player plays from.
func (p *Player) Address() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Joined is closed when the server has welcomed the player.
func (p *Player) Joined() <-chan struct{} { return p.welcome }

// JoinTime is how long joining took; 0 while the player is not in.
func (p *Player) JoinTime() time.Duration { return time.Duration(p.joinTook.Load()) }

// Came says that the player has begun to join.
func (p *Player) Came() bool { return p.asked.Load() > 0 }

// Silence is for how long the player has heard nothing from its server.
func (p *Player) Silence() time.Duration {
	return time.Since(p.epoch) - time.Duration(p.heard.Load())
}

// measured hands over the round-trip times since the last call.
func (p *Player) measured() []sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.samples
	p.samples = nil
	return s
}

func (p *Player) join(ctx context.Context) bool {
	p.asked.Store(int64(time.Since(p.epoch)))
	again := time.NewTicker(helloAgain)
	defer again.Stop()
	for {
		p.hello()
		select {
		case <-p.welcome:
			return true
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
}

// hello says what the game's handshake has next.
func (p *Player) hello() {
	c := p.score.cell(joining(p.group), p.game)
	p.speech.Lock()
	b := p.talk.hello(packet{cell: c, kind: kindHello, player: p.id, sent: int64(time.Since(p.epoch))})
	p.speech.Unlock()
	p.send(b, c)
}

func joining(g Group) Group {
	if g == Stranger {
		return g
	}
	return Joining
}

func (p *Player) play(ctx context.Context) {
	if p.stay > 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, p.stay)
		defer leave()
	}
	// Players don't move in step: each starts somewhere else within the period.
	if wait(ctx, p.every*time.Duration(p.id*7%movesPerSecond)/movesPerSecond) != nil {
		return
	}
	move := time.NewTicker(p.every)
	defer move.Stop()
	for seq := uint32(0); ; seq++ {
		select {
		case <-ctx.Done():
			return
		case <-move.C:
		}
		c := p.score.cell(p.group, p.game)
		p.speech.Lock()
		b := p.talk.move(packet{cell: c, kind: kindMove, player: p.id, seq: seq, sent: int64(time.Since(p.epoch))})
		p.speech.Unlock()
		p.send(b, c)
	}
}

func (p *Player) send(b []byte, cell uint16) {
	c := p.score.at(cell)
	if c == nil {
		c = &p.uncounted // a stranger's
	}
	c.sent.Add(1) // before the packet can arrive anywhere
	for range 2 {
		// The first error may be that of an earlier packet (an ICMP error came): then this one was not sent yet.
		if _, err := p.conn.Write(b); err == nil {
			return
		}
	}
	c.sent.Add(^uint64(0))
}

// read takes answers until the socket is closed.
func (p *Player) read() {
	var buf [2048]byte
	for {
		n, err := p.conn.Read(buf[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error: players repeat what they said
		}
		p.speech.Lock()
		what, in := p.talk.hear(buf[:n])
		p.speech.Unlock()
		p.take(what, in)
	}
}

func (p *Player) take(what heard, in packet) {
	now := time.Since(p.epoch)
	switch what {
	case heardStep:
		p.hello()
	case heardWelcome:
		if in.player == p.id && p.joinTook.CompareAndSwap(0, int64(now)-p.asked.Load()) {
			p.heard.Store(int64(now))
			close(p.welcome)
		}
	case heardState:
		if in.player != p.id {
			return
		}
		if c := p.score.at(in.cell); c != nil {
			c.received.Add(1)
		}
		p.heard.Store(int64(now))
		p.mu.Lock()
		p.samples = append(p.samples, sample{phase: phaseOf(in.cell), rtt: now - time.Duration(in.sent)})
		p.mu.Unlock()
	}
}

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
	helloAgain     = 250 * time.Millisecond // as real clients repeat their first packet
)

// Player is one client of the game: it joins, then moves until its context ends.
type Player struct {
	id    uint32
	group Group
	every time.Duration
	conn  *net.UDPConn
	score *Score
	epoch time.Time

	asked    atomic.Int64  // ns since epoch: the first hello
	joinTook atomic.Int64  // ns from it, 0 = not in yet
	welcome  chan struct{} // closed when in
	heard    atomic.Int64  // ns since epoch of the last state

	mu      sync.Mutex // guards samples
	samples []sample
}

// NewPlayer opens a player's socket in a host, from an address of its own to a service.
func NewPlayer(h *netns.Host, id int, g Group, from netip.Addr, service netip.AddrPort, score *Score) (*Player, error) {
	p := &Player{id: uint32(id), group: g, every: time.Second / movesPerSecond, score: score, epoch: time.Now(),
		welcome: make(chan struct{})}
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

// Joined is closed when the server has welcomed the player.
func (p *Player) Joined() <-chan struct{} { return p.welcome }

// JoinTime is how long joining took; 0 while the player is not in.
func (p *Player) JoinTime() time.Duration { return time.Duration(p.joinTook.Load()) }

// Silence is for how long the player has heard nothing from its server.
func (p *Player) Silence() time.Duration {
	return time.Since(p.epoch) - time.Duration(p.heard.Load())
}

// take hands over the round-trip times measured since the last call.
func (p *Player) take() []sample {
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
	for seq := uint32(0); ; seq++ {
		p.send(packet{cell: p.score.cell(Joining), kind: kindHello, player: p.id, seq: seq})
		select {
		case <-p.welcome:
			return true
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
}

func (p *Player) play(ctx context.Context) {
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
		p.send(packet{cell: p.score.cell(p.group), kind: kindMove, player: p.id, seq: seq})
	}
}

func (p *Player) send(out packet) {
	var b [packetSize]byte
	out.sent = int64(time.Since(p.epoch))
	out.encode(&b)
	c := p.score.at(out.cell)
	c.sent.Add(1) // before the packet can arrive anywhere
	for range 2 {
		// The first error may be that of an earlier packet (an ICMP error came): then this one was not sent yet.
		if _, err := p.conn.Write(b[:]); err == nil {
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
		in, ok := decode(buf[:max(n, 0)])
		if err != nil || !ok || in.player != p.id {
			continue
		}
		now := time.Since(p.epoch)
		if c := p.score.at(in.cell); c != nil {
			c.received.Add(1)
		}
		p.heard.Store(int64(now))
		switch in.kind {
		case kindWelcome:
			if p.joinTook.CompareAndSwap(0, int64(now)-p.asked.Load()) {
				close(p.welcome)
			}
		case kindState:
			p.mu.Lock()
			p.samples = append(p.samples, sample{phase: int(in.cell) / int(groups), rtt: now - time.Duration(in.sent)})
			p.mu.Unlock()
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/netns"
)

const (
	tcpMessagesPerSecond = 20
	tcpPatience          = 5 * time.Second // to connect, and to send a message
	tcpGoodbye           = 2 * time.Second // for the last echoes
)

// TCPPlayer is a client with a connection: it sends small messages and awaits their echo.
type TCPPlayer struct {
	id    int
	host  *netns.Host
	from  netip.Addr
	to    netip.AddrPort
	score *Score
	epoch time.Time

	joinTook       atomic.Int64
	local          atomic.Pointer[netip.AddrPort]
	sent, received atomic.Uint64
	again          atomic.Uint64 // segments that the kernel sent again
	broken         atomic.Bool

	mu      sync.Mutex // guards samples
	samples []sample
}

// NewTCPPlayer makes a player that connects from an address of its own when it runs.
func NewTCPPlayer(h *netns.Host, id int, from netip.Addr, service netip.AddrPort, score *Score) *TCPPlayer {
	return &TCPPlayer{id: id, host: h, from: from, to: service, score: score}
}

// Run connects and plays until the context ends. A connection that breaks is no error but a result (Broken).
func (p *TCPPlayer) Run(ctx context.Context) error {
	p.epoch = time.Now()
	var conn *net.TCPConn
	err := p.host.Do(func() error {
		d := net.Dialer{Timeout: tcpPatience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.from, 0))}
		c, err := d.DialContext(ctx, "tcp", p.to.String())
		if err == nil {
			conn = c.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			p.broken.Store(true)
		}
		return nil
	}
	p.joinTook.Store(int64(time.Since(p.epoch)))
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	p.local.Store(&local)
	var reader sync.WaitGroup
	reader.Go(func() { p.read(conn) })
	p.play(ctx, conn)
	err = p.finish(conn)
	reader.Wait()
	return errors.Join(err, conn.Close())
}

func (p *TCPPlayer) play(ctx context.Context, conn *net.TCPConn) {
	move := time.NewTicker(time.Second / tcpMessagesPerSecond)
	defer move.Stop()
	for seq := uint32(0); ; seq++ {
		select {
		case <-ctx.Done():
			return
		case <-move.C:
		}
		var b [packetSize]byte
		packet{cell: p.score.cell(Established, arenaGame), kind: kindMove, player: uint32(p.id), seq: seq,
			sent: int64(time.Since(p.epoch))}.encode(&b)
		if err := conn.SetWriteDeadline(time.Now().Add(tcpPatience)); err != nil {
			return
		}
		if _, err := conn.Write(b[:]); err != nil {
			p.broken.Store(true)
			return
		}
		p.sent.Add(1)
	}
}

// finish reads how often the kernel had to send something again, says goodbye, and gives the last echoes a moment.
func (p *TCPPlayer) finish(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			p.again.Store(uint64(info.Total_retrans))
		}
	})
	if conn.CloseWrite() != nil {
		p.broken.Store(true)
	}
	return errors.Join(err, conn.SetReadDeadline(time.Now().Add(tcpGoodbye)))
}

// read takes echoes until the connection ends.
func (p *TCPPlayer) read(conn *net.TCPConn) {
	var b [packetSize]byte
	for {
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return // what is missing shows in the counters
		}
		in, ok := decode(b[:])
		if !ok {
			p.broken.Store(true)
			return
		}
		p.received.Add(1)
		p.mu.Lock()
		p.samples = append(p.samples, sample{phase: phaseOf(in.cell), rtt: time.Since(p.epoch) - time.Duration(in.sent)})
		p.mu.Unlock()
	}
}

// JoinTime is how long connecting took; 0 while the player is not in.
func (p *TCPPlayer) JoinTime() time.Duration { return time.Duration(p.joinTook.Load()) }

// Address is where the player plays from, invalid while it is not in.
func (p *TCPPlayer) Address() netip.AddrPort {
	if a := p.local.Load(); a != nil {
		return *a
	}
	return netip.AddrPort{}
}

// Broken says that the connection could not be made or ended before the player wanted.
func (p *TCPPlayer) Broken() bool { return p.broken.Load() }

func (p *TCPPlayer) measured() []sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.samples
	p.samples = nil
	return s
}

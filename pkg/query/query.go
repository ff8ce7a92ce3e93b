// SPDX-License-Identifier: Apache-2.0

// Package query asks game servers what they tell anybody: A2S (Source, GoldSrc), RakNet's unconnected ping, Quake III's
// getinfo and getstatus. What a server sends is not trusted: it is bounded, checked, and tied to the question as far as its protocol
// can do that.
package query

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Question is one that servers of a protocol answer.
type Question uint8

// The questions.
const (
	SourceInfo Question = iota
	SourcePlayers
	SourceRules
	Quake3Info
	Quake3Status
	RakNetPing
)

// String is the question's word within its protocol: info, players, rules, status, pong.
func (q Question) String() string {
	if int(q) < len(questions) {
		return questions[q].name
	}
	return fmt.Sprintf("question %d", uint8(q))
}

// questions holds what is particular to each: its word, and the exchange that gets its reply.
var questions = [...]struct {
	name string
	ask  func(*exchange, Question) (*Reply, error)
}{
	SourceInfo:    {"info", (*exchange).source},
	SourcePlayers: {"players", (*exchange).source},
	SourceRules:   {"rules", (*exchange).source},
	Quake3Info:    {"info", (*exchange).quake3},
	Quake3Status:  {"status", (*exchange).quake3},
	RakNetPing:    {"pong", (*exchange).raknet},
}

// Reply is what a server answered.
type Reply struct {
	// Packets are UDP payloads as any client gets them, in the order of their numbers: one, or those of a split A2S reply. What in them
	// is one client's alone is neutral: the time that a RakNet pong echoes is 0, Quake III's `challenge` is taken out.
	Packets [][]byte
	// Body is what Packets say together: they joined, and unpacked where they were packed.
	Body []byte
	// Took is the time from the last request to the last packet of its reply.
	Took time.Duration
	Basics
}

// Basics are what every kind of server says in its own way. A reply that doesn't say it leaves "" and -1.
type Basics struct {
	Name, Map    string
	Players, Max int
}

// unsaid are the basics of a reply that says none.
func unsaid() Basics { return Basics{Players: -1, Max: -1} }

// Bounds of what a server may send.
const (
	longestPacket = 16 << 10  // bytes of one datagram; Quake III's own bound
	longestBody   = 256 << 10 // of a split reply, unpacked
	mostPackets   = 64        // that one question reads, whatever they are
)

// Errors that callers tell apart.
var (
	// ErrNoReply says that the time was over before the reply was complete.
	ErrNoReply = errors.New("no reply")
	// ErrBadReply says that what came is no reply of this protocol.
	ErrBadReply = errors.New("a bad reply")
)

// Ask asks a server one question, from a port of its own, and waits for the reply until ctx ends.
func Ask(ctx context.Context, server netip.AddrPort, q Question) (*Reply, error) {
	if int(q) >= len(questions) {
		return nil, fmt.Errorf("ask %v: there is no %v", server, q)
	}
	// Connected: the kernel takes packets of this server alone, and tells when nobody listens there.
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return nil, fmt.Errorf("ask %v for %v: %w", server, q, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) // in the past: whatever waits ends
	defer stop()
	x := &exchange{conn: conn, buf: make([]byte, longestPacket+1)}
	r, err := questions[q].ask(x, q)
	switch {
	case errors.Is(err, ErrBadReply):
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", ErrNoReply, context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("ask %v for %v: %w", server, q, err)
	}
	r.Took = x.got.Sub(x.sent)
	return r, nil
}

// exchange is one question's talk with a server.
type exchange struct {
	conn      net.Conn
	buf       []byte
	read      int // packets
	sent, got time.Time
}

func (x *exchange) send(request []byte) error {
	x.sent = time.Now()
	_, err := x.conn.Write(request)
	return err
}

// receive returns the next packet; it is valid until the next call.
func (x *exchange) receive() ([]byte, error) {
	for x.read < mostPackets {
		n, err := x.conn.Read(x.buf)
		if err != nil {
			return nil, err
		}
		x.read++
		x.got = time.Now()
		if n <= longestPacket {
			return x.buf[:n], nil
		}
	}
	return nil, bad("%d packets and none of them was the reply", mostPackets)
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadReply, fmt.Sprintf(format, args...))
}

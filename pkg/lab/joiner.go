// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"parry/pkg/netns"
)

const (
	// joinTCPLimit is within what time a player of a game over TCP is to be in while an edge is attacked: status, login, and the first
	// packet of play.
	joinTCPLimit = 2 * time.Second
	joinAgain    = 250 * time.Millisecond // after an attempt that failed
)

// joiner is a newcomer to a game over TCP: he asks for the server's status, logs in, and stays a while.
type joiner struct {
	id   int
	host *netns.Host
	from netip.Addr
	to   netip.AddrPort

	came     atomic.Bool
	joinTook atomic.Int64
}

// Run joins, tries again if need be, and plays until it has had enough or the context ends.
func (j *joiner) Run(ctx context.Context) error {
	began := time.Now()
	j.came.Store(true)
	for ctx.Err() == nil {
		conn, err := j.join(ctx)
		if err != nil {
			_ = wait(ctx, joinAgain) // the loop sees its end
			continue
		}
		j.joinTook.Store(int64(time.Since(began)))
		_ = wait(ctx, newStay)
		return conn.Close()
	}
	return nil
}

func (j *joiner) join(ctx context.Context) (conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, minePatience)
	defer cancel()
	d := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(j.from, 0))}
	inside := j.host.Do(func() error {
		conn, err = JoinMinecraft(ctx, d, j.to, fmt.Sprintf("player%d", j.id))
		return nil
	})
	if err == nil {
		err = inside
	}
	return conn, err
}

// JoinTime is how long it took; 0 while he is not in.
func (j *joiner) JoinTime() time.Duration { return time.Duration(j.joinTook.Load()) }

// joinReport is what newcomers to the game over TCP felt.
func (l *lab) joinReport() GroupReport {
	row := GroupReport{Group: "new", Protocol: "tcp"}
	part := GameReport{Game: "minecraft_java", LimitMS: joinTCPLimit.Milliseconds()}
	var joins []time.Duration
	for _, j := range l.joiners {
		if !j.came.Load() {
			continue // a starved machine may have had no time for the last ones
		}
		part.Players++
		took := j.JoinTime()
		joins = append(joins, took)
		if took > 0 && took <= joinTCPLimit {
			part.InTime++
		}
	}
	part.Joined, part.JoinMS, part.JoinMaxMS = joined(joins)
	row.Players, row.Joined, row.JoinMS, row.JoinMaxMS = part.Players, part.Joined, part.JoinMS, part.JoinMaxMS
	row.ByGame = []GameReport{part}
	return row
}

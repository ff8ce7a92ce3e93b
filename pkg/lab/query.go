// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"parry/pkg/netns"
)

// Queries are what server browsers send: each asks what a kind asks, again after a second, and gives up after a few.
const (
	queriesPerSecond = 2 // of a kind
	queryAgain       = time.Second
	queryTries       = 4
	queryPatience    = queryTries * queryAgain
	maxChallenges    = 4 // a server that keeps sending challenges is not answering
)

// question is one query on its way.
type question interface {
	ask() []byte
	// hear says if a datagram is the answer, or if it is now to be asked again.
	hear(b []byte) (answered, again bool)
}

// queryKind is one thing to ask.
type queryKind struct {
	name string
	to   netip.AddrPort
	make func(n uint32) question
}

func queryKinds() []queryKind {
	source := func(ask string, kind byte, bare bool) func(uint32) question {
		return func(uint32) question { return &a2sQuestion{request: ask, kind: kind, bare: bare} }
	}
	return []queryKind{
		{"a2s_info", strike, source(a2sInfo, 'I', true)},
		{"a2s_players", strike, source(a2sPlayers, 'D', false)},
		{"a2s_rules", strike, source(a2sRules, 'E', false)},
		{"raknet_ping", craft, func(n uint32) question { return pingQuestion{clock: uint64(n) << 16} }},
		{"getinfo", quake, func(n uint32) question { return quakeQuestion{quakeGetInfo, quakeInfo, n} }},
		{"getstatus", quake, func(n uint32) question { return quakeQuestion{quakeGetStatus, quakeStatus, n} }},
	}
}

// a2sQuestion does the challenge dance.
type a2sQuestion struct {
	request   string
	kind      byte // of the answer
	bare      bool // asks without a challenge first, as an info client does
	challenge []byte
}

func (q *a2sQuestion) ask() []byte {
	if q.challenge == nil && q.bare {
		return []byte(q.request)
	}
	if q.challenge == nil {
		return []byte(q.request + a2sNone)
	}
	return append([]byte(q.request), q.challenge...)
}

func (q *a2sQuestion) hear(b []byte) (answered, again bool) {
	switch {
	case bytes.HasPrefix(b, []byte(sourceChallenge)) && len(b) >= 9:
		q.challenge = bytes.Clone(b[5:9])
		return false, true
	case len(b) > 9 && string(b[:4]) == outOfBand && b[4] == q.kind:
		return true, false
	}
	return false, false
}

// pingQuestion wants its own time back.
type pingQuestion struct{ clock uint64 }

func (q pingQuestion) ask() []byte { return raknetPingOf(q.clock) }

func (q pingQuestion) hear(b []byte) (bool, bool) {
	return len(b) > 35 && b[0] == rakPong && binary.BigEndian.Uint64(b[1:]) == q.clock, false
}

// quakeQuestion wants its own words back.
type quakeQuestion struct {
	request, reply string
	nonce          uint32
}

func (q quakeQuestion) ask() []byte { return fmt.Appendf(nil, "%s %d\n", q.request, q.nonce) }

func (q quakeQuestion) hear(b []byte) (bool, bool) {
	return bytes.HasPrefix(b, []byte(q.reply)) && bytes.Contains(b, fmt.Appendf(nil, "\\challenge\\%d\\", q.nonce)), false
}

// browser asks one kind of query from one address, over and over.
type browser struct {
	kind  queryKind
	host  *netns.Host
	from  netip.Addr
	score *Score
	same  func(a, b int) bool // two phases are of one kind

	mu      sync.Mutex // guards results
	results map[int]*queryResult
}

// queryResult is what became of the queries of a phase. Those that it ended too early for are not counted.
type queryResult struct {
	asked, answered int
	took            []time.Duration
}

// Run asks until the context ends.
func (b *browser) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second / queriesPerSecond)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := uint32(1); ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		wg.Go(func() {
			phase, start := int(b.score.phase.Load()), time.Now()
			answered := b.query(ctx, b.kind.make(n))
			if ctx.Err() == nil && b.same(phase, int(b.score.phase.Load())) {
				b.file(phase, answered, time.Since(start))
			}
		})
	}
}

func (b *browser) file(phase int, answered bool, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.results == nil {
		b.results = map[int]*queryResult{}
	}
	r := b.results[phase]
	if r == nil {
		r = &queryResult{}
		b.results[phase] = r
	}
	r.asked++
	if answered {
		r.answered++
		r.took = append(r.took, took)
	}
}

// query asks from a socket of its own until it is answered or gives up.
func (b *browser) query(ctx context.Context, q question) bool {
	var conn *net.UDPConn
	err := b.host.Do(func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.from, 0)), net.UDPAddrFromAddrPort(b.kind.to))
		return err
	})
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends a read
	defer stop()
	for range queryTries {
		if b.try(conn, q) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
	}
	return false
}

// try asks once and waits a second for the answer, going along with challenges.
func (b *browser) try(conn *net.UDPConn, q question) bool {
	if conn.SetReadDeadline(time.Now().Add(queryAgain)) != nil {
		return false
	}
	_, _ = conn.Write(q.ask()) // an error is that of an earlier packet, or shows as silence
	var buf [2048]byte
	for challenges := 0; ; {
		n, err := conn.Read(buf[:])
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, net.ErrClosed) {
			return false
		}
		if err != nil {
			continue // an ICMP error
		}
		answered, again := q.hear(buf[:n])
		if answered {
			return true
		}
		if challenges++; again && challenges <= maxChallenges {
			_, _ = conn.Write(q.ask())
		}
	}
}

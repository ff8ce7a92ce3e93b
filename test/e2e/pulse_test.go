// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	pulseSize     = 64               // bytes of a beat
	pulsePatience = 20 * time.Second // for one beat: TCP mends what a link loses, the edge must not cut it off
)

// pulse is a TCP connection that lives: one numbered beat at a time goes to the server and must come back as it was.
type pulse struct {
	p    *tcpPlayer
	stop chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex // guards all below
	beats int
	err   error
}

func (p *tcpPlayer) pulse(every time.Duration) *pulse {
	p.t.Helper()
	l := &pulse{p: p, stop: make(chan struct{})}
	_, err := fmt.Fprintln(p.conn, "echo")
	must(p.t, err)
	l.wg.Go(func() { l.beat(every) })
	p.t.Cleanup(func() { _ = l.end() })
	return l
}

func (l *pulse) beat(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	sent, got := make([]byte, pulseSize), make([]byte, pulseSize)
	writePlayer(sent, l.p.addr())
	for n := uint32(0); ; n++ {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		binary.BigEndian.PutUint32(sent, n)
		err := l.exchange(sent, got)
		l.mu.Lock()
		l.beats++
		l.err = err
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (l *pulse) exchange(sent, got []byte) error {
	if err := l.p.conn.SetDeadline(time.Now().Add(pulsePatience)); err != nil {
		return err
	}
	if _, err := l.p.conn.Write(sent); err != nil {
		return err
	}
	if _, err := io.ReadFull(l.p.in, got); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("%v got %x for %x", l.p.addr(), got, sent)
	}
	return nil
}

func (l *pulse) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beats
}

// broken is what went wrong so far.
func (l *pulse) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// end stops beating, with nothing under way, and returns what went wrong. The connection stays.
func (l *pulse) end() error {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wg.Wait()
	return l.broken()
}

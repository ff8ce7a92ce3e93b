// SPDX-License-Identifier: Apache-2.0

package anticheat_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"parry/pkg/anticheat"
)

// Targets of issue 7: so many players at so many packets a second each way.
const (
	players    = 5000
	perSecond  = 2 * 60 * players
	mostMemory = 256 << 20
	mostCPU    = 0.5
)

func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// crowd is 5,000 players of Quake III, each with its own rhythm.
type crowd struct {
	a    *anticheat.Analyser
	k    []anticheat.Session
	head [24]byte
	n    uint32
}

func newCrowd(t testing.TB, n int) *crowd {
	p := anticheat.Default()
	p.Seed = 1
	a, err := anticheat.New(p, anticheat.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{a: a, k: make([]anticheat.Session, n)}
	for i := range c.k {
		c.k[i] = anticheat.Session{Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 40000), Front: front, Proto: 17}
	}
	return c
}

// round is a packet each way of each player: a sixtieth of a second of all of them.
func (c *crowd) round() {
	c.n++
	at := uint64(1e12) + uint64(c.n)*uint64(time.Second)/60
	about := anticheat.About{Service: "arena", Game: "quake3"}
	binary.LittleEndian.PutUint32(c.head[:], c.n)
	for i := range c.k {
		binary.LittleEndian.PutUint32(c.head[8:], uint32(i)*2654435761^c.n)
		size := 20 + (i^int(c.n))&3
		p := anticheat.Packet{Time: at + uint64(i)*1000, Session: c.k[i], Whole: true, Length: size, Head: c.head[:size], About: about}
		c.a.Packet(&p)
		p.Down = true
		c.a.Packet(&p)
	}
}

// BenchmarkPlayers prints what a packet costs, which part of a core 5,000 players at 60 packets a second each way take, and their memory.
func BenchmarkPlayers(b *testing.B) {
	before := heap()
	c := newCrowd(b, players)
	for range 60 * 20 { // until all that is kept of a session is there
		c.round()
	}
	after := heap()
	begin, n := cpu(b), 0
	for ; b.Loop(); n += 2 * players {
		c.round()
	}
	ns := float64(cpu(b)-begin) / float64(n)
	b.ReportMetric(ns, "cpu-ns/packet")
	b.ReportMetric(ns*perSecond/1e9, "cores(most_0.5)")
	b.ReportMetric(float64(after-before)/(1<<20), "MiB(most_256)")
	runtime.KeepAlive(c)
}

// Memory is bounded: what 5,000 players take once all that is kept of them is there, reckoned from a tenth of them.
func TestMemory(t *testing.T) {
	const part = 10
	before := heap()
	c := newCrowd(t, players/part)
	for range 1200 {
		c.round()
	}
	if took := heap() - before; took > mostMemory/part {
		t.Errorf("%d players take %d KiB, more than %d", players/part, took>>10, mostMemory/part>>10)
	}
	runtime.KeepAlive(c)
}

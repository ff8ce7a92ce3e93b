// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// spent is the CPU time of this process, which other processes on the machine don't lengthen.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// observe measures what observations cost, and which part of a CPU 200,000 a second would take.
func observe(b *testing.B, r *rig, next func(i int, o *Observation)) {
	var o Observation
	o.Service, o.Port, o.Game, o.Length = 1, 27960, "quake3", 60
	begin, i := spent(b), 0
	for ; b.Loop(); i++ {
		next(i, &o)
		o.Client, o.Time = uint16(i), uint64(i)*5000
		r.Observe(&o)
	}
	ns := float64(spent(b)-begin) / float64(i)
	b.ReportMetric(ns, "cpu-ns/op")
	b.ReportMetric(200_000*ns/1e9*100, "%cpu@200k/s")
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// Strangers' first packets from random addresses: each is new, and takes another's place.
func BenchmarkObserveRandomSources(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 1))
	observe(b, newRig(b), func(_ int, o *Observation) {
		o.Kind, o.Reason, o.Source = Refused, "greylisted", address(rnd.Uint32()|1)
	})
}

// A crowd of 30,000 proven sources that connect or leave: everything is counted and judged.
func BenchmarkObserveProvenSources(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	observe(b, newRig(b), func(i int, o *Observation) {
		o.Kind, o.Proof, o.EndedBy, o.Lived, o.Source = Attempt, Strong, ByClient, time.Second, address(0x0b000000+rnd.Uint32N(30_000)*7)
		if i%3 == 0 {
			o.Kind = Ended
		}
	})
}

// The dearest: sources with full histories, each scored at each of its connections, and never blocked.
func BenchmarkObserveBusySources(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 3))
	observe(b, newRig(b, func(p *Policy) { p.Risk.Above = 1 }), func(_ int, o *Observation) {
		o.Kind, o.Proof, o.Source = Attempt, Strong, address(0x0b000000+rnd.Uint32N(1000)*7)
	})
}

// Questions for lists, which count for nothing.
func BenchmarkObserveQueries(b *testing.B) {
	observe(b, newRig(b), func(_ int, o *Observation) { o.Kind, o.Source = Query, address(0x0b000001) })
}

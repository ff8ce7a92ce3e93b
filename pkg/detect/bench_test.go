// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// One core is to take a million observations a second, so that 200,000 a second are a fifth of it at most: what is printed beside ns/op.
func perCore(b *testing.B) {
	ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	b.ReportMetric(200_000*ns/1e9*100, "%cpu@200k/s")
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// Strangers' first packets from random addresses: each is new, and takes another's place.
func BenchmarkObserveRandomSources(b *testing.B) {
	r := newRig(b)
	rnd := rand.New(rand.NewPCG(1, 1))
	o := Observation{Kind: Refused, Reason: "greylisted", Service: 1, Port: 27960, Game: "quake3", Length: 60}
	for i := 0; b.Loop(); i++ {
		o.Source, o.Client, o.Time = address(rnd.Uint32()|1), uint16(i), uint64(i)*5000
		r.Observe(&o)
	}
	perCore(b)
}

// A crowd of proven sources that connect, play or leave: everything is counted and judged.
func BenchmarkObserveProvenSources(b *testing.B) {
	r := newRig(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	o := Observation{Service: 1, Port: 27960, Game: "quake3", Length: 60, Proof: Strong, EndedBy: ByClient, Lived: time.Second}
	for i := 0; b.Loop(); i++ {
		o.Source, o.Client, o.Time = address(0x0b000000+rnd.Uint32N(30_000)*7), uint16(i), uint64(i)*5000
		o.Kind = Attempt
		if i%3 == 0 {
			o.Kind = Ended
		}
		r.Observe(&o)
	}
	perCore(b)
}

// The dearest: few sources with full histories, each scored at each of its connections, and never blocked.
func BenchmarkObserveBusySources(b *testing.B) {
	r := newRig(b, func(p *Policy) { p.Risk.Above = 1 })
	rnd := rand.New(rand.NewPCG(1, 3))
	o := Observation{Kind: Attempt, Service: 1, Port: 27960, Game: "quake3", Length: 60, Proof: Strong}
	for i := 0; b.Loop(); i++ {
		o.Source, o.Client, o.Time = address(0x0b000000+rnd.Uint32N(1000)*7), uint16(i), uint64(i)*5000
		r.Observe(&o)
	}
	perCore(b)
}

// Questions for lists and SYNs, which count for nothing but their service.
func BenchmarkObserveQueries(b *testing.B) {
	r := newRig(b)
	o := Observation{Kind: Query, Service: 1, Port: 27960, Game: "quake3", Length: 60, Source: address(0x0b000001)}
	for i := 0; b.Loop(); i++ {
		o.Time = uint64(i) * 5000
		r.Observe(&o)
	}
	perCore(b)
}

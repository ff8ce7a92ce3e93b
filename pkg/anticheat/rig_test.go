// SPDX-License-Identifier: Apache-2.0

package anticheat_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"parry/pkg/anticheat"
)

var (
	client = netip.MustParseAddrPort("198.51.100.7:40000")
	front  = netip.MustParseAddrPort("203.0.113.10:27960")
)

// rig tells an analyser of one session, packet by packet.
type rig struct {
	t     testing.TB
	a     *anticheat.Analyser
	k     anticheat.Session
	about anticheat.About
	now   uint64
	n     uint32 // number of the client's next packet
	salt  byte   // of its payloads
	told  []anticheat.Finding
}

func newRig(t testing.TB, change ...func(*anticheat.Policy)) *rig {
	t.Helper()
	r := &rig{t: t, k: anticheat.Session{Client: client, Front: front, Proto: 17}, about: anticheat.About{Service: "arena", Game: "quake3"}, now: 1e12, n: 1}
	p := anticheat.Default()
	p.Seed = 1
	for _, f := range change {
		f(&p)
	}
	var err error
	r.a, err = anticheat.New(p, anticheat.Handler{Found: func(f anticheat.Finding) { r.told = append(r.told, f) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) packet(down bool, payload []byte) {
	r.a.Packet(&anticheat.Packet{Time: r.now, Session: r.k, Down: down, Whole: true, Length: len(payload), Head: payload, About: r.about})
}

// numbered is a packet of Quake III's play.
func numbered(n uint32) []byte {
	b := make([]byte, 24)
	binary.LittleEndian.PutUint32(b, n)
	binary.LittleEndian.PutUint32(b[8:], n*2654435761)
	return b
}

// tick plays 16 ms: a packet of the client's if it speaks, and every third time one of the server's.
func (r *rig) tick(speaks bool) {
	r.now += uint64(16 * time.Millisecond)
	if speaks {
		b := numbered(r.n)
		b[23] = r.salt
		r.packet(false, b)
	}
	r.n++
	if r.n%3 == 0 {
		r.packet(true, numbered(r.n/3))
	}
}

func (r *rig) play(d time.Duration) {
	for range d / (16 * time.Millisecond) {
		r.tick(true)
	}
}

// kinds are what was found, each once.
func (r *rig) kinds() (all []anticheat.Kind) {
	rep, _ := r.a.Report(r.k)
	for _, f := range rep.Findings {
		if !slices.Contains(all, f.Kind) {
			all = append(all, f.Kind)
		}
	}
	return all
}

func (r *rig) want(kinds ...anticheat.Kind) {
	r.t.Helper()
	if got := r.kinds(); !slices.Equal(got, kinds) {
		r.t.Errorf("found %v, want %v", got, kinds)
	}
}

// again sends an old packet of the client's.
func (r *rig) again(back uint32) {
	b := numbered(r.n - back)
	b[23] = r.salt
	r.packet(false, b)
}

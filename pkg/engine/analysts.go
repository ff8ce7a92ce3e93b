// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"sync"
	"time"

	"parry/loader"
	"parry/pkg/sample"
)

// maxEnds is how many ends wait for the next look at the ring: 20 a second, while a sweep finds some hundred thousand at most.
const maxEnds = 1 << 16

// analysts hands what is told of sessions to all who analyse it. Packets come from the reader of the ring. Ends come from the sweeps, which
// have both halves' last counters in hand, so that the kernel need not write them once more; they wait until the ring was read, for in it
// may be packets of theirs.
type analysts struct {
	all []sample.Analyser

	mu   sync.Mutex // guards what follows
	ends []sample.End
	lost uint64

	used []sample.End // by the reader alone
}

// packet hands on what was not told for captures alone.
func (a *analysts) packet(s *sample.Sample) {
	if len(a.all) == 0 || (s.Kind == sample.KindDrop && s.Flags&sample.Regular == 0) {
		return
	}
	p := s.Packet()
	for _, to := range a.all {
		to.Packet(&p)
	}
}

// gone is what is to be told of each session that a sweep deletes; nil: nobody wants to know.
func (a *analysts) gone(now uint64) func(*loader.Session) {
	if len(a.all) == 0 {
		return nil
	}
	return func(s *loader.Session) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.ends) >= maxEnds {
			a.lost++
			return
		}
		a.ends = append(a.ends, endOf(s, now))
	}
}

// looked hands on the ends that wait.
func (a *analysts) looked() {
	a.mu.Lock()
	ends := a.ends
	a.ends = a.used[:0]
	a.mu.Unlock()
	for i := range ends {
		for _, to := range a.all {
			to.Ended(&ends[i])
		}
	}
	a.used = ends
}

// endsLost is how many could not wait.
func (a *analysts) endsLost() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

// endOf is a session's end as analysts see it, who know nothing of the fast path.
func endOf(s *loader.Session, now uint64) sample.End {
	ago := func(d time.Duration) uint64 { return now - min(now, uint64(max(d, 0))) }
	return sample.End{
		Client: s.Client, Front: s.Front, Server: s.Server, Service: s.Service, Proto: s.Proto, By: string(s.End), Time: loader.Monotonic(), Began: ago(s.Age), Last: ago(s.Idle),
		ID: s.ID, Proof: string(s.Proof), Lasted: s.Lasting, Query: s.Query, Called: s.ServerStarted, ClientLast: s.ClientLast,
		Up: sample.Way(s.Up), Down: sample.Way(s.Down), UpFine: fineOf(s.UpTiming), DownFine: fineOf(s.DownTiming),
	}
}

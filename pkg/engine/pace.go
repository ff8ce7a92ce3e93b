// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"parry/loader"
)

// What the walks over whole tables may take of a core. They come less often as tables grow: a late sweep delays how
// soon room is free again, and nothing else.
const (
	sweepShare  = 0.1
	listShare   = 0.005
	listsEvery  = 30 * time.Second // an expired entry is a miss already: sweeping it makes room, no more
	statusShare = 0.1
	fillShare   = 0.02
)

// pace runs something again and again within its share of a core.
type pace struct {
	share float64
	floor time.Duration // between the end of one run and the beginning of the next
	due   time.Time
}

// do runs fn, which returns what it took, if it is due.
func (p *pace) do(fn func() time.Duration) {
	began := time.Now()
	if began.Before(p.due) {
		return
	}
	p.due = began.Add(max(p.floor, time.Duration(float64(fn())/p.share)))
}

// timed makes of a function one that returns what it took.
func timed(fn func()) func() time.Duration {
	return func() time.Duration {
		began := time.Now()
		fn()
		return time.Since(began)
	}
}

// census counts what takes a walk over a whole table to count. A count serves for a while, the longer the walk was the
// longer: some milliseconds where the tables have the default sizes, some seconds with a million sessions.
type census struct {
	mu       sync.Mutex // guards all below; held while counting, so that of many askers one counts
	sessions []map[loader.SessionState]uint64
	fills    []loader.Fill
	counted  pace
	filled   pace
}

// countSessions counts sessions by service number and state. The maps are not to be written to.
func (c *census) countSessions(e *loader.Edge) ([]map[loader.SessionState]uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	c.counted.share = statusShare
	c.counted.do(timed(func() { c.sessions, err = e.CountSessions() }))
	if err != nil {
		c.counted.due = time.Time{}
	}
	return c.sessions, err
}

// countFills counts how full the tables are. The slice is not to be written to.
func (c *census) countFills(e *loader.Edge) ([]loader.Fill, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	c.filled.share = fillShare
	c.filled.do(timed(func() { c.fills, err = e.Fills() }))
	if err != nil {
		c.filled.due = time.Time{}
	}
	return c.fills, err
}

// heap gives memory back that a long list or a listing took. The collector by itself keeps it for minutes.
type heap struct {
	low uint64 // bytes held after the last trim
}

const (
	heapKept  = 24 << 20 // what the daemon may hold unasked
	heapClass = "/memory/classes/heap/"
)

func (h *heap) trim() {
	if held := heapHeld(); held < heapKept || held < h.low*3/2 {
		return
	}
	debug.FreeOSMemory()
	h.low = heapHeld()
}

// heapHeld is what the heap holds of the system's memory, used or not.
func heapHeld() uint64 {
	s := []metrics.Sample{{Name: heapClass + "objects:bytes"}, {Name: heapClass + "unused:bytes"}, {Name: heapClass + "free:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() + s[1].Value.Uint64() + s[2].Value.Uint64()
}

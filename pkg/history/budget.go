// SPDX-License-Identifier: Apache-2.0

package history

import "time"

// A flood must not push out of the history those who played. Sessions that were never proven, and queries, are counted and not written.
// Those that are brief are written within a rate that leaves a default history half of its room over a month; those that lasted within one
// that no flood reaches, for each of them has played for half a minute.
const (
	briefPerSecond = 1
	briefAtOnce    = 10_000
	longPerSecond  = 1000
	lasts          = 30 * time.Second
	lastsPackets   = 20 // each way
)

// Budget is what may be written. It is used by one goroutine.
type Budget struct {
	brief, long bucket
}

// NewBudget makes one that is full: all sessions that there may be may end at once.
func NewBudget(sessions int, now time.Duration) *Budget {
	return &Budget{brief: bucket{rate: briefPerSecond, most: briefAtOnce, left: briefAtOnce, at: now}, long: bucket{rate: longPerSecond, most: float64(sessions), left: float64(sessions), at: now}}
}

// Takes says if a session that lasted so long with so many packets each way may be written. now is of a clock that is never set.
func (b *Budget) Takes(lasted time.Duration, up, down uint64, now time.Duration) bool {
	if lasted >= lasts && up >= lastsPackets && down >= lastsPackets {
		return b.long.takes(now)
	}
	return b.brief.takes(now)
}

type bucket struct {
	rate, most, left float64
	at               time.Duration
}

func (b *bucket) takes(now time.Duration) bool {
	b.left = min(b.most, b.left+b.rate*max(now-b.at, 0).Seconds())
	b.at = max(b.at, now)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

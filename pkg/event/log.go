// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultSize is how many events a log keeps: at some hundred bytes each, a MiB.
const DefaultSize = 4096

// ErrEnded says that the log takes and gives no more.
var ErrEnded = errors.New("the stream of events has ended")

// Log keeps the last events. It may be used from several goroutines.
type Log struct {
	run string // this log among others: a reader's place in another run's means nothing here
	now func() time.Time

	mu    sync.Mutex    // guards all below
	ring  []Event       // event n is at n % len(ring)
	next  uint64        // number of the next event; the first is 0
	moved chan struct{} // closed when next moves or the log ends
	ended bool
}

// New makes a log that keeps the last size events.
func New(size int, now func() time.Time) *Log {
	return &Log{run: rand.Text()[:8], now: now, ring: make([]Event, max(size, 1)), moved: make(chan struct{})}
}

// Publish adds an event: its time and ID are set here. It never waits. A nil log takes it, and forgets it.
func (l *Log) Publish(e Event) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	e.Time = l.now().UTC()
	e.ID = l.run + "-" + strconv.FormatUint(l.next, 10)
	l.ring[l.next%uint64(len(l.ring))] = e
	l.next++
	l.wake()
}

// End lets readers read what there is and then no more.
func (l *Log) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.wake()
	}
}

// wake is called with mu held.
func (l *Log) wake() {
	close(l.moved)
	l.moved = make(chan struct{})
}

// oldest is the number of the first event that is still there. mu is held.
func (l *Log) oldest() uint64 { return l.next - min(l.next, uint64(len(l.ring))) }

// Reader reads a log, one event after the other. It is one goroutine's.
type Reader struct {
	log  *Log
	next uint64
}

// Now reads what is published from now on.
func (l *Log) Now() *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Reader{log: l, next: l.next}
}

// Since reads what was published at that time or later, as far as it is still there; the zero time is all of that.
func (l *Log) Since(t time.Time) *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.oldest()
	for n < l.next && l.ring[n%uint64(len(l.ring))].Time.Before(t) {
		n++
	}
	return &Reader{log: l, next: n}
}

// After goes on behind the event of that ID. If it is another run's, all that is still there is news; an ID that no event of
// any run can have had is an error.
func (l *Log) After(id string) (*Reader, error) {
	run, number, ok := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return nil, fmt.Errorf("%q is no event's id", id)
	}
	if run != l.run {
		return l.Since(time.Time{}), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n >= l.next {
		return nil, fmt.Errorf("there is no event %q yet", id)
	}
	return &Reader{log: l, next: n + 1}, nil
}

// Next waits for the next event. A reader that lagged gets one of type Lost in place of those that are gone. After End and
// the last event it is ErrEnded; when ctx ends, its error.
func (r *Reader) Next(ctx context.Context) (Event, error) {
	for {
		e, moved, err := r.take()
		if moved == nil {
			return e, err
		}
		select {
		case <-ctx.Done():
			return Event{}, ctx.Err()
		case <-moved:
		}
	}
}

// Ready says whether Next would return an event at once.
func (r *Reader) Ready() bool {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return r.next < r.log.next
}

// take returns the next event, or what will be closed when there may be one.
func (r *Reader) take() (e Event, moved <-chan struct{}, err error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	switch old := l.oldest(); {
	case r.next < old:
		e = lost(old-r.next, l.now())
		r.next = old
	case r.next < l.next:
		e = l.ring[r.next%uint64(len(l.ring))]
		r.next++
	case l.ended:
		err = ErrEnded
	default:
		moved = l.moved
	}
	return e, moved, err
}

func lost(n uint64, now time.Time) Event {
	return Event{
		Time: now.UTC(), Type: Lost, Data: map[string]any{"events": n},
		Text: fmt.Sprintf("%d events came faster than they were read, and are gone", n),
	}
}

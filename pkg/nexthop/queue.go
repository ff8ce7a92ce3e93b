// SPDX-License-Identifier: Apache-2.0

package nexthop

import "sync"

// maxPending bounds the events that wait for a slow reader. Beyond it they
// become one Overflowed.
const maxPending = 8192

// queueKey is what events are merged by.
type queueKey struct {
	kind    EventKind
	hop     Key
	ifindex int
}

// queue holds events until they are read, at most one for each hop and link. It
// never blocks the side that puts.
type queue struct {
	wake chan struct{} // has a token when there may be something to take

	mu      sync.Mutex // guards all below
	waiting map[queueKey]*Event
	order   []queueKey // first put first; may name keys that no longer wait
	max     int
}

func newQueue(most int) *queue {
	return &queue{wake: make(chan struct{}, 1), waiting: map[queueKey]*Event{}, max: most}
}

func keyOf(e *Event) queueKey {
	switch e.Kind {
	case HopChanged:
		return queueKey{kind: e.Kind, hop: e.Hop.Key}
	case LinkChanged:
		return queueKey{kind: e.Kind, ifindex: e.Link.Ifindex}
	default:
		return queueKey{kind: e.Kind}
	}
}

// put adds e, or merges it with the event about the same thing that waits.
func (q *queue) put(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := keyOf(&e)
	if old := q.waiting[k]; old != nil {
		if !merge(old, e) {
			delete(q.waiting, k)
		}
	} else {
		if len(q.waiting) >= q.max {
			e = q.overflow()
			k = keyOf(&e)
		}
		q.waiting[k] = &e
		q.order = append(q.order, k)
	}
	q.compact()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// merge puts e into old, which nobody read yet. It returns false when nothing is
// left to tell: a link that came and went unseen.
func merge(old *Event, e Event) bool {
	if e.Kind != LinkChanged {
		*old = e
		return true
	}
	change := old.Change | e.Change
	appeared, oldName := old.Change&LinkAppeared != 0 && old.Change&LinkGone == 0, old.OldName
	if oldName == "" {
		oldName = e.OldName
	}
	*old = e
	old.Change, old.OldName = change, oldName
	if appeared {
		old.Change, old.OldName = LinkAppeared, "" // a reader who never saw it sees it as new
	}
	if e.Change&LinkUp != 0 {
		old.Change &^= LinkDown
	} else if e.Change&LinkDown != 0 {
		old.Change &^= LinkUp
	}
	return !(appeared && e.Gone)
}

// overflow forgets what waits and returns the event that says so.
func (q *queue) overflow() Event {
	clear(q.waiting)
	q.order = q.order[:0]
	return Event{Kind: Overflowed}
}

// compact drops names of keys that don't wait, once they are the most.
func (q *queue) compact() {
	if len(q.order) < 2*len(q.waiting)+64 {
		return
	}
	seen := make(map[queueKey]bool, len(q.waiting))
	kept := q.order[:0]
	for _, k := range q.order {
		if q.waiting[k] != nil && !seen[k] {
			seen[k] = true
			kept = append(kept, k)
		}
	}
	q.order = kept
}

// take removes the event that has waited longest. Whoever takes it must tell it:
// what happens later is merged without it.
func (q *queue) take() (Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.order) > 0 {
		k := q.order[0]
		q.order = q.order[1:]
		if e := q.waiting[k]; e != nil {
			delete(q.waiting, k)
			return *e, true
		}
	}
	return Event{}, false
}

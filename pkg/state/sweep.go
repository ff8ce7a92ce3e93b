// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"time"
)

const (
	graceLift     = 30 * 24 * time.Hour // that a lift, or what a person said, outlasts its end: as long as an edge may be cut off
	graceDetector = time.Hour
	overFor       = time.Hour // of the monotonic clock, that an entry must have been over before it is forgotten
)

// forgotten tells whether an entry is so long over that nobody is to hear of it any more.
func forgotten(e *Entry, now time.Time) bool {
	grace := graceDetector
	if e.Lift || e.Author == Person {
		grace = graceLift
	}
	return now.After(until(e).Add(grace))
}

// sweep forgets what has been over for so long that nobody can bring it up any more.
func (h *Hub) sweep(ctx context.Context, mono time.Time) error {
	for {
		more, err := h.sweepSome(ctx, mono)
		if !more || err != nil {
			return err
		}
	}
}

// sweepSome forgets some of it, and tells whether there is more.
func (h *Hub) sweepSome(ctx context.Context, mono time.Time) (more bool, err error) {
	h.writing.Lock() // what is decided anew meanwhile is written after
	defer h.writing.Unlock()
	subjects := h.dropOver(mono)
	if len(subjects) == 0 {
		return false, nil
	}
	d, err := h.open()
	if err != nil {
		return false, err
	}
	return len(subjects) == atOnce, d.forget(ctx, d.shared, subjects)
}

// dropOver takes out of memory what has been over for long, at most atOnce entries, and gives their subjects.
func (h *Hub) dropOver(mono time.Time) (subjects []string) {
	now := h.o.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for r, both := range h.all {
		for _, e := range []*Entry{both.person, both.detector} {
			if e == nil {
				continue
			}
			reg := e.register()
			since, noted := h.over[reg]
			switch {
			case !forgotten(e, now):
				delete(h.over, reg)
			case !noted:
				h.over[reg] = mono
			case mono.Sub(since) >= overFor && len(subjects) < atOnce:
				h.drop(r, e)
				subjects = append(subjects, reg.subject(sharedPrefix))
			}
		}
	}
	return subjects
}

// drop takes an entry out of memory. h.mu is held.
func (h *Hub) drop(r ref, e *Entry) {
	both, reg := h.all[r], e.register()
	*both.of(e.Author) = nil
	if both.person == nil && both.detector == nil {
		delete(h.all, r)
	}
	h.count--
	h.bytes -= weight(e)
	h.stats.Forgotten++
	delete(h.over, reg)
	delete(h.unwritten, reg)
	delete(h.untold, reg)
}

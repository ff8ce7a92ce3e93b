// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// errMany says that memory takes no more.
var errMany = errors.New("no more entries are remembered")

// poke wakes who waits for a channel of one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keep merges e into memory. h.mu is held. It gives whether anything is new by it, and what counted before.
func (h *Hub) keep(e *Entry) (fresh bool, before *Entry, err error) {
	r := e.ref()
	both := h.all[r]
	if both == nil {
		both = &registers{}
	}
	old := *both.of(e.Author)
	before = both.winner()
	if old == nil && (h.count >= h.o.Max || h.bytes > maxBytes) {
		return false, before, fmt.Errorf("%w: there are %d, of %d MiB", errMany, h.count, h.bytes>>20)
	}
	if !both.merge(e) {
		return false, before, nil
	}
	h.all[r] = both
	delete(h.over, e.register())
	if h.bytes += weight(e); old != nil {
		h.bytes -= weight(old)
	} else {
		h.count++
	}
	return true, before, nil
}

func weight(e *Entry) int { return len(e.Key) + len(e.Value) }

// Put takes in what this edge decided, and enforced. It never waits: writing and telling the others are Run's. Edge is filled in, and Made
// where it is zero: now, and later than anything known that it answers. One with a time of its own may be beaten already. The error
// says which entry is wrong, or that no more are remembered; the others are taken.
func (h *Hub) Put(entries ...Entry) error {
	now := h.o.Now()
	var errs []error
	h.mu.Lock()
	for i := range entries {
		if err := h.put(entries[i], now); err != nil {
			h.stats.Refused["here"]++
			if len(errs) < 3 {
				errs = append(errs, fmt.Errorf("state: %s %.80s: %w", entries[i].Kind, entries[i].Key, err))
			}
		}
	}
	h.mu.Unlock()
	poke(h.wake)
	poke(h.apply)
	return errors.Join(errs...)
}

func (h *Hub) put(e Entry, now time.Time) error {
	if e.Edge == "" {
		e.Edge = h.o.Node
	}
	if e.Made.IsZero() {
		e.Made = h.after(e.register(), now)
	}
	if err := e.normalise(); err != nil {
		return err
	}
	if e.Lift && e.Expires.Before(e.Made) {
		e.Expires = e.Made
	}
	if err := e.check(); err != nil {
		return err
	}
	if e.Value != nil && !json.Valid(e.Value) {
		return errors.New("the value is no JSON document")
	}
	fresh, before, err := h.keep(&e)
	if err != nil {
		return err
	}
	if fresh {
		h.stats.Put++
		h.changed(&e)
	}
	// What was enforced here may be what another edge's word, heard meanwhile, has just undone; or it is beaten.
	if before != nil && before.Edge != h.o.Node || h.all[e.ref()].winner().Author != e.Author {
		h.unsettled[e.ref()] = struct{}{}
	}
	return nil
}

// after is when what is decided now was made: later than what it answers, though the clock here may be behind. h.mu is held.
func (h *Hub) after(r register, now time.Time) time.Time {
	both := h.all[r.ref]
	if both == nil {
		return now
	}
	for _, known := range []*Entry{*both.of(r.author), both.detector} {
		if known != nil && !known.Made.Before(now) {
			now = known.Made.Add(1)
		}
	}
	return now
}

// changed notes that e is to be written, and told. h.mu is held.
func (h *Hub) changed(e *Entry) {
	h.unwritten[e.register()] = struct{}{}
	if h.o.Cluster != nil && e.Edge == h.o.Node {
		h.untold[e.register()] = struct{}{}
		poke(h.toTell)
	}
}

// take takes in what another edge told, and gives how many were too early. It waits while too many winners are to be applied.
func (h *Hub) take(ctx context.Context, from string, told []heard) (early int) {
	now := h.o.Now()
	bad := map[string][]error{}
	h.mu.Lock()
	for _, t := range told {
		switch err := h.takeOne(t.entry, now); {
		case t.err != nil:
			bad["malformed"] = append(bad["malformed"], t.err)
		case errors.Is(err, errEarly):
			early++
			bad["from the future"] = append(bad["from the future"], err)
		case errors.Is(err, errMany):
			bad["too many"] = append(bad["too many"], err)
		case err != nil:
			bad["not valid here"] = append(bad["not valid here"], err)
		}
	}
	h.mu.Unlock()
	for reason, errs := range bad {
		h.refuse(from, reason, errs...)
	}
	poke(h.wake)
	poke(h.apply)
	for ctx.Err() == nil {
		h.mu.Lock()
		waiting := len(h.unsettled)
		h.mu.Unlock()
		if waiting < unsettledMax {
			return early
		}
		select {
		case <-ctx.Done():
		case <-h.room:
		}
	}
	return early
}

// errEarly says that an entry is from the future.
var errEarly = errors.New("it was made in the future: look at the clocks")

func (h *Hub) takeOne(e *Entry, now time.Time) error {
	if e == nil {
		return nil
	}
	if e.Made.After(now.Add(MaxAhead)) {
		return fmt.Errorf("%w: by %v, on %s", errEarly, e.Made.Sub(now).Round(time.Second), e.Edge)
	}
	if forgotten(e, now) {
		return nil
	}
	if both := h.all[e.ref()]; both != nil {
		if old := *both.of(e.Author); old != nil && order(e, old) <= 0 {
			if old.Edge == h.o.Node && order(e, old) == 0 {
				delete(h.untold, e.register()) // the cluster has it
			}
			return nil
		}
	}
	if h.o.Check != nil {
		if err := h.o.Check(e); err != nil {
			return err
		}
	}
	fresh, _, err := h.keep(e)
	if err != nil || !fresh {
		return err
	}
	h.stats.Taken++
	h.changed(e)
	h.unsettled[e.ref()] = struct{}{}
	return nil
}

// Known is what counts of a thing, whether or not it holds.
func (h *Hub) Known(kind Kind, key string) (Entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	both := h.all[ref{kind, key}]
	if both == nil {
		return Entry{}, false
	}
	return *both.winner(), true
}

// Again has all that counts be applied anew: what could not be before may be possible by now.
func (h *Hub) Again() {
	h.mu.Lock()
	for r := range h.all {
		h.unsettled[r] = struct{}{}
	}
	h.mu.Unlock()
	poke(h.apply)
}

// Snapshot is all that holds now of some kinds; none named: of all.
func (h *Hub) Snapshot(of ...Kind) []Entry {
	want := map[Kind]bool{}
	for _, k := range of {
		want[k] = true
	}
	now := h.o.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Entry
	for r, both := range h.all {
		if len(want) > 0 && !want[r.kind] {
			continue
		}
		if e := both.winner(); e != nil && e.Holds(now) {
			all = append(all, *e)
		}
	}
	return all
}

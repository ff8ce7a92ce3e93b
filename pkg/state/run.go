// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	graceLift     = 30 * 24 * time.Hour // that a lift, or what a person said, outlasts its end: as long as an edge may be cut off
	graceDetector = time.Hour
	overFor       = time.Hour // of the monotonic clock, that an entry must have been over before it is forgotten
	sweepEvery    = time.Minute
	lookEvery     = time.Second
	stepped       = 5 * time.Second // between the clocks, from one look to the next, is a step
)

// forgotten tells whether an entry is so long over that nobody is to hear of it any more.
func forgotten(e *Entry, now time.Time) bool {
	grace := graceDetector
	if e.Lift || e.Author == Person {
		grace = graceLift
	}
	return now.After(until(e).Add(grace))
}

// Run writes what is put, tells it to the others and hears what they tell, until ctx ends; then it writes what is left. What counts is given
// to apply, at most 1024 at once and one call at a time: all that the store has at first, and then whatever another edge's word changed
// here. What apply can't do it says; the entry stays known.
func (h *Hub) Run(ctx context.Context, apply func(context.Context, []Winner) error) error {
	var group sync.WaitGroup
	group.Go(func() { h.write(ctx) })
	group.Go(func() { h.settle(ctx, apply) })
	group.Go(func() { h.look(ctx) })
	h.connect(ctx, &group)
	group.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer cancel()
	return h.Flush(last)
}

// write writes what is new as it comes. A store that fails is tried again by look.
func (h *Hub) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		for ctx.Err() == nil {
			more, err := h.writeSome(ctx)
			if err != nil {
				h.tell("keep what was decided: it is enforced, and kept as soon as that is possible", err)
			}
			if !more || err != nil {
				break
			}
		}
	}
}

// writeSome writes what is next, and tells whether there is more.
func (h *Hub) writeSome(ctx context.Context) (more bool, err error) {
	h.writing.Lock() // what is written later is to be the later
	defer h.writing.Unlock()
	d, err := h.open()
	if err != nil {
		return false, nil // said when it failed
	}
	h.mu.Lock()
	entries, more := h.next(h.unwritten)
	h.mu.Unlock()
	if len(entries) == 0 {
		return false, nil
	}
	n, err := d.write(ctx, messages(entries, sharedPrefix))
	h.mu.Lock()
	h.stats.Written += uint64(n)
	h.back(h.unwritten, entries[n:])
	h.mu.Unlock()
	h.wrote(err)
	return more, err
}

// next takes entries off a set of registers: as they are now. h.mu is held.
func (h *Hub) next(set map[register]struct{}) (entries []*Entry, more bool) {
	for r := range set {
		if len(entries) == 4*atOnce {
			return entries, true
		}
		delete(set, r)
		if both := h.all[r.ref]; both != nil {
			if e := *both.of(r.author); e != nil {
				entries = append(entries, e)
			}
		}
	}
	return entries, false
}

// back puts them back. h.mu is held.
func (h *Hub) back(set map[register]struct{}, entries []*Entry) {
	for _, e := range entries {
		set[e.register()] = struct{}{}
	}
}

// messages are entries as they are kept. Those in memory were checked: their JSON is good.
func messages(entries []*Entry, prefix string) []message {
	all := make([]message, len(entries))
	for i, e := range entries {
		doc, _ := e.encode()
		all[i] = message{subject: e.register().subject(prefix), data: doc}
	}
	return all
}

// Flush waits until what was put so far is kept, and says why it is not.
func (h *Hub) Flush(ctx context.Context) error {
	for {
		if _, err := h.open(); err != nil {
			return err
		}
		more, err := h.writeSome(ctx)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// settle applies winners as they come up.
func (h *Hub) settle(ctx context.Context, apply func(context.Context, []Winner) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.apply:
		}
		for ctx.Err() == nil {
			winners := h.winners()
			if len(winners) == 0 {
				break
			}
			err := apply(ctx, winners)
			h.mu.Lock()
			h.stats.Applied += uint64(len(winners))
			h.mu.Unlock()
			poke(h.room)
			if err != nil {
				h.tell("enforce what other edges decided", err)
			}
		}
	}
}

func (h *Hub) winners() []Winner {
	now := h.o.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Winner
	for r := range h.unsettled {
		if len(all) == applyAtOnce {
			break
		}
		delete(h.unsettled, r)
		if both := h.all[r]; both != nil {
			e := both.winner()
			all = append(all, Winner{*e, e.Holds(now)})
		}
	}
	return all
}

// look sees to the store, to the clocks and to what is over.
func (h *Hub) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	mono, wall := time.Now(), h.o.Now().Round(0)
	swept, opened := mono, mono.Add(-reopenAfter)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		elapsed := time.Since(mono)
		mono = mono.Add(elapsed)
		now := h.o.Now().Round(0)
		if step := now.Sub(wall) - elapsed; step.Abs() > stepped {
			h.step(step)
		}
		wall = now
		if mono.Sub(swept) >= sweepEvery {
			swept = mono
			if err := h.sweep(ctx, mono); err != nil {
				h.tell("forget what is over", err)
			}
		}
		if h.lost() && mono.Sub(opened) >= reopenAfter {
			opened = mono
			select {
			case <-ctx.Done():
			case <-h.startOpening(ctx):
			}
		}
		poke(h.wake) // what could not be written is tried again
	}
}

// step has all that counts applied again: by a clock that jumped, other entries hold. Nothing is forgotten for it.
func (h *Hub) step(by time.Duration) {
	h.o.Log.Warn("the wall clock jumped: what was decided is held against it anew, and nothing is forgotten for it within the hour", "by", by.Round(time.Second).String())
	h.Again()
}

// lost closes a store that gave itself up, and tells whether there is none.
func (h *Hub) lost() bool {
	h.mu.Lock()
	d := h.disk
	if d == nil || d.srv.JetStreamEnabled() && d.nc.IsConnected() {
		lost := d == nil && h.opening == nil && !h.closed
		h.mu.Unlock()
		return lost
	}
	h.disk, h.why = nil, errors.Join(errors.New("it gave itself up"), d.heard.worst())
	why := h.why
	h.mu.Unlock()
	d.close()
	h.tell("use the store, which is opened anew", why)
	return true
}

// sweep forgets what has been over for so long that nobody can bring it up any more.
func (h *Hub) sweep(ctx context.Context, mono time.Time) error {
	now := h.o.Now()
	var subjects []string
	h.mu.Lock()
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
			case mono.Sub(since) >= overFor:
				h.drop(r, e)
				subjects = append(subjects, reg.subject(sharedPrefix))
			}
		}
	}
	h.mu.Unlock()
	if len(subjects) == 0 {
		return nil
	}
	d, err := h.open()
	if err != nil {
		return err
	}
	return d.forget(ctx, d.shared, subjects)
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

// wrote notes how writing went.
func (h *Hub) wrote(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Failing = ""
	if err != nil {
		h.stats.WriteFailures++
		h.stats.Failing = err.Error()
	}
}

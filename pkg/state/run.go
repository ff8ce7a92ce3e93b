// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	sweepEvery = time.Minute
	lookEvery  = time.Second
	stepped    = 5 * time.Second // between the clocks, from one look to the next, is a step
)

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

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/sample"
)

const (
	captureRate  = 50_000           // packets a second, of each CPU
	captureQueue = 8 << 20          // bytes that wait for a capture's reader
	captureBeat  = 10 * time.Second // how long nothing at all is written
)

// taking is one capture that goes on: what came for it and is not written yet.
type taking struct {
	from uint64        // CLOCK_MONOTONIC ns: what is older was another's
	wake chan struct{} // something waits

	mu      sync.Mutex // guards what follows
	waiting []byte     // records, each behind its length
	lost    uint64     // for want of room
}

func (t *taking) put(s *sample.Sample, record []byte) {
	if s.Time < t.from {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting)+len(record) > captureQueue {
		t.lost++
		return
	}
	t.waiting = binary.NativeEndian.AppendUint32(t.waiting, uint32(len(record)))
	t.waiting = append(t.waiting, record...)
}

// rouse tells the capture that something waits.
func (t *taking) rouse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) > 0 {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// take gives what waits, in exchange for a buffer that is used again.
func (t *taking) take(used []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := t.waiting
	t.waiting = used[:0]
	return waiting
}

// captures hands samples to who asked for them.
type captures struct {
	mu     sync.Mutex // guards what follows
	slots  [loader.SampleSlots]*taking
	levels [loader.SampleSlots]loader.SampleLevel // that each slot needs

	taken  sample.Sample // by the reader alone
	memory *sample.Memory
}

// hand gives one record of the ring to all captures that it is for, and returns it; nil: it is none.
func (c *captures) hand(record []byte) *sample.Sample {
	s := &c.taken
	if s.Decode(record) != nil {
		return nil
	}
	if s.Dropped() {
		c.memory.Note(s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, t := range c.slots {
		if t != nil && s.Slots>>i&1 != 0 {
			t.put(s, record)
		}
	}
	return s
}

// looked wakes those that something waits for.
func (c *captures) looked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.slots {
		if t != nil {
			t.rouse()
		}
	}
}

// join takes a slot; -1: none is free.
func (c *captures) join(t *taking, level loader.SampleLevel) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.slots[:], nil)
	if i >= 0 {
		c.slots[i], c.levels[i] = t, level
	}
	return i
}

func (c *captures) leave(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots[i], c.levels[i] = nil, loader.SamplesNone
}

// level is what the fast path has to tell.
func (c *captures) level(cfg *config.Config) loader.SampleLevel {
	c.mu.Lock()
	defer c.mu.Unlock()
	least := loader.SamplesAlways
	if cfg.Samples == "off" {
		least = loader.SamplesNone
	}
	return max(least, slices.Max(c.levels[:]))
}

// serveSamples reads the ring until ctx ends.
func (e *Engine) serveSamples(ctx context.Context) error {
	return e.edge.Samples(ctx, func(record []byte) bool {
		s := e.captures.hand(record)
		if s == nil {
			return false
		}
		e.analysts.packet(s)
		return s.Step.Urgent()
	}, func() {
		e.captures.looked()
		e.analysts.looked()
	})
}

// sampling has the fast path tell what is asked of it now: another generation, where it tells less.
func (e *Engine) sampling() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.plan.Samples == e.captures.level(e.cfg) {
		return nil
	}
	return e.install(e.cfg, e.ifaces)
}

// Capture writes what is asked for.
func (a edgeAPI) Capture(ctx context.Context, q api.CaptureQuery, out io.Writer) error {
	e := a.e
	if err := q.Check(); err != nil {
		return err
	}
	f, err := a.sampleFilter(&q)
	if err != nil {
		return err
	}
	level := loader.SamplesDrops
	if q.Mode != api.CaptureDrops {
		level = loader.SamplesAll
	}
	return e.taken(f, level, func(t *taking, slot int, before loader.SampleCount) error {
		c := &capturing{q: q, t: t, e: e, slot: slot, before: before, start: time.Now(), out: bufio.NewWriterSize(out, 64<<10), ifaces: map[uint32]int{}}
		c.offset = c.start.UnixNano() - int64(loader.Monotonic())
		e.log.Info("a capture begins", "mode", q.Mode, "filter", strings.TrimSpace(q.String()), "for", q.For)
		err := c.run(ctx)
		e.log.Info("a capture ends", "packets", c.count, "bytes", c.size)
		return err
	})
}

// taken runs fn while the fast path tells it of packets. before is what the slot has counted until then.
func (e *Engine) taken(f *loader.SampleFilter, level loader.SampleLevel, fn func(t *taking, slot int, before loader.SampleCount) error) error {
	t := &taking{from: loader.Monotonic(), wake: make(chan struct{}, 1)}
	slot := e.captures.join(t, level)
	if slot < 0 {
		return api.Mark(api.ErrBusy, fmt.Errorf("%d captures go on already: end one first", loader.SampleSlots))
	}
	defer func() {
		err := e.asks(slot, nil)
		e.captures.leave(slot)
		err = errors.Join(err, e.sampling())
		e.locked(func() { e.fault("end a capture", err) })
	}()
	if err := e.sampling(); err != nil {
		return err
	}
	before, err := e.edge.SampleCounts()
	if err != nil {
		return err
	}
	if err := e.asks(slot, f); err != nil {
		return err
	}
	return fn(t, slot, before[slot])
}

// lostOf is how many packets a slot asked for and has not got.
func (e *Engine) lostOf(t *taking, slot int, before loader.SampleCount) (uint64, error) {
	now, err := e.edge.SampleCounts()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost + now[slot].Full + now[slot].Over - before.Full - before.Over, err
}

func (e *Engine) asks(slot int, f *loader.SampleFilter) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.edge.SetSample(slot, f)
}

// sampleFilter is the query in the fast path's numbers.
func (a edgeAPI) sampleFilter(q *api.CaptureQuery) (*loader.SampleFilter, error) {
	f := &loader.SampleFilter{
		Drops: true, Passes: q.Mode != api.CaptureDrops, Address: q.Address, Rate: captureRate, Every: uint32(q.Every), Snap: uint16(q.Snap),
	}
	if q.Service != "" {
		i := slices.Index(a.e.edge.ServiceNames(), q.Service)
		if i <= 0 {
			return nil, api.Mark(api.ErrNotFound, fmt.Errorf("there is no service %s", q.Service))
		}
		n := uint16(i)
		f.Service = &n
	}
	if q.Reason != "" {
		i := slices.Index(a.e.edge.Names().Reasons, q.Reason)
		if i <= 0 {
			return nil, api.Mark(api.ErrNotFound, fmt.Errorf("there is no drop reason %s: see docs/drop-reasons.md", q.Reason))
		}
		f.Reason = uint8(i)
	}
	if q.Session != "" {
		err := a.e.edge.Sessions(func(s *loader.Session) bool {
			if s.ID == q.Session {
				found := *s
				f.Session = &found
			}
			return f.Session == nil
		})
		if err == nil && f.Session == nil {
			err = api.Mark(api.ErrNotFound, fmt.Errorf("there is no session %s", q.Session))
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// kindOfSlot is what people call the samples that are counted there.
func kindOfSlot(i int) string {
	if i < loader.SampleSlots {
		return "capture"
	}
	return [loader.SampleKinds]string{loader.SampleDrop: "drop", loader.SampleFirst: "first", loader.SampleTurn: "turn", loader.SampleStep: "step", loader.SampleBegin: "begin"}[i-loader.SampleSlots]
}

// samples is what became of them all.
func (e *Engine) samples() (api.Samples, error) {
	s := api.Samples{Kinds: map[string]api.SampleKind{}}
	all, err := e.edge.SampleCounts()
	for i, n := range all {
		s.Taken += n.Taken
		s.Lost += n.Full
		s.PassedOver += n.Over
		k := s.Kinds[kindOfSlot(i)]
		s.Kinds[kindOfSlot(i)] = api.SampleKind{Taken: k.Taken + n.Taken, Lost: k.Lost + n.Full, PassedOver: k.PassedOver + n.Over}
	}
	s.EndsLost = e.analysts.endsLost()
	e.captures.mu.Lock()
	defer e.captures.mu.Unlock()
	for _, t := range e.captures.slots {
		if t != nil {
			s.Captures++
		}
	}
	return s, err
}

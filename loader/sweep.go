// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Swept is what a sweep did.
type Swept struct {
	Ended   int // marked closing
	Deleted int
	Sources int // idle sources that went
	Entries int // expired list entries that went

	Walk time.Duration // that it took to look at every session; ending and deleting some comes on top
}

// Sweep does both: SweepSessions and SweepLists.
func (e *Edge) Sweep(gone func(*Session)) (Swept, error) {
	s, err := e.SweepSessions(gone)
	n, failed := e.SweepLists()
	s.Entries = n
	return s, errors.Join(err, failed)
}

// SweepSessions ends idle sessions, deletes those that have been over for a second, and removes idle sources. gone is
// told of each session that is deleted; it may be nil.
func (e *Edge) SweepSessions(gone func(*Session)) (Swept, error) {
	var s Swept
	err := sweep(e, bpfProgDue4, bpfMapFlow4, &s, func(due []bpfReapItem4) error { return reap(e, due, bpfReapOpREAP_SWEEP, &s, gone) })
	if err == nil {
		err = sweep(e, bpfProgDue6, bpfMapFlow6, &s, func(due []bpfReapItem6) error { return reap(e, due, bpfReapOpREAP_SWEEP, &s, gone) })
	}
	if err == nil {
		err = e.sweepSources(&s)
	}
	return s, err
}

// sweep reaps what a walk finds as it goes, so that a million at once take no memory. A deletion may make the walk pass
// over its neighbours: the next one meets them.
func sweep[T any](e *Edge, prog, name string, s *Swept, reap func([]T) error) error {
	began, reaping := time.Now(), time.Duration(0)
	due := make([]T, 0, reapBatch)
	flush := func() error {
		began := time.Now()
		err := reap(due)
		reaping += time.Since(began)
		due = due[:0]
		return err
	}
	err := iterate(e, prog, name, func(r *T) error {
		if due = append(due, *r); len(due) < cap(due) {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	s.Walk += time.Since(began) - reaping
	return err
}

// EndSessions ends the given sessions; each is deleted by the first sweep that comes a second later. Returns how
// many were alive.
func (e *Edge) EndSessions(all []Session) (int, error) {
	var four []bpfReapItem4
	var six []bpfReapItem6
	for _, s := range all {
		switch k := s.key.(type) {
		case bpfFlowKey4:
			four = append(four, bpfReapItem4{Key: k})
		case bpfFlowKey6:
			six = append(six, bpfReapItem6{Key: k})
		}
	}
	var s Swept
	err := reap(e, four, bpfReapOpREAP_END, &s, nil)
	if err == nil {
		err = reap(e, six, bpfReapOpREAP_END, &s, nil)
	}
	return s.Ended, err
}

// order runs a reaper on the first n orders of its box.
func (e *Edge) order(prog string, n int) error {
	frame := make([]byte, 64)
	binary.NativeEndian.PutUint32(frame, uint32(n))
	if _, err := e.gen.coll.Programs[prog].Run(&ebpf.RunOptions{Data: frame}); err != nil {
		return fmt.Errorf("run %s: %w", prog, err)
	}
	return nil
}

// exchange puts orders into a box, runs the reaper and reads what became of them.
func exchange[T any](e *Edge, box, prog string, items []T) error {
	return exchangeAnd(e, box, prog, items, func() error { return nil })
}

// exchangeAnd calls then while nobody else has the boxes.
func exchangeAnd[T any](e *Edge, box, prog string, items []T, then func() error) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gen == nil {
		return nil
	}
	e.reaping.Lock()
	defer e.reaping.Unlock()
	m := e.gen.coll.Maps[box]
	keys := make([]uint32, len(items))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := m.BatchUpdate(keys, items, nil); err != nil {
		return fmt.Errorf("write map %s: %w", box, err)
	}
	if err := e.order(prog, len(items)); err != nil {
		return err
	}
	var cursor ebpf.MapBatchCursor // an array is read in order, from its first element
	if _, err := m.BatchLookup(&cursor, keys, items, nil); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read map %s: %w", box, err)
	}
	return then()
}

func chunks[T any](all []T, fn func([]T) error) error {
	for len(all) > 0 {
		n := min(len(all), reapBatch)
		if err := fn(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// reapItem is an order of either family, and its answer.
type reapItem[T any] interface {
	*T
	to(bpfReapOp)
	reaper() (box, prog string)
	outcome() (done, before uint32)
	session(tick uint32) Session
	watched() (up, down bool)
}

func (r *bpfReapItem4) to(op bpfReapOp)                { r.Op = uint32(op) }
func (r *bpfReapItem6) to(op bpfReapOp)                { r.Op = uint32(op) }
func (r *bpfReapItem4) reaper() (box, prog string)     { return bpfMapReapBox4, bpfProgReap4 }
func (r *bpfReapItem6) reaper() (box, prog string)     { return bpfMapReapBox6, bpfProgReap6 }
func (r *bpfReapItem4) outcome() (done, before uint32) { return r.Done, r.Up.F.State }
func (r *bpfReapItem6) outcome() (done, before uint32) { return r.Done, r.Up.F.State }

// reap has the kernel do op to all that are named. gone is told of each session that is deleted; it may be nil.
func reap[T any, P reapItem[T]](e *Edge, all []T, op bpfReapOp, s *Swept, gone func(*Session)) error {
	tick, err := e.now()
	if err != nil {
		return err
	}
	box, prog := P(nil).reaper()
	return chunks(all, func(items []T) error {
		for i := range items {
			P(&items[i]).to(op)
		}
		var cells []bpfWatch
		err := exchangeAnd(e, box, prog, items, func() (err error) {
			if gone != nil && slices.ContainsFunc(items, func(it T) bool { up, down := P(&it).watched(); return up || down }) {
				cells, err = e.timedGone(len(items))
			}
			return err
		})
		if err != nil {
			return err
		}
		for i := range items {
			if done, before := P(&items[i]).outcome(); s.took(done, before) && gone != nil {
				session := P(&items[i]).session(tick)
				if up, down := P(&items[i]).watched(); up || down {
					e.timed(&session, up, down, &cells[2*i], &cells[2*i+1])
				}
				gone(&session)
			}
		}
		return nil
	})
}

// took counts one order's outcome; true = the session is deleted. before = its state as the reaper met it, 0 where
// there was none.
func (s *Swept) took(done, before uint32) bool {
	switch {
	case before == 0:
		return false
	case done == uint32(bpfSessionPhasePHASE_FREE):
		s.Deleted++
		return true
	case done == uint32(bpfSessionPhasePHASE_CLOSING) && before&flowPhases != uint32(bpfSessionPhasePHASE_CLOSING):
		s.Ended++
	}
	return false
}

func (e *Edge) sweepSources(s *Swept) error {
	var due []bpfSourceKey
	if err := iterate(e, bpfProgDueSource, bpfMapSource, func(k *bpfSourceKey) error { due = append(due, *k); return nil }); err != nil {
		return err
	}
	s.Sources = len(due)
	return chunks(due, func(keys []bpfSourceKey) error { return exchange(e, bpfMapReapBoxSrc, bpfProgReapSource, keys) })
}

// SweepLists removes expired entries of the host lists, which are a miss since they expired: it makes room, no more. It
// reads every entry, a million in half a second: not for every second. The others are told their hits. Returns how many went.
func (e *Edge) SweepLists() (int, error) {
	now, err := e.time()
	if err != nil {
		return 0, err
	}
	n := 0
	err = errors.Join(
		e.settle(),
		sweepHosts[bpfHostKey4](e, bpfProgDueHost4, bpfMapAllowHost4, now, &n),
	)
	e.unallowed.Add(uint64(n))
	err = errors.Join(err,
		sweepHosts[bpfHostKey4](e, bpfProgDueHost4, bpfMapDenyHost4, now, &n),
		sweepHosts[bpfHostKey6](e, bpfProgDueHost6, bpfMapDenyHost6, now, &n),
		sweepHosts[bpfHostKey6](e, bpfProgDueHost6, bpfMapAllowHost6, now, &n),
	)
	return n, err
}

// sweepHosts deletes what has expired. An entry that is renewed between the two looks is looked at again.
func sweepHosts[K any](e *Edge, prog, name string, now uint64, swept *int) error {
	var due []K
	if err := iterate(e, prog, name, func(k *K) error { due = append(due, *k); return nil }); err != nil {
		return err
	}
	m := e.state[name]
	for i := range due {
		var v bpfListEntry
		if err := m.Lookup(&due[i], &v); err != nil || v.Expires == 0 || v.Expires > now {
			continue
		}
		if err := m.Delete(&due[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete an expired entry: %w", err)
		}
		*swept++
	}
	return nil
}

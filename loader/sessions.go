// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// SessionState is where a session is in its life, as people see it.
type SessionState string

// The states (spec 4.5).
const (
	Unproven SessionState = "unproven"
	Proven   SessionState = "proven"
	Closing  SessionState = "closing"
)

// Direction is what one direction of a session carried.
type Direction struct{ Packets, Bytes uint64 }

// Session is one session, both halves of it.
type Session struct {
	ID            string // of its tuple: stable while it lives
	Service       uint16
	Proto         uint8
	Client        netip.AddrPort
	Front         netip.AddrPort // the service's address, which the client sees
	Face          netip.AddrPort // what the server sees: the NAT address and port, or the client's own
	Server        netip.AddrPort
	State         SessionState
	ServerStarted bool
	Age, Idle     time.Duration
	Up, Down      Direction

	key any // bpfFlowKey4 or bpfFlowKey6
}

// iterate runs an iterator program over a map and hands each record that it writes to fn.
func iterate[T any](prog *ebpf.Program, m *ebpf.Map, fn func(*T) error) error {
	it, err := link.AttachIter(link.IterOptions{Program: prog, Map: m})
	if err != nil {
		return fmt.Errorf("attach an iterator: %w", err)
	}
	defer it.Close()
	f, err := it.Open()
	if err != nil {
		return fmt.Errorf("open an iterator: %w", err)
	}
	defer f.Close()
	var rec T
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&rec)), unsafe.Sizeof(rec)) // generated types have the kernel's layout
	r := bufio.NewReaderSize(f, 1<<16)
	for {
		if _, err := io.ReadFull(r, raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an iterator: %w", err)
		}
		if err := fn(&rec); err != nil {
			return err
		}
	}
}

// now is the tick that the fast path would read.
func (e *Edge) now() (uint32, error) {
	if !e.opts.Injected {
		return uint32(Monotonic() >> tickShift), nil
	}
	env, err := e.Env()
	return uint32(uint64(env.Now) >> tickShift), err
}

// Sessions hands every session to fn until it returns false.
func (e *Edge) Sessions(fn func(*Session) bool) error {
	tick, err := e.now()
	if err != nil || e.gen == nil {
		return err
	}
	p := e.gen.coll.Programs
	err = iterate(p[bpfProgList4], e.state[bpfMapFlow4], func(r *bpfReapItem4) error {
		if s := session4(r, tick); !fn(&s) {
			return errStop
		}
		return nil
	})
	if err == nil {
		err = iterate(p[bpfProgList6], e.state[bpfMapFlow6], func(r *bpfReapItem6) error {
			if s := session6(r, tick); !fn(&s) {
				return errStop
			}
			return nil
		})
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func session4(r *bpfReapItem4, tick uint32) Session {
	s := Session{
		Client: netip.AddrPortFrom(addr4(r.Key.Src), be16(r.Key.Sport)),
		Front:  netip.AddrPortFrom(addr4(r.Key.Dst), be16(r.Key.Dport)),
		Face:   netip.AddrPortFrom(addr4(r.Up.Src), be16(r.Up.Sport)),
		Server: netip.AddrPortFrom(addr4(r.Up.Dst), be16(r.Up.Dport)),
		Proto:  r.Key.Proto, key: r.Key,
	}
	s.halves(&r.Up.F, &r.Down.F, tick)
	return s
}

func session6(r *bpfReapItem6, tick uint32) Session {
	s := Session{
		Client: netip.AddrPortFrom(netip.AddrFrom16(r.Key.Src), be16(r.Key.Sport)),
		Front:  netip.AddrPortFrom(netip.AddrFrom16(r.Key.Dst), be16(r.Key.Dport)),
		Face:   netip.AddrPortFrom(netip.AddrFrom16(r.Up.Src), be16(r.Up.Sport)),
		Server: netip.AddrPortFrom(netip.AddrFrom16(r.Up.Dst), be16(r.Up.Dport)),
		Proto:  r.Key.Proto, key: r.Key,
	}
	s.halves(&r.Up.F, &r.Down.F, tick)
	return s
}

func (s *Session) halves(up, down *bpfFlow, tick uint32) {
	h := fnv.New64a()
	binary.Write(h, binary.NativeEndian, s.key) // a hash never fails
	s.ID = fmt.Sprintf("%016x", h.Sum64())
	s.Service = up.Service
	s.Up = Direction{up.Packets, up.Bytes}
	s.Down = Direction{down.Packets, down.Bytes}
	s.ServerStarted = up.State&uint32(bpfFlowFlagFLOW_SERVER_STARTED) != 0
	s.Age = tickDuration(tick - down.Peer)
	idle := tick - up.Seen
	if down.State != 0 {
		idle = min(idle, tick-down.Seen)
	}
	if int32(idle) < 0 { // a packet came after the clock was read
		idle = 0
	}
	s.Idle = tickDuration(idle)
	switch bpfSessionPhase(up.State & 0xff) {
	case bpfSessionPhasePHASE_OPENING:
		s.State = Unproven
	case bpfSessionPhasePHASE_OPEN:
		s.State = Proven
	default:
		s.State = Closing
	}
}

// Swept is what a sweep did.
type Swept struct {
	Ended   int // marked closing
	Deleted int
	Sources int // idle sources that went
	Entries int // expired list entries that went
}

// Sweep ends idle sessions, deletes those that have been over for a second, and removes idle sources and expired
// entries of host lists. gone is told of each session that is deleted; it may be nil.
func (e *Edge) Sweep(gone func(*Session)) (Swept, error) {
	var s Swept
	if e.gen == nil {
		return s, nil
	}
	var due4 []bpfReapItem4
	var due6 []bpfReapItem6
	p := e.gen.coll.Programs
	err := errors.Join(
		iterate(p[bpfProgDue4], e.state[bpfMapFlow4], func(r *bpfReapItem4) error { due4 = append(due4, *r); return nil }),
		iterate(p[bpfProgDue6], e.state[bpfMapFlow6], func(r *bpfReapItem6) error { due6 = append(due6, *r); return nil }),
	)
	if err != nil {
		return s, err
	}
	if err := e.reap4(due4, bpfReapOpREAP_SWEEP, &s, gone); err != nil {
		return s, err
	}
	if err := e.reap6(due6, bpfReapOpREAP_SWEEP, &s, gone); err != nil {
		return s, err
	}
	return s, errors.Join(e.sweepSources(&s), e.sweepEntries(&s))
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
	err := e.reap4(four, bpfReapOpREAP_END, &s, nil)
	if err == nil {
		err = e.reap6(six, bpfReapOpREAP_END, &s, nil)
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
	return nil
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

func (e *Edge) reap4(all []bpfReapItem4, op bpfReapOp, s *Swept, gone func(*Session)) error {
	tick, err := e.now()
	if err != nil {
		return err
	}
	return chunks(all, func(items []bpfReapItem4) error {
		for i := range items {
			items[i].Op = uint32(op)
		}
		if err := exchange(e, bpfMapReapBox4, bpfProgReap4, items); err != nil {
			return err
		}
		for i := range items {
			if s.took(items[i].Done, items[i].Up.F.State) && gone != nil {
				session := session4(&items[i], tick)
				gone(&session)
			}
		}
		return nil
	})
}

func (e *Edge) reap6(all []bpfReapItem6, op bpfReapOp, s *Swept, gone func(*Session)) error {
	tick, err := e.now()
	if err != nil {
		return err
	}
	return chunks(all, func(items []bpfReapItem6) error {
		for i := range items {
			items[i].Op = uint32(op)
		}
		if err := exchange(e, bpfMapReapBox6, bpfProgReap6, items); err != nil {
			return err
		}
		for i := range items {
			if s.took(items[i].Done, items[i].Up.F.State) && gone != nil {
				session := session6(&items[i], tick)
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
	case done == uint32(bpfSessionPhasePHASE_CLOSING) && before&0xff != uint32(bpfSessionPhasePHASE_CLOSING):
		s.Ended++
	}
	return false
}

func (e *Edge) sweepSources(s *Swept) error {
	var due []bpfSourceKey
	p := e.gen.coll.Programs[bpfProgDueSource]
	if err := iterate(p, e.state[bpfMapSource], func(k *bpfSourceKey) error { due = append(due, *k); return nil }); err != nil {
		return err
	}
	s.Sources = len(due)
	return chunks(due, func(keys []bpfSourceKey) error { return exchange(e, bpfMapReapBoxSrc, bpfProgReapSource, keys) })
}

func (e *Edge) sweepEntries(s *Swept) error {
	p := e.gen.coll.Programs
	return errors.Join(
		sweepHosts[bpfHostKey4](p[bpfProgDueHost4], e.state[bpfMapDenyHost4], s),
		sweepHosts[bpfHostKey4](p[bpfProgDueHost4], e.state[bpfMapAllowHost4], s),
		sweepHosts[bpfHostKey6](p[bpfProgDueHost6], e.state[bpfMapDenyHost6], s),
		sweepHosts[bpfHostKey6](p[bpfProgDueHost6], e.state[bpfMapAllowHost6], s),
	)
}

// sweepHosts deletes what has expired. An entry that is renewed between the two looks is looked at again.
func sweepHosts[K any](prog *ebpf.Program, m *ebpf.Map, s *Swept) error {
	var due []K
	if err := iterate(prog, m, func(k *K) error { due = append(due, *k); return nil }); err != nil {
		return err
	}
	for i := range due {
		var v bpfListEntry
		if err := m.Lookup(&due[i], &v); err != nil || v.Expires == 0 || v.Expires > Monotonic() {
			continue
		}
		if err := m.Delete(&due[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete an expired entry: %w", err)
		}
		s.Entries++
	}
	return nil
}

// Who finds the session behind an address and port of the edge's: whom a server sees, or a service's client.
func (e *Edge) Who(face netip.AddrPort, proto uint8) (Session, bool, error) {
	var found Session
	ok := false
	err := e.Sessions(func(s *Session) bool {
		if s.Face == face && s.Proto == proto {
			found, ok = *s, true
		}
		return !ok
	})
	return found, ok, err
}

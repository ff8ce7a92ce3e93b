// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
)

const (
	// TimingSizes and TimingSpacings are how many classes the histograms of a Timing have.
	TimingSizes    = 8
	TimingSpacings = 16

	watchReasons     = 4
	watchWindows     = 4
	watchWindowShift = 33
	watchGapShift    = 10      // ns: what is kept of a window's longest gap
	watchCellsMax    = 1 << 16 // struct flow has 16 bits for the number of one
	watchFlagsMax    = 4096

	numbersReadable = 8 // so many numbers in a row that fit are no accident
)

// Sequence is how a game numbers its datagrams (bpf/stage/watch.h).
type Sequence uint8

// The kinds of numbers that can be read.
const (
	SequenceNone   = Sequence(bpfSequenceSEQUENCE_NONE)
	SequenceRakNet = Sequence(bpfSequenceSEQUENCE_RAKNET)
	SequenceSource = Sequence(bpfSequenceSEQUENCE_SOURCE)
	SequenceQuake3 = Sequence(bpfSequenceSEQUENCE_QUAKE3)
)

// Timing is what was timed of one direction of a session since it is watched: packets as they came to the edge, those that it dropped
// included.
type Timing struct {
	Began, Last  uint64 // CLOCK_MONOTONIC, ns: since when it is watched; its last packet, 0 = none yet
	Packets      uint64
	Jitter       time.Duration // RFC 3550 6.4.1, of differences between spacings
	Gap          time.Duration // the longest between two packets
	Bursts       uint32        // of three packets and more that follow each other within a millisecond
	LongestBurst uint32
	Sizes        [TimingSizes]uint32    // packets by bytes of the IP packet: below 64, below 128 ..., from 4096
	Spacings     [TimingSpacings]uint32 // by time since the one before: below 131 us, below twice that ..., from 2.1 s

	Numbered   bool   // its packets have numbers that can be read: what follows holds
	Numbers    uint32 // that were read
	Lost       uint32 // numbers that were left out and did not come later
	Reordered  uint32 // came after a higher one
	Duplicates uint32

	// Of its last 26 to 34 seconds before its last packet.
	RecentGap     time.Duration
	RecentNumbers uint32
	RecentLost    uint32

	Drops map[string]uint32 // packets that the edge dropped, by reason: the first four that came up, and "other"
}

func (w *bpfWatch) timing(reasons []string) *Timing {
	t := &Timing{
		Began: w.Began, Last: w.Last, Packets: w.Packets, Jitter: time.Duration(w.Jitter >> 4), Gap: time.Duration(min(w.Gap, math.MaxInt64)),
		Bursts: w.Bursts, LongestBurst: w.LongestBurst, Sizes: w.Sizes, Spacings: w.Times,
		Numbered: w.Numbers >= numbersReadable && w.Strange <= w.Numbers/numbersReadable,
	}
	if t.Numbered {
		t.Numbers, t.Lost, t.Reordered, t.Duplicates = w.Numbers, w.Lost, w.Reordered, w.Duplicates
	}
	newest := uint32(w.Last >> watchWindowShift)
	for _, x := range w.Window {
		if newest-x.Number >= watchWindows {
			continue
		}
		t.RecentGap = max(t.RecentGap, time.Duration(x.Gap)<<watchGapShift)
		if t.Numbered {
			t.RecentNumbers += x.Numbers
			t.RecentLost += x.Lost
		}
	}
	for i, n := range w.Drops {
		if n == 0 {
			continue
		}
		if t.Drops == nil {
			t.Drops = map[string]uint32{}
		}
		name := "other"
		if i < watchReasons {
			name = nameOf(reasons, uint32(w.Reason[i]))
		}
		t.Drops[name] += n
	}
	return t
}

// Watch says which sessions are watched from their next check on, within two seconds: a share of all, 0 to 1, and another one in another
// period; beside them those of flagged clients.
func (e *Edge) Watch(share float64, period uint32) error {
	flagged, err := e.Flagged()
	if err != nil {
		return err
	}
	w := bpfWatcher{Share: math.MaxUint32, Period: period, Flagged: uint32(len(flagged))}
	if share < 1 {
		w.Share = uint32(max(share, 0) * math.MaxUint32)
	}
	if err := e.state[bpfMapWatcher].Put(uint32(0), w); err != nil {
		return fmt.Errorf("write map watcher: %w", err)
	}
	return nil
}

// Flag has a client's sessions watched whatever the share; port 0 means all of an address. False lets go of it again. It holds from the
// next Watch on.
func (e *Edge) Flag(client netip.AddrPort, on bool) error {
	m, k, one := e.state[bpfMapWatchFlag], flagKey(client), uint32(1)
	if !on {
		if err := m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete from map watch_flag: %w", err)
		}
		return nil
	}
	if err := m.Put(&k, &one); err != nil {
		return fmt.Errorf("write map watch_flag, which holds %d clients: %w", watchFlagsMax, err)
	}
	return nil
}

// Flagged are the clients that are flagged.
func (e *Edge) Flagged() ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	err := batchEach(e.state[bpfMapWatchFlag], func(k *bpfWatchKey, _ *uint32) bool {
		all = append(all, netip.AddrPortFrom(addrOf(k.Addr, k.Family == 4), be16(k.Port)))
		return true
	})
	return all, err
}

func flagKey(client netip.AddrPort) bpfWatchKey {
	a := client.Addr().Unmap()
	return bpfWatchKey{Addr: addr16(a), Port: be16(client.Port()), Family: uint16(familyOf(a))}
}

// WatchCells is how many halves of sessions can be watched at a time.
func (e *Edge) WatchCells() int { return int(e.state[bpfMapWatch].MaxEntries()) - 1 }

// watchCells is how many cells so many sessions take: a power of two, for both halves of each. The first is nobody's.
func watchCells(sessions uint32) uint32 {
	return min(powerOfTwo(2*min(max(sessions, 1), watchCellsMax/2)), watchCellsMax)
}

// timedItem is a watched session as an iterator writes it: a reapItem, and a cell of each half.
type timedItem[T any] struct {
	item     T
	up, down bpfWatch
}

// WatchedSessions hands those sessions to fn of which a half is watched, with what was timed, until it returns false.
func (e *Edge) WatchedSessions(fn func(*Session) bool) error {
	tick, err := e.now()
	if err != nil {
		return err
	}
	err = iterateTimed[bpfReapItem4](e, bpfProgWatched4, bpfMapFlow4, tick, fn)
	if err == nil {
		err = iterateTimed[bpfReapItem6](e, bpfProgWatched6, bpfMapFlow6, tick, fn)
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func iterateTimed[T any, P reapItem[T]](e *Edge, prog, name string, tick uint32, fn func(*Session) bool) error {
	return iterate(e, prog, name, func(r *timedItem[T]) error {
		s := P(&r.item).session(tick)
		up, down := P(&r.item).watched()
		e.timed(&s, up, down, &r.up, &r.down)
		if !fn(&s) {
			return errStop
		}
		return nil
	})
}

// timed puts what cells say into a session, of the halves that are watched.
func (e *Edge) timed(s *Session, up, down bool, upCell, downCell *bpfWatch) {
	if up {
		s.UpTiming = upCell.timing(e.names.Reasons)
	}
	if down {
		s.DownTiming = downCell.timing(e.names.Reasons)
	}
}

func (f *bpfFlow) watched() bool {
	return f.State&uint32(bpfFlowFlagFLOW_WATCHED) != 0 && f.Watch != 0
}

func (r *bpfReapItem4) watched() (up, down bool) { return r.Up.F.watched(), r.Down.F.watched() }
func (r *bpfReapItem6) watched() (up, down bool) { return r.Up.F.watched(), r.Down.F.watched() }

// timedGone reads what was timed of the first n orders' halves, which are gone. Orders are in their box: e.reaping is held.
func (e *Edge) timedGone(n int) ([]bpfWatch, error) {
	keys, all := make([]uint32, 2*n), make([]bpfWatch, 2*n)
	var cursor ebpf.MapBatchCursor
	if _, err := e.gen.coll.Maps[bpfMapReapWatch].BatchLookup(&cursor, keys, all, nil); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("read map reap_watch: %w", err)
	}
	return all, nil
}

// WatchedHalves counts the cells that are somebody's.
func (e *Edge) WatchedHalves() (int, error) {
	n := 0
	err := iterate(e, bpfProgCountTaken, bpfMapWatch, func(*uint8) error { n++; return nil })
	return n, err
}

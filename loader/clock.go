// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// clock is how the fast path tells time: jiffies * jiffyNs - base = CLOCK_MONOTONIC, at the grain of a jiffy.
type clock struct {
	jiffyNs, base uint64
}

// jiffyLengths are those of the HZ that Linux can be built with.
var jiffyLengths = []uint64{10_000_000, 4_000_000, 3_333_333, 1_000_000}

// Monotonic is CLOCK_MONOTONIC in ns: the time of expiries in the maps.
func Monotonic() uint64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // cannot fail: the clock exists and the pointer is good
	}
	return uint64(t.Nano())
}

// wallOf and monotonicOf convert between an expiry in a map and the time that people read; now is what a map's clock
// says at this moment.
func wallOf(mono, now uint64) time.Time {
	return time.Now().Add(time.Duration(int64(mono - now)))
}

func monotonicOf(t time.Time, now uint64) uint64 {
	return uint64(max(int64(now)+int64(time.Until(t)), 1)) // 0 would mean never
}

// time is what the fast path would read.
func (e *Edge) time() (uint64, error) {
	if !e.opts.Injected {
		return Monotonic(), nil
	}
	env, err := e.Env()
	return uint64(env.Now), err
}

// measureClock finds the length of a jiffy from two readings of both clocks, taken inside the kernel.
func measureClock(spec *ebpf.CollectionSpec) (clock, error) {
	coll, err := ebpf.NewCollection(&ebpf.CollectionSpec{
		Maps:      map[string]*ebpf.MapSpec{bpfMapClocks: spec.Maps[bpfMapClocks].Copy()},
		Programs:  map[string]*ebpf.ProgramSpec{bpfProgReadClocks: spec.Programs[bpfProgReadClocks].Copy()},
		Types:     spec.Types,
		ByteOrder: spec.ByteOrder,
	})
	if err != nil {
		return clock{}, fmt.Errorf("load the clock probe: %w", err)
	}
	defer coll.Close()
	read := func() (c bpfClocks, err error) {
		if _, _, err = coll.Programs[bpfProgReadClocks].Test(make([]byte, 64)); err != nil {
			return c, fmt.Errorf("read the kernel's clocks: %w", err)
		}
		return c, coll.Maps[bpfMapClocks].Lookup(uint32(0), &c)
	}
	first, err := read()
	if err != nil {
		return clock{}, err
	}
	time.Sleep(50 * time.Millisecond) // five jiffies of the longest kind
	last, err := read()
	if err != nil {
		return clock{}, err
	}
	return clockOf(first, last)
}

func clockOf(first, last bpfClocks) (clock, error) {
	jiffies, ns := last.Jiffies-first.Jiffies, last.Monotonic-first.Monotonic
	if jiffies == 0 {
		return clock{}, fmt.Errorf("the kernel's jiffies stand still: 0 in %v", time.Duration(ns))
	}
	best, distance := uint64(0), ^uint64(0)
	for _, length := range jiffyLengths {
		d := max(jiffies*length, ns) - min(jiffies*length, ns)
		if d < distance {
			best, distance = length, d
		}
	}
	return clock{jiffyNs: best, base: last.Jiffies*best - last.Monotonic}, nil
}

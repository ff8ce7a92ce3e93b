// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// load says how much each round sends.
type load struct {
	rounds  int
	packets uint32 // of a flood
	pings   int
}

// runner is a way with its site, and what was measured of it: one of each a round.
type runner struct {
	way
	site      *site
	cpu       []float64 // ns of CPU a packet that arrived, all of the way
	delivered []float64 // share of the packets sent
	rate      []float64 // packets that arrived a second of wall clock
	p50, p99  []float64 // us of a round trip
	lost      int       // round trips without an answer
}

// floodRound sends packets and notes what they cost.
func (r *runner) floodRound(packets uint32) error {
	at := r.site.in
	if r.rig {
		at = r.site.front
	}
	before, err := r.others()
	if err != nil {
		return err
	}
	f, err := r.site.flood(at, packets)
	after, failed := r.others()
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	if f.arrived == 0 {
		return fmt.Errorf("%s: none of %d packets arrived", r.name, f.sent)
	}
	r.cpu = append(r.cpu, float64(f.cpu+after-before)/float64(f.arrived))
	r.delivered = append(r.delivered, float64(f.arrived)/float64(f.sent))
	r.rate = append(r.rate, float64(f.arrived)/f.wall.Seconds())
	return nil
}

// others is the CPU time so far of who else works for the way: the sending CPU's ksoftirqd, which takes over when there
// is much to do, and the forwarder.
func (r *runner) others() (time.Duration, error) {
	cpu, err := lastCPU()
	if err != nil {
		return 0, err
	}
	sum, err := softirqTime(cpu)
	if err != nil || !r.proxy {
		return sum, err
	}
	t, err := treeTime(r.site.forwarder.PID())
	return sum + t, err
}

// softirqTime is what the ksoftirqd of a CPU has run.
func softirqTime(cpu int) (time.Duration, error) {
	all, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	want := []byte(fmt.Sprintf("ksoftirqd/%d\n", cpu))
	for _, path := range all {
		if name, err := os.ReadFile(path); err != nil || !bytes.Equal(name, want) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "schedstat"))
		if err != nil {
			return 0, nil // a kernel without scheduler statistics
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		return time.Duration(ns), err
	}
	return 0, nil // in a PID namespace of its own
}

// treeTime is the CPU time of a process and its children.
func treeTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED: a process's clock is named by its inverted id and this kind (clock_getcpuclockid(3))
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
	}
	sum := time.Duration(ts.Nano())
	kids, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return sum, nil
	}
	for _, kid := range strings.Fields(string(kids)) {
		n, err := strconv.Atoi(kid)
		if err != nil {
			return 0, err
		}
		t, err := treeTime(n)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// pingRound notes the quantiles of a round of pings.
func (r *runner) pingRound(n int) error {
	if r.rig {
		return nil
	}
	times, lost, err := r.site.ping(n)
	if err == nil && len(times) == 0 {
		err = errors.New("no answer to any ping")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	us := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))]) / 1e3 }
	r.p50, r.p99 = append(r.p50, us(0.5)), append(r.p99, us(0.99))
	r.lost += lost
	return nil
}

// measure goes round: each way's flood in turn, then each way's pings.
func measure(ctx context.Context, all []*runner, l load, progress func(string)) error {
	for round := range l.rounds {
		progress(fmt.Sprintf("round %d of %d", round+1, l.rounds))
		for _, r := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.floodRound(l.packets); err != nil {
				return err
			}
		}
		for _, r := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.pingRound(l.pings); err != nil {
				return err
			}
		}
	}
	return nil
}

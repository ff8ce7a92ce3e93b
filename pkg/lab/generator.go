// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"parry/pkg/netns"
)

const (
	liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
	batch      = 64     // frames that the kernel hands on at once: a NAPI poll's worth
	niceness   = 10     // the flood takes what CPU the players leave: what is under test is the edge, not the scheduler
	firstChunk = 4096   // frames of the first system call; then as many as fit chunkTime
	chunkTime  = 4 * time.Millisecond
	tick       = 2 * time.Millisecond // of a flood with a rate
)

// Generator sends a flood out of an interface by live frames of BPF_PROG_TEST_RUN, millions of packets a second from
// one CPU, each with fresh headers and correct checksums.
type Generator struct {
	host  *netns.Host
	objs  floodObjects
	cpu   int
	blank []byte // as long as the longest frame
	idle  *netns.Interface
	hold  link.Link
}

// Load bounds a run. A zero field doesn't; a run without any bound lasts until its context ends.
type Load struct {
	Packets  uint64
	Duration time.Duration
	Rate     uint64 // packets a second, 0 = as many as one CPU makes
}

// Flood says what a run did.
type Flood struct {
	Packets uint64        // handed to the interface; what its peer had no room for is in that interface's counters
	Elapsed time.Duration // wall clock
	CPUTime time.Duration // of the sending thread, which on veth includes most of the receiver's work
	CPU     int           // the one that it ran on
}

// Rate is in packets a second of wall clock.
func (f Flood) Rate() float64 {
	if f.Elapsed == 0 {
		return 0
	}
	return float64(f.Packets) / f.Elapsed.Seconds()
}

// NewGenerator loads a flood of the streams, each as frequent as the next, that leaves by out towards the station to.
func NewGenerator(out *netns.Interface, to net.HardwareAddr, streams []Stream) (*Generator, error) {
	if len(streams) == 0 {
		return nil, errors.New("load generator: no streams")
	}
	spec, err := loadFlood()
	if err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	if limit := int(spec.Maps[floodMapGenTemplates].MaxEntries); len(streams) > limit {
		return nil, fmt.Errorf("load generator: %d streams, there is room for %d", len(streams), limit)
	}
	err = errors.Join(spec.Variables[floodVarGenIfindex].Set(uint32(out.Index)),
		spec.Variables[floodVarGenCount].Set(uint32(len(streams))))
	if err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	g := &Generator{host: out.Host}
	if g.cpu, err = lastCPU(); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	if err := spec.LoadAndAssign(&g.objs, nil); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	if err := errors.Join(g.attachIdle(), g.fill(out.MAC, to, streams)); err != nil {
		return nil, errors.Join(fmt.Errorf("load generator: %w", err), g.Close())
	}
	return g, nil
}

// attachIdle attaches the program to an interface that never sees a packet. The kernel enters each XDP program that
// it runs into its dispatcher and waits for a grace period (10 to 40 ms here) before and after; a program that is
// attached somewhere is there already, and a run then costs nothing but its packets.
func (g *Generator) attachIdle() (err error) {
	if g.idle, err = g.host.Idle(fmt.Sprintf("idle%d", g.objs.GenFlood.FD())); err != nil {
		return err
	}
	return g.host.Do(func() error {
		g.hold, err = link.AttachXDP(link.XDPOptions{
			Program: g.objs.GenFlood, Interface: g.idle.Index, Flags: link.XDPGenericMode,
		})
		return err
	})
}

func (g *Generator) fill(from, to net.HardwareAddr, streams []Stream) error {
	var sources []floodGenSource
	for i, s := range streams {
		t, err := s.build(from, to)
		if err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
		t.FirstSource, t.Sources = uint32(len(sources)), uint32(len(s.Sources))
		if n := int(t.Len); n > len(g.blank) {
			g.blank = make([]byte, n)
		}
		for _, src := range s.Sources {
			sources = append(sources, src.entry())
		}
		if err := g.objs.GenTemplates.Put(uint32(i), &t); err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
	}
	if limit := int(g.objs.GenSources.MaxEntries()); len(sources) > limit {
		return fmt.Errorf("%d sources, there is room for %d", len(sources), limit)
	}
	for i := range sources {
		if err := g.objs.GenSources.Put(uint32(i), &sources[i]); err != nil {
			return fmt.Errorf("source %d: %w", i, err)
		}
	}
	return nil
}

// Close unloads the generator.
func (g *Generator) Close() error {
	errs := []error{g.objs.GenFlood.Close(), g.objs.GenTemplates.Close(), g.objs.GenSources.Close()}
	if g.hold != nil {
		errs = append(errs, g.hold.Close())
	}
	if g.idle != nil {
		errs = append(errs, g.idle.Remove())
	}
	return errors.Join(errs...)
}

// Sent is how many packets have been sent so far, in all runs. It may be called during a run.
func (g *Generator) Sent() (uint64, error) {
	var n uint64
	err := g.objs.GenSent.Get(&n)
	return n, err
}

// Run sends until a bound of the load is reached or the context ends, which is no error. Only one run may go on.
func (g *Generator) Run(ctx context.Context, load Load) (Flood, error) {
	before, err := g.Sent()
	if err != nil {
		return Flood{}, fmt.Errorf("run generator: %w", err)
	}
	limit := uint64(math.MaxUint64)
	if load.Packets > 0 {
		limit = before + load.Packets
	}
	if err := g.objs.GenLimit.Set(limit); err != nil {
		return Flood{}, fmt.Errorf("run generator: %w", err)
	}
	f := Flood{CPU: g.cpu}
	err = g.host.Do(func() error { // its thread is thrown away, and with it affinity and niceness
		var set unix.CPUSet
		set.Set(g.cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin to cpu %d: %w", g.cpu, err)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), niceness); err != nil {
			return fmt.Errorf("set priority: %w", err)
		}
		cpu, start := threadTime(), time.Now()
		err := g.loop(ctx, load, limit)
		f.Elapsed, f.CPUTime = time.Since(start), threadTime()-cpu
		return err
	})
	after, errSent := g.Sent()
	f.Packets = after - before
	if err := errors.Join(err, errSent); err != nil {
		return f, fmt.Errorf("run generator: %w", err)
	}
	return f, nil
}

// loop calls the kernel for chunks short enough to keep the bounds in sight.
func (g *Generator) loop(ctx context.Context, load Load, limit uint64) error {
	start := time.Now()
	first, err := g.Sent()
	if err != nil {
		return err
	}
	chunk := uint64(firstChunk)
	for ctx.Err() == nil {
		elapsed := time.Since(start)
		sent, err := g.Sent()
		if err != nil {
			return err
		}
		if sent >= limit || load.Duration > 0 && elapsed >= load.Duration {
			return nil
		}
		want := min(chunk, limit-sent)
		if load.Rate > 0 {
			due := load.due(elapsed, sent-first)
			if due == 0 {
				time.Sleep(tick)
				continue
			}
			want = min(want, due)
		}
		called := time.Now()
		if err := g.call(want); err != nil {
			return err
		}
		if took := time.Since(called); want == chunk {
			chunk = min(max(chunk*uint64(chunkTime)/uint64(max(took, 1)), batch), 1<<20)
		}
	}
	return nil
}

// due is how many packets the rate is behind, 0 while a call is not worth it.
func (l Load) due(elapsed time.Duration, sent uint64) uint64 {
	want := uint64(elapsed.Seconds()*float64(l.Rate)) + 1
	if want <= sent || want-sent < min(batch, l.Rate/uint64(time.Second/tick)) {
		return 0
	}
	return want - sent
}

func (g *Generator) call(frames uint64) error {
	// Each page starts at the length of the longest frame; shorter ones are cut.
	opts := &ebpf.RunOptions{Data: g.blank, Repeat: uint32(frames), Flags: liveFrames, BatchSize: batch}
	if _, err := g.objs.GenFlood.Run(opts); err != nil {
		return fmt.Errorf("send %d live frames: %w", frames, err)
	}
	return nil
}

// lastCPU is the highest CPU that this process may use: interrupts and idle daemons like the lowest.
func lastCPU() (int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, fmt.Errorf("ask for the allowed cpus: %w", err)
	}
	for cpu := len(set) * 64; cpu >= 0; cpu-- {
		if set.IsSet(cpu) {
			return cpu, nil
		}
	}
	return 0, errors.New("no cpu is allowed")
}

// threadTime is the CPU time that the calling thread has used.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0 // can't fail for the calling thread's own clock
	}
	return time.Duration(ts.Nano())
}

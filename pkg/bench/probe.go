// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// probe is one thing that is measured: a program under a driver, or by itself.
type probe struct {
	name    string
	driver  *driver // nil: the program is run by itself
	program *ebpf.Program
	frames  [][]byte     // each sample takes the next
	want    uint32       // the code that the last repetition returns
	before  func() error // each sample; may be nil
	bump    func() error // every 40 ms of it; may be nil
	fixed   uint32       // repetitions of a sample, 0 = as many as fit its time
	warm    int          // before each sample, unmeasured: times a sample's usual length
	long    int          // a sample is so many times as long as usual; 0 = once

	each    float64   // ns, roughly: as the last sample had it
	samples []float64 // ns, the driver's share included
}

const (
	firstRepeat = 2000 // of a probe that nothing is known of yet
	bumpEvery   = 40 * time.Millisecond
	bumps       = 5 // of a sample
)

// sample takes one sample that lasts about so long: the thread's CPU time over the system call, a repetition.
func (p *probe) sample(length time.Duration) error {
	if p.before != nil {
		if err := p.before(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if p.each == 0 && p.fixed == 0 {
		if _, err := p.timed(firstRepeat); err != nil {
			return err
		}
	}
	if p.warm > 0 {
		if _, err := p.timed(p.repeats(length * time.Duration(p.warm))); err != nil {
			return err
		}
	}
	ns, err := p.timedFor(length * time.Duration(max(p.long, 1)))
	if err != nil {
		return err
	}
	p.samples = append(p.samples, ns)
	return nil
}

func (p *probe) timedFor(length time.Duration) (float64, error) {
	switch {
	case p.fixed != 0:
		return p.timed(p.fixed)
	case p.bump == nil:
		return p.timed(p.repeats(length))
	}
	var sum float64
	repeat := p.repeats(bumpEvery)
	for range bumps {
		if err := p.bump(); err != nil {
			return 0, fmt.Errorf("%s: %w", p.name, err)
		}
		ns, err := p.timed(repeat)
		if err != nil {
			return 0, err
		}
		sum += ns
	}
	return sum / bumps, nil
}

func (p *probe) repeats(length time.Duration) uint32 {
	return uint32(max(float64(length)/p.each, 1))
}

func (p *probe) timed(repeat uint32) (float64, error) {
	run := p.program
	if p.driver != nil {
		run = p.driver.program
		if err := p.driver.aim(p.program); err != nil {
			return 0, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	before := threadTime()
	code, err := run.Run(&ebpf.RunOptions{Data: p.frames[len(p.samples)%len(p.frames)], Repeat: repeat})
	took := threadTime() - before
	if err == nil && p.driver != nil {
		err = p.driver.check()
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.name, err)
	}
	if code != p.want {
		return 0, fmt.Errorf("%s: the last packet's code is %d, not %d", p.name, code, p.want)
	}
	p.each = float64(took) / float64(repeat)
	return p.each, nil
}

// threadTime is the CPU time that the calling thread has used: it leaves out what others do on the same CPU.
func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // cannot fail
	return time.Duration(ts.Nano())
}

// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"parry/loader"
)

// Options of Run.
type Options struct {
	Cases  *regexp.Regexp // those whose name it matches; nil = all
	Rounds int
	Time   time.Duration // of CPU, that one sample takes
	Log    *slog.Logger
	// Progress is told what goes on, in a few words; may be nil.
	Progress func(string)
}

// DefaultRounds and DefaultTime are enough for medians to stand still within a few percent on a quiet machine.
const (
	DefaultRounds = 9
	DefaultTime   = 20 * time.Millisecond
)

// ErrNoCase says that no case has such a name: which, follows.
var ErrNoCase = errors.New("no case matches")

// Run measures. It needs root, and lasts about Rounds times Time for each case and floor, and some seconds to make
// what they work on.
func Run(ctx context.Context, o Options) (*Report, error) {
	var cases []Case
	for _, c := range Cases() {
		if o.Cases == nil || o.Cases.MatchString(c.Name) {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return nil, noCase(o.Cases.String())
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	b, err := newBench(ctx, o.Log)
	if err != nil {
		return nil, err
	}
	r := &run{bench: b, opts: o, probes: map[string]*probe{}}
	err = b.inside(func() error {
		if err := r.prepare(cases); err != nil {
			return err
		}
		return r.measure()
	})
	if err = errors.Join(err, b.Close()); err != nil {
		return nil, err
	}
	return r.report(cases), nil
}

type run struct {
	*bench
	opts   Options
	probes map[string]*probe
	order  []*probe
}

// around is the name of the empty program under a driver: what the driver takes.
func around(d *driver) string { return floorEmpty + " under " + d.name }

// prepare makes all that the cases need, and orders it so that what is compared is neighbours.
func (r *run) prepare(cases []Case) error {
	if err := r.loadFloors(); err != nil {
		return err
	}
	makers := r.makers()
	need := func(name string) error {
		if r.probes[name] != nil {
			return nil
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		r.opts.Progress("preparing " + name)
		p, err := makers[name]()
		if err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
		p.name = name
		r.probes[name] = p
		if d := p.driver; d != nil && r.probes[around(d)] == nil {
			empty := &probe{name: around(d), driver: d, program: r.floor.Empty, frames: p.frames, want: loader.XDPDrop}
			r.probes[empty.name] = empty
			r.order = append(r.order, empty)
		}
		r.order = append(r.order, p)
		return nil
	}
	if err := need(floorEmpty); err != nil {
		return err
	}
	for _, c := range cases {
		names := []string{c.Floor, c.Name}
		for _, t := range c.Targets {
			names = append(names, t.Of)
		}
		for _, name := range names {
			if err := need(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure runs the rounds, after one that warms up.
func (r *run) measure() error {
	for round := -1; round < r.opts.Rounds; round++ {
		r.opts.Progress(fmt.Sprintf("round %d of %d", round+1, r.opts.Rounds))
		for _, p := range r.order {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			if err := p.sample(r.opts.Time); err != nil {
				return err
			}
		}
		if round < 0 {
			for _, p := range r.order {
				p.samples = nil
			}
		}
	}
	for _, e := range r.edges {
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

// net are a probe's samples, less what its driver took.
func (r *run) net(name string) []float64 {
	p := r.probes[name]
	if p.driver == nil {
		return p.samples
	}
	var shares []float64
	for i, empty := range r.probes[floorEmpty].samples {
		shares = append(shares, r.probes[around(p.driver)].samples[i]-empty)
	}
	share := Median(shares)
	net := make([]float64, len(p.samples))
	for i, s := range p.samples {
		net[i] = s - share
	}
	return net
}

// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"time"
)

// How often progress shows: a terminal's line is redrawn, a log gets a line now and then.
const (
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 5 * time.Second
)

// Progress tells how far a long job is, with its rate and the time that is left. It has no clock of its own running:
// it shows when Update is called and enough time has passed.
type Progress struct {
	out   io.Writer
	tty   bool
	now   func() time.Time
	label string
	unit  func(v float64, perSecond bool) string
	start time.Time
	last  time.Time
	drawn bool
}

// NewProgress makes progress for out, which is redrawn in place if tty.
func NewProgress(out io.Writer, tty bool, now func() time.Time) *Progress {
	return &Progress{out: out, tty: tty, now: now}
}

// Phase begins a part of the job, whose amounts unit puts into words.
func (p *Progress) Phase(label string, unit func(v float64, perSecond bool) string) {
	t := p.now()
	p.label, p.unit, p.start = label, unit, t
	if p.last.IsZero() {
		p.last = t
	}
}

// Update tells how much of the total is done; total 0 is unknown.
func (p *Progress) Update(done, total int64) {
	every := lineEvery
	if p.tty {
		every = redrawEvery
	}
	t := p.now()
	if t.Sub(p.last) < every {
		return
	}
	p.last = t
	line := p.line(done, total, t.Sub(p.start))
	if p.tty {
		fmt.Fprintf(p.out, "\r%s\x1b[K", line)
		p.drawn = true
	} else {
		fmt.Fprintln(p.out, line)
	}
}

// Clear removes a terminal's line, before anything else is written.
func (p *Progress) Clear() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *Progress) line(done, total int64, took time.Duration) string {
	line := p.label + " " + p.unit(float64(done), false)
	if total > 0 {
		line += fmt.Sprintf(" of %s (%s)", p.unit(float64(total), false), Percent(float64(done)/float64(total)))
	}
	if took <= 0 || done <= 0 {
		return line
	}
	rate := float64(done) / took.Seconds()
	line += ", " + p.unit(rate, true)
	if left := total - done; left > 0 {
		line += ", " + Duration(time.Duration(float64(left)/rate*float64(time.Second))) + " left"
	}
	return line
}

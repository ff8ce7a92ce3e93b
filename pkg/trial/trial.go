// SPDX-License-Identifier: Apache-2.0

// Package trial is what a person sees of an edge on trial: it begins one, watches over it and over the connection that the
// person hangs on, and says how it ended. The edge itself runs in a process of its own (engine.Try), which undoes itself when
// this one is gone, and which the kernel undoes when it is killed.
package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/nic"
	"parry/pkg/show"
	"parry/pkg/tether"
)

// Bounds of how long a trial may last.
const (
	Shortest = 5 * time.Second
	Longest  = time.Hour
)

// Options of Run.
type Options struct {
	Config     *config.Config
	File       string // path of Config
	For        time.Duration
	Interfaces []string // that the edge is attached to
	Args       []string // of this very program, that run an edge on trial
	Lines      []tether.Line
	Out        *os.File
	In         *os.File // where `confirm` may be typed, if it is a terminal
	Client     *api.Client
	Hangup     <-chan os.Signal
	// Restore undoes what is left of an edge whose process was killed; what is undone already stays so.
	Restore func() error
}

// tick is how often the trial is looked at and told of: each telling is also what shows that the connection still works.
const tick = time.Second

// attachPatience is how long an edge may take to be attached: its maps are cleared, its programs verified.
const attachPatience = time.Minute

// The ends that are no success.
var (
	errHangup = errors.New("this terminal is gone")
	errDied   = errors.New("parry ended by itself")
)

// Run tries the edge. It returns nil when the edge was confirmed, when the time was up and when ctx ended: then nothing is left.
func Run(ctx context.Context, o Options) error {
	p, err := start(o)
	if err != nil {
		return err
	}
	if o.In != nil && !show.IsTerminal(o.In) {
		o.In = nil
	}
	t := &trial{Options: o, p: p, terminal: show.IsTerminal(o.Out)}
	kept, why := t.watch(ctx)
	if kept {
		return t.tellKept()
	}
	ended := p.end()
	if err := o.Restore(); err != nil {
		ended = errors.Join(ended, fmt.Errorf("remove what is left: %w", err))
	}
	return t.tellOver(why, ended)
}

// trial is one that runs.
type trial struct {
	Options
	p        *process
	terminal bool
	began    time.Time
	typed    []byte
}

// over is a reason to end the trial that nobody is to blame for.
type over string

func (o over) Error() string { return string(o) }

// watch returns when the trial is kept, or is to end.
func (t *trial) watch(ctx context.Context) (kept bool, why error) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	patience := time.NewTimer(attachPatience)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, over("you ended it")
		case <-t.Hangup:
			return false, errHangup
		case <-patience.C:
			return false, fmt.Errorf("parry was not attached after %v", attachPatience)
		case word, ok := <-t.p.words:
			switch {
			case !ok:
				return false, errDied
			case word == "kept":
				return true, nil
			case strings.HasPrefix(word, "over "):
				return false, over(strings.TrimPrefix(word, "over "))
			case word == "ready":
				patience.Stop()
				t.began = time.Now()
				if err := t.tellReady(); err != nil {
					return false, err
				}
			}
		case <-ticks.C:
			if t.began.IsZero() {
				continue
			}
			if err := t.look(ctx); err != nil {
				return false, err
			}
		}
	}
}

// look tells how it goes, and finds out whether anybody can still read that.
func (t *trial) look(ctx context.Context) error {
	for _, l := range t.Lines {
		if l.Mine {
			if err := tether.Broken("/", l); err != nil {
				return err
			}
		}
	}
	if err := t.tellProgress(ctx, max(t.For-time.Since(t.began), 0)); err != nil {
		return err
	}
	if t.read() {
		if _, err := t.Client.Confirm(ctx); err != nil {
			return fmt.Errorf("it could not be kept: %w", err)
		}
	}
	return nil
}

// read takes what was typed, without waiting, and says if that was `confirm`. A process in the background reads nothing.
func (t *trial) read() bool {
	if t.In == nil {
		return false
	}
	fd := int(t.In.Fd())
	if owner, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || owner != unix.Getpgrp() {
		return false
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 0); err != nil || n == 0 || poll[0].Revents&unix.POLLIN == 0 {
		return false
	}
	buf := make([]byte, 256)
	n, err := unix.Read(fd, buf)
	if err != nil || n <= 0 {
		return false
	}
	t.typed = append(t.typed, buf[:n]...)
	for {
		line, rest, ok := strings.Cut(string(t.typed), "\n")
		if !ok {
			return false
		}
		t.typed = []byte(rest)
		if word := strings.TrimSpace(line); word == "confirm" || word == "parry confirm" {
			return true
		} else if word != "" {
			fmt.Fprintf(t.Out, "\rtype confirm to keep it, Ctrl-C to end it\n")
		}
	}
}

// Interruption says for each interface what attaching does to it. Interfaces that can't be looked at are left out.
func Interruption(nics []nic.NIC, names []string) []string {
	var all []string
	for _, name := range names {
		n, err := nic.Find(nics, name)
		if err != nil {
			continue
		}
		d, _ := nic.DriverOf(n.Driver)
		text := fmt.Sprintf("%s (%s): attaches %s", n.Name, n.Driver, d.Pause)
		if d.Pause != nic.PauseNone {
			text += "; and again when it detaches. Connections, ssh too, outlive that"
		}
		all = append(all, text)
	}
	return all
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/api"
	"parry/pkg/config"
)

// Trial makes an edge one that undoes itself unless it is confirmed. The kernel is what holds it to that: all pins, links among
// them, lie on a BPF file system that only this process sees, and go with it however it ends (kill -9, out of memory),
// so that the interfaces are bare again. Confirm moves the pins to where everybody sees them.
type Trial struct {
	For      time.Duration // from when it is attached
	Lifeline io.Reader     // ends when whoever began the trial is gone
	Said     func(word string) error

	mu    sync.Mutex // guards state
	state trialState
	pin   string
	from  *Footprint
}

type trialState uint8

const (
	trialRuns trialState = iota
	trialKept
	trialOver
)

// What a trial says to whoever began it, a line each; behind the last word is why.
const (
	TrialReady = "ready"
	TrialKept  = "kept"
	TrialOver  = "over "
)

// Why a trial ends.
var (
	errTimeUp = errors.New("the time is up and nobody confirmed")
	errAlone  = errors.New("whoever began the trial is gone")
)

// Try runs an edge on trial, in a mount namespace of its own, until ctx ends, the time is up or the lifeline ends; then nothing of
// it is left. Confirmed, it is an edge like any other.
func Try(ctx context.Context, o Options, t *Trial) error {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	if t.from, err = TakeFootprint(cfg); err != nil {
		return err
	}
	t.pin = cfg.Pin
	if err := t.hide(); err != nil {
		return err
	}
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group tasks
	ready := make(chan struct{})
	group.start(func() {}, func() error { t.time(work, stop, ready); return nil })
	go t.listen(stop) // ends with the lifeline, which this process's end at the latest is
	o.Trial, o.Ready = t, func() error { close(ready); return t.Said(TrialReady) }
	err = Run(work, o)
	stop(nil)
	_ = group.wait() // it never fails
	if t.end() {
		return err
	}
	why := context.Cause(work)
	o.Log.Info("the trial is over", "why", why)
	if err = errors.Join(err, Detach(cfg.Pin, o.Log), t.from.Restore()); err != nil {
		return err
	}
	_ = t.Said(TrialOver + why.Error()) // nobody may be there
	return nil
}

// Kept says that the edge was confirmed.
func (t *Trial) Kept() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state == trialKept
}

// hide mounts a BPF file system over the one that holds the pins, for this process alone.
func (t *Trial) hide() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	parent, perr := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err = errors.Join(err, perr); err != nil || own == parent {
		return errors.Join(errors.New("a trial runs in a mount namespace of its own: `parry try` makes one"), err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep the trial's mounts from the host: %w", err)
	}
	if err := unix.Mount("bpf", filepath.Dir(t.pin), "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount the trial's own BPF file system: %w", err)
	}
	return nil
}

// time ends the trial when its time is up.
func (t *Trial) time(ctx context.Context, stop context.CancelCauseFunc, ready <-chan struct{}) {
	select {
	case <-ctx.Done():
		return
	case <-ready:
	}
	timer := time.NewTimer(t.For)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
		if !t.end() {
			stop(errTimeUp)
		}
	}
}

// listen ends the trial when its lifeline ends.
func (t *Trial) listen(stop context.CancelCauseFunc) {
	_, _ = io.Copy(io.Discard, t.Lifeline) // an error is an end, too
	if !t.end() {
		stop(errAlone)
	}
}

// end ends the trial, unless it is kept.
func (t *Trial) end() (kept bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == trialRuns {
		t.state = trialOver
	}
	return t.state == trialKept
}

// Confirm keeps the edge that is on trial.
func (a edgeAPI) Confirm(context.Context) (api.Confirmed, error) {
	e, t := a.e, a.e.opts.Trial
	done := api.Confirmed{PID: os.Getpid(), Config: e.opts.Config, Pin: e.cfg.Pin}
	if t == nil {
		return done, api.Mark(api.ErrNotFound, errors.New("nothing is on trial: this edge stays as it is"))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.state {
	case trialKept:
		return done, nil
	case trialOver:
		return done, api.Mark(api.ErrBusy, errors.New("the trial is over, the edge is being detached: `parry try` begins another"))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.edge.Repin(t.reveal); err != nil {
		return done, fmt.Errorf("keep the edge: %w", err)
	}
	t.state = trialKept
	e.log.Info("the edge is confirmed: it stays", "pin", e.cfg.Pin)
	e.fault("tell whoever began the trial", t.Said(TrialKept))
	return done, nil
}

// reveal takes the trial's own file system away.
func (t *Trial) reveal() error {
	if err := unix.Unmount(filepath.Dir(t.pin), unix.MNT_DETACH); err != nil {
		return fmt.Errorf("take the trial's own BPF file system away: %w", err)
	}
	return nil
}

// Untouched makes sure that no edge is there that a trial would replace: it says which.
func Untouched(ctx context.Context, c *config.Config) error {
	if api.Dial(c.API.Socket).Ping(ctx) == nil {
		return fmt.Errorf("a parry runs already and answers at %s: `parry reload` has it read a changed file, all or nothing", c.API.Socket)
	}
	if _, err := os.Stat(filepath.Join(c.Pin, "links")); err == nil {
		return fmt.Errorf("an edge is attached already, pinned in %s: `parry run` takes it over, `parry detach --pin %s` removes it", c.Pin, c.Pin)
	}
	return nil
}

// PrepareTrial sees that the pins have a file system to go to when the trial is confirmed.
func PrepareTrial(c *config.Config, log *slog.Logger) error { return prepareHost(c, log) }

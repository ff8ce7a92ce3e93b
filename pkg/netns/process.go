// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spawner is a thread that stays in a host's namespace and starts its processes. Their parent-death signal is tied
// to the thread that started them, so it must live as long as the host: when this process is killed, they go too.
type spawner struct {
	requests chan func()
	done     chan struct{}
}

func newSpawner(h *Host) (*spawner, error) {
	s := &spawner{requests: make(chan func()), done: make(chan struct{})}
	entered := make(chan error, 1)
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET)
		entered <- err
		if err != nil {
			return
		}
		for f := range s.requests {
			f()
		}
	}()
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("enter %s: %w", h.full, err)
	}
	return s, nil
}

func (s *spawner) run(f func() error) error {
	ch := make(chan error, 1)
	s.requests <- func() { ch <- f() }
	return <-ch
}

func (s *spawner) close() {
	close(s.requests)
	<-s.done
}

// Process is a process that runs in a host.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

// Start starts cmd in the host, as the leader of a process group of its own (a Ctrl-C at the terminal goes to the
// world's owner only). It is killed when the owner dies, and ended by World.Close.
func (h *Host) Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = 2 * time.Second // grandchildren may hold the output open
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.spawn.run(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", filepath.Base(cmd.Path), h.name, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	h.procs = append(slices.DeleteFunc(h.procs, (*Process).ended), p)
	err := h.record(p.PID())
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err != nil {
		return nil, errors.Join(err, p.Stop(0))
	}
	return p, nil
}

// record writes the process down for RemoveStale.
func (h *Host) record(pid int) error {
	start, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("record process %d: %w", pid, err)
	}
	f, err := os.OpenFile(filepath.Join(h.world, pidsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("record process %d: %w", pid, err)
	}
	_, err = fmt.Fprintln(f, pid, start)
	return errors.Join(err, f.Close())
}

// Exec runs a command in the host to its end and returns what it wrote to standard output. The error of a command
// that fails holds what it wrote to standard error.
func (h *Host) Exec(ctx context.Context, argv ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := h.Start(cmd)
	if err != nil {
		return "", err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Stop(0) // the context's error is the news
		return stdout.String(), fmt.Errorf("%s in %s: %w", argv[0], h.name, ctx.Err())
	}
	if p.err != nil {
		return stdout.String(), fmt.Errorf("%s in %s: %w: %s", strings.Join(argv, " "), h.name, p.err,
			strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended, nil for exit code 0. Valid once Done is closed.
func (p *Process) Err() error {
	if !p.ended() {
		return nil
	}
	return p.err
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal to the process itself.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop ends the process and its group: SIGTERM, then SIGKILL after grace (at once if 0), and waits for the end. How
// it ended is no error.
func (p *Process) Stop(grace time.Duration) error {
	if p.ended() {
		return nil
	}
	if grace > 0 {
		_ = unix.Kill(-p.PID(), unix.SIGTERM) // if it is gone already, done says so
		select {
		case <-p.done:
			return nil
		case <-time.After(grace):
		}
	}
	if err := unix.Kill(-p.PID(), unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", p.PID(), err)
	}
	<-p.done
	return nil
}

func (h *Host) stopProcesses() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, p := range h.procs {
		errs = append(errs, p.Stop(stopGrace))
	}
	return errors.Join(errs...)
}

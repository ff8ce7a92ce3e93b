// SPDX-License-Identifier: Apache-2.0

// Package netns builds small worlds out of network namespaces: hosts, the links between them, addresses, routes
// and processes. The lab and the end-to-end tests play in them; nothing in a world can reach the outside.
//
// Namespaces are named parry-PID-WORLD-HOST and can be entered with `ip netns exec`. World.Close removes all that a
// world made. A world whose owner died without closing it is removed when the next one is made (see RemoveStale).
// Everything here needs root.
package netns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long Close waits between asking a process to end and killing it.
const stopGrace = 3 * time.Second

// firstIndex is beyond the indexes that the kernel counts up from 1 in each namespace.
const firstIndex = 1000

// World is a set of hosts that belong together. Its methods may be called from several goroutines.
type World struct {
	name string // parry-PID-NAME
	dir  string
	log  *slog.Logger
	lock *os.File // held (flock) while this process lives: how others see that the world is not stale

	mu     sync.Mutex // guards hosts, closed and index
	hosts  []*Host
	closed bool
	index  int // of the last link's first end
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_]{0,31}$`)

// NewWorld removes what crashed worlds left behind, then makes an empty world. name (lower-case letters, digits and
// underscores) tells worlds of one process apart.
func NewWorld(ctx context.Context, name string, log *slog.Logger) (*World, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("world %q: a name is up to 32 lower-case letters, digits and underscores", name)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("making network namespaces needs root: run it with sudo")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := RemoveStale(log); err != nil {
		log.Warn("stale world not removed", "err", err)
	}
	w := &World{name: fmt.Sprintf("parry-%d-%s", os.Getpid(), name), log: log}
	w.dir = filepath.Join(worldsDir, w.name)
	if err := w.claim(); err != nil {
		return nil, fmt.Errorf("make world %s: %w", w.name, err)
	}
	return w, nil
}

// Name returns the prefix that the world's namespaces share.
func (w *World) Name() string { return w.name }

// Dir returns a directory that belongs to the world and goes with it: sockets, logs, state.
func (w *World) Dir() string { return w.dir }

// Host returns the named host, making it (a namespace with loopback up) at the first call.
func (w *World) Host(name string) (*Host, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("host %q: a name is up to 32 lower-case letters, digits and underscores", name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, fmt.Errorf("host %s: world %s is closed", name, w.name)
	}
	for _, h := range w.hosts {
		if h.name == name {
			return h, nil
		}
	}
	h, err := newHost(w, name)
	if err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	w.hosts = append(w.hosts, h)
	return h, nil
}

// newIndex returns an interface index that the kernel gives to no link by itself in a world's lifetime.
func (w *World) newIndex() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index++
	return firstIndex + w.index
}

// MountBPF mounts a bpf file system at the directory rel under Dir and returns its path. What is pinned there goes
// with the world: Close unmounts all that is mounted under Dir.
func (w *World) MountBPF(rel string) (string, error) {
	path := filepath.Join(w.dir, rel)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("mount bpffs: %w", err)
	}
	if err := unix.Mount("bpf", path, "bpf", 0, "mode=0700"); err != nil {
		return "", fmt.Errorf("mount bpffs at %s: %w", path, err)
	}
	return path, nil
}

// Close ends the world's processes and removes its links, namespaces, mounts and directory. It goes on after an
// error and returns them all. A second call does nothing.
func (w *World) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	var errs []error
	for _, h := range slices.Backward(w.hosts) {
		errs = append(errs, h.stopProcesses())
	}
	for _, h := range slices.Backward(w.hosts) {
		errs = append(errs, h.close())
	}
	errs = append(errs, removeDir(w.dir), w.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove world %s: %w", w.name, err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Options are how a Watcher works; the zero value is right for the daemon.
type Options struct {
	// KeepNeighbours leaves the wanted neighbours resolved when the watcher
	// closes, so that the kernel's own lookup stays warm while the daemon
	// restarts; Purge removes them. Without it Close removes them.
	KeepNeighbours bool
	// RefreshEvery is how often neighbours that the kernel doesn't keep resolved
	// by itself (before 5.16) are asked for again; 0 means 5 s.
	RefreshEvery time.Duration
	// NoManaged uses that older way on every kernel.
	NoManaged bool
	// ReceiveBuffer is the room for unread netlink messages in bytes; 0 means 4 MiB.
	ReceiveBuffer int
}

// Watcher follows the kernel's network state. Its methods are safe for concurrent
// use. It belongs to the network namespace of the thread that called New.
type Watcher struct {
	log    *slog.Logger
	opts   Options
	sub    *socket
	neigh  *neighSocket
	handle *netlink.Handle
	events *queue
	out    chan Event
	kick   chan struct{} // has a token when asks or releases wait

	resyncs   atomic.Uint64
	running   atomic.Bool
	unmanaged atomic.Bool // the kernel has no managed neighbours
	managed   bool        // it has; only the worker looks

	mu       sync.Mutex // guards all below; never held over a request to the kernel
	tab      tables
	told     map[int]Link // links as last put into events
	wanted   map[Key]*want
	releases map[Key]bool // key: whether its neighbour goes altogether
	routesAt time.Time    // when routes change is told at the latest; zero: nothing to tell
	lastTold time.Time    // when a change of routes was told last
	closed   bool
}

// want is what the watcher does for one wanted key.
type want struct {
	hop      Hop  // as last put into events
	ask      bool // the kernel shall be asked for it
	asked    time.Time
	ours     bool // we made the entry, so that we remove it
	foreign  bool // another keeps it: permanent, or managed by somebody else
	failures int  // asks that failed in a row
}

// New opens the watcher's sockets in the calling thread's network namespace. log
// must not be nil.
func New(log *slog.Logger, opts Options) (*Watcher, error) {
	if opts.RefreshEvery <= 0 {
		opts.RefreshEvery = 5 * time.Second
	}
	if opts.ReceiveBuffer <= 0 {
		opts.ReceiveBuffer = 4 << 20
	}
	w := &Watcher{
		log: log, opts: opts, events: newQueue(maxPending),
		out: make(chan Event), kick: make(chan struct{}, 1),
		tab: newTables(), told: map[int]Link{}, wanted: map[Key]*want{}, releases: map[Key]bool{},
	}
	var err error
	if w.sub, err = openSocket(opts.ReceiveBuffer); err != nil {
		return nil, fmt.Errorf("watch network: %w", err)
	}
	if w.neigh, err = openNeighSocket(); err != nil {
		return nil, errors.Join(fmt.Errorf("watch network: %w", err), w.sub.close())
	}
	if w.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		w.neigh.close()
		return nil, errors.Join(fmt.Errorf("watch network: open netlink socket: %w", err), w.sub.close())
	}
	if err := w.resync(); err != nil {
		return nil, errors.Join(fmt.Errorf("watch network: %w", err), w.Close())
	}
	return w, nil
}

// Run follows the kernel until ctx is done, which is no error, or until netlink
// fails for good. It closes the channel of Changes when it returns, and can run
// once. Close still has to be called.
func (w *Watcher) Run(ctx context.Context) error {
	if !w.running.CompareAndSwap(false, true) {
		return errors.New("watch network: already run")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if err := w.sub.interrupt(); err != nil {
			w.log.Warn("stop netlink reader", "error", err)
		}
	})
	defer stop()
	var helpers sync.WaitGroup
	helpers.Go(func() { w.tell(ctx) })
	helpers.Go(func() { w.work(ctx) })
	err := w.follow(ctx)
	cancel()
	helpers.Wait()
	close(w.out)
	if err != nil {
		return fmt.Errorf("watch network: %w", err)
	}
	return nil
}

// follow reads the kernel's messages.
func (w *Watcher) follow(ctx context.Context) error {
	for {
		msgs, err := w.sub.receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errLost):
			if err := w.recover(ctx); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		default:
			for _, m := range msgs {
				w.apply(m.Header.Type, m.Header.Flags, m.Data)
			}
		}
	}
}

// recover reads everything anew after messages were lost.
func (w *Watcher) recover(ctx context.Context) error {
	n := w.resyncs.Add(1)
	w.log.Warn("netlink messages were lost, read everything anew", "resyncs", n)
	for try := 1; ; try++ {
		err := w.sub.drain()
		if err == nil {
			err = w.resync()
		}
		if err == nil {
			break
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			return nil
		}
		if try == 10 {
			return err
		}
		// A dump fails while the tables change under it; that passes.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(try) * 20 * time.Millisecond):
		}
	}
	w.events.put(Event{Kind: Resynced})
	w.routesChanged()
	return nil
}

// tell hands events to whoever reads Changes.
func (w *Watcher) tell(ctx context.Context) {
	for {
		e, ok := w.events.take()
		if !ok {
			select {
			case <-w.events.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case w.out <- e:
		case <-ctx.Done():
			return
		}
	}
}

// Changes returns the channel of events. The first tell of the links that are there.
// It is closed when Run returns. A slow reader delays nobody and loses nothing but
// states in between.
func (w *Watcher) Changes() <-chan Event { return w.out }

// Resyncs counts how often the kernel's messages were lost and everything was
// read anew.
func (w *Watcher) Resyncs() uint64 { return w.resyncs.Load() }

// Want keeps the neighbours of keys resolved until Forget or Close, and answers
// each with a HopChanged event at once, Valid or not. Keys are a set: wanting one
// twice is wanting it once. An interface needs not exist yet.
func (w *Watcher) Want(keys ...Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		k = k.normal()
		if w.wanted[k] != nil || w.closed {
			continue
		}
		// A release that still waits is over, but the entry is still ours.
		remove, released := w.releases[k]
		delete(w.releases, k)
		s := &want{ask: true, ours: released && remove}
		w.wanted[k] = s
		s.hop = w.tab.hop(k)
		w.events.put(Event{Kind: HopChanged, Hop: w.tab.hop(k)})
	}
	w.poke()
}

// Forget stops keeping the neighbours of keys. Events about them that wait may
// still come.
func (w *Watcher) Forget(keys ...Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		k = k.normal()
		s := w.wanted[k]
		if s == nil {
			continue
		}
		delete(w.wanted, k)
		delete(w.tab.neighs, k)
		if !s.foreign {
			w.releases[k] = s.ours
		}
	}
	w.poke()
}

// Links returns all links as they are, by ifindex.
func (w *Watcher) Links() []Link {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Link, 0, len(w.tab.links))
	for i := range w.tab.links {
		if l, ok := w.tab.link(i); ok {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b Link) int { return a.Ifindex - b.Ifindex })
	return out
}

// Hops returns the hop of each wanted key as it is, in no order.
func (w *Watcher) Hops() []Hop {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Hop, 0, len(w.wanted))
	for k := range w.wanted {
		out = append(out, w.tab.hop(k))
	}
	return out
}

func (w *Watcher) ifindexOf(name string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range w.tab.links {
		if r.name == name {
			return i, nil
		}
	}
	if i, err := strconv.Atoi(name); err == nil && w.tab.links[i].name != "" {
		return i, nil
	}
	return 0, fmt.Errorf("interface %s does not exist", name)
}

// Close removes the neighbours that the watcher kept (see Options) and closes its
// sockets. Run must have returned, or never been called.
func (w *Watcher) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	for k, s := range w.wanted {
		if !s.foreign && !w.opts.KeepNeighbours {
			w.releases[k] = s.ours
		}
	}
	left := w.releases
	w.mu.Unlock()
	var errs []error
	for k, remove := range left {
		errs = append(errs, w.neigh.release(k, remove))
	}
	w.neigh.close()
	w.handle.Close()
	return errors.Join(append(errs, w.sub.close())...)
}

// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	defaultMax   = 1 << 21   // entries
	maxBytes     = 512 << 20 // of keys and values in memory
	openWithin   = 10 * time.Second
	reopenAfter  = 15 * time.Second // that the store failed
	lastFlush    = 5 * time.Second  // that the end waits for what is to be written
	applyAtOnce  = 1024
	unsettledMax = 1 << 16 // winners that wait to be applied, before others are heard on
)

// Options of Open.
type Options struct {
	// Dir is the state folder. It is made where it is missing, for root alone.
	Dir string
	// Node is this edge's name.
	Node string
	Log  *slog.Logger
	// Now is the wall clock; nil: time.Now.
	Now func() time.Time
	// Check says what is wrong with an entry that another edge told of; nil takes all that is within bounds.
	Check func(*Entry) error
	// Max is the most entries that are remembered; 0: 2097152.
	Max int
	// Peers are the other edges; nil: there are none.
	Peers *Peers
	// Cluster is an existing one, instead of Peers; nil: there is none.
	Cluster *Cluster
}

// Winner is what counts of a thing now. Where it doesn't hold, what it took back or outlasted is to go.
type Winner struct {
	Entry
	Holds bool
}

// Hub is one edge's store. Its methods may be used from several goroutines.
type Hub struct {
	o      Options
	lock   *os.File
	wake   chan struct{}
	apply  chan struct{}
	room   chan struct{} // is told when winners were applied
	toTell chan struct{} // is told when there is something for the cluster

	writing sync.Mutex // is held by who writes to the stream; taken before mu

	mu        sync.Mutex    // guards what follows
	disk      *disk         // nil: there is none now
	why       error         // why there is none
	opening   chan struct{} // closed when the opening that is under way is done; nil: there is none
	closed    bool
	all       map[ref]*registers
	count     int // entries
	bytes     int
	unwritten map[register]struct{} // the stream has them not, or older
	untold    map[register]struct{} // the cluster has them not, or older
	unsettled map[ref]struct{}      // the winner is to be applied
	over      map[register]time.Time
	stats     Stats
	links     map[string]*Link
	told      map[string]*lately
}

// Open opens the store of a folder, sets a damaged one aside, and takes over an earlier parry's files. A folder that another process has is
// ErrInUse. Where the disk is the trouble (full, slow, not writable) the hub works without it, in memory, and Run tries on.
func Open(ctx context.Context, o Options) (*Hub, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Max == 0 {
		o.Max = defaultMax
	}
	if !edgeForm.MatchString(o.Node) || len(o.Node) > maxEdge {
		return nil, fmt.Errorf("state: %q is no edge's name", o.Node)
	}
	h := &Hub{
		o: o, wake: make(chan struct{}, 1), apply: make(chan struct{}, 1), room: make(chan struct{}, 1), toTell: make(chan struct{}, 1),
		all: map[ref]*registers{}, unwritten: map[register]struct{}{}, untold: map[register]struct{}{}, unsettled: map[ref]struct{}{},
		over: map[register]time.Time{}, links: map[string]*Link{}, told: map[string]*lately{}, stats: Stats{Refused: map[string]uint64{}}, why: errors.New("the store is being opened"),
	}
	if err := h.lockFolder(); err != nil {
		return nil, err
	}
	done := h.startOpening(ctx)
	timer := time.NewTimer(openWithin)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		h.tell("open the store in time: the edge goes on without it until it is", fmt.Errorf("it takes longer than %v", openWithin))
	}
	return h, nil
}

func (h *Hub) lockFolder() error {
	if err := os.MkdirAll(h.o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	lock, err := os.Open(h.o.Dir)
	if err != nil {
		return fmt.Errorf("open the state folder: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("state folder %s: %w: give each edge a `state:` of its own", h.o.Dir, ErrInUse)
	} else if err != nil {
		err = fmt.Errorf("lock the state folder %s: %w", h.o.Dir, err)
	}
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	h.lock = lock
	return nil
}

// startOpening opens the store in the background, for nobody can end JetStream's opening. Whoever wants it, or the end, waits for what it gives.
func (h *Hub) startOpening(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	h.mu.Lock()
	h.opening = done
	h.mu.Unlock()
	go func() {
		defer close(done)
		d, err := h.openStore(context.WithoutCancel(ctx))
		h.mu.Lock()
		h.disk, h.why = d, err
		h.stats.Opens++
		h.mu.Unlock()
		if err != nil {
			h.tell("use the store: what is decided is enforced, and forgotten at a restart", err)
		} else if err := h.takeLegacy(ctx, h.Local()); err != nil {
			h.tell("take over an earlier parry's state yet", err)
		}
		h.mu.Lock()
		h.opening = nil
		h.mu.Unlock()
	}()
	return done
}

// open is the store, or why there is none.
func (h *Hub) open() (*disk, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("state folder %s: %w", h.o.Dir, ErrClosed)
	}
	if h.disk == nil {
		return nil, fmt.Errorf("state folder %s: %w: %w", h.o.Dir, ErrNotOpen, h.why)
	}
	return h.disk, nil
}

// Close ends the store, once Run has ended, and frees the folder.
func (h *Hub) Close() error {
	h.mu.Lock()
	opening := h.opening
	h.mu.Unlock()
	if opening != nil {
		<-opening
	}
	h.mu.Lock()
	d, closed := h.disk, h.closed
	h.disk, h.closed = nil, true
	h.mu.Unlock()
	if closed {
		return nil
	}
	if d != nil {
		d.close()
	}
	return h.lock.Close()
}

func (h *Hub) aside(path string) string {
	return path + ".unreadable-" + h.o.Now().UTC().Format("20060102T150405.000000000Z")
}

func (h *Hub) folder() string { return filepath.Join(h.o.Dir, diskFolder) }

// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"parry/pkg/query"
)

// Options of a Keeper.
type Options struct {
	Ask   Asker
	Store Store
	Now   func() uint64 // the edge's clock, ns
	Log   *slog.Logger
}

// Keeper asks servers, each from a goroutine of its own, and keeps what they said.
type Keeper struct {
	o       Options
	changed chan struct{} // other servers are to be asked
	slots   chan struct{} // one for each question under way

	mu      sync.Mutex // guards all below
	servers map[server]*cache
	cells   map[Cell]*cache
}

// New makes a Keeper that asks nobody yet.
func New(o Options) *Keeper {
	return &Keeper{o: o, changed: make(chan struct{}, 1), slots: make(chan struct{}, mostAtOnce)}
}

// server is one as it is asked: once, of however many pools it is.
type server struct {
	addr   netip.AddrPort
	family string
}

// cache is what is kept of one server.
type cache struct {
	server server
	kinds  []kind
	stop   context.CancelFunc // nil = it is not asked yet

	targets []Target // whose cells have its answers; guarded by Keeper.mu, as all below
	held    []held   // by kind, as all below
	failed  []int    // attempts since the last success
	told    []bool   // the log says that there is no answer
	errors  []uint64
	why     []error // the last one's
}

func newCache(s server) *cache {
	kinds := kindsOf(s.family)
	n := len(kinds)
	return &cache{server: s, kinds: kinds, held: make([]held, n), failed: make([]int, n), told: make([]bool, n), errors: make([]uint64, n), why: make([]error, n)}
}

// Set says which servers are asked from now on. What is known of one that stays is kept.
func (k *Keeper) Set(targets []Target) {
	k.mu.Lock()
	defer k.mu.Unlock()
	servers, cells := map[server]*cache{}, map[Cell]*cache{}
	for _, t := range targets {
		key := server{t.Addr, t.Family}
		c := servers[key]
		if c == nil {
			if c = k.servers[key]; c == nil {
				c = newCache(key)
			}
			c.targets = nil
			servers[key] = c
		}
		c.targets = append(c.targets, t)
		cells[t.Cell] = c
	}
	for key, c := range k.servers {
		if servers[key] == nil && c.stop != nil {
			c.stop()
		}
	}
	k.servers, k.cells = servers, cells
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// Fill tells another store what is known and fresh of the servers that it is to have: so a reload forgets nothing.
func (k *Keeper) Fill(s Store, targets []Target) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.o.Now()
	for _, t := range targets {
		c := k.servers[server{t.Addr, t.Family}]
		if c == nil {
			continue
		}
		for i := range c.held {
			if !c.held[i].fresh(now) {
				continue
			}
			if err := c.held[i].store(s, t.Cell, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run asks until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
		}
		k.mu.Lock()
		for _, c := range k.servers {
			if c.stop == nil {
				var work context.Context
				work, c.stop = context.WithCancel(ctx)
				wg.Go(func() { k.tend(work, c) })
			}
		}
		k.mu.Unlock()
	}
}

// tend asks one server, one question after the other, whichever is due first.
func (k *Keeper) tend(ctx context.Context, c *cache) {
	due := make([]time.Time, len(c.kinds)) // at once
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := 0
		for i := range due {
			if due[i].Before(due[next]) {
				next = i
			}
		}
		timer.Reset(time.Until(due[next]))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return
		case k.slots <- struct{}{}:
		}
		wait := k.refresh(ctx, c, next)
		<-k.slots
		due[next] = time.Now().Add(wait)
	}
}

// refresh asks one question and keeps the answer. Returns when to ask again.
func (k *Keeper) refresh(ctx context.Context, c *cache, i int) time.Duration {
	kind := c.kinds[i]
	work, cancel := context.WithTimeout(ctx, askTimeout)
	r, err := k.o.Ask(work, c.server.addr, kind.question)
	cancel()
	if ctx.Err() != nil {
		return 0 // it is not to be asked any more
	}
	var h held
	if err == nil {
		h, err = heldOf(r, kind.question)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if ctx.Err() != nil {
		return 0 // Set was quicker: its cell may be another's
	}
	if err == nil {
		h.got = k.o.Now()
		h.until = h.got + uint64(kind.life())
		for _, t := range c.targets {
			err = errors.Join(err, h.store(k.o.Store, t.Cell, i))
		}
	}
	if err != nil {
		return k.failure(c, i, err)
	}
	if c.told[i] {
		k.o.Log.Info("a server answers queries again", "server", c.targets[0].Server, "address", c.server.addr, "question", kind.question)
	}
	c.held[i], c.failed[i], c.told[i], c.why[i] = h, 0, false, nil
	return jittered(kind.every)
}

// failure notes an attempt that failed. k.mu is held. What was known stays until it is stale: then it is said.
func (k *Keeper) failure(c *cache, i int, err error) time.Duration {
	kind := c.kinds[i]
	c.errors[i]++
	c.failed[i]++
	c.why[i] = err
	if !c.told[i] && !c.held[i].fresh(k.o.Now()) {
		c.told[i] = true
		k.o.Log.Warn("a server does not answer a query: players' go to it", "server", c.targets[0].Server, "address", c.server.addr,
			"question", kind.question, "err", err)
	}
	return jittered(min(kind.every<<min(c.failed[i]-1, 8), max(longestWait, kind.every)))
}

func jittered(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2)
}

// Packets returns those of a fresh answer, nil if there is none.
func (k *Keeper) Packets(c Cell, kind int) [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.cells[c]
	if have == nil || kind < 0 || kind >= len(have.held) || !have.held[kind].fresh(k.o.Now()) {
		return nil
	}
	return have.held[kind].packets
}

// State is how one answer fares.
type State struct {
	Target
	Kind   query.Question
	Known  bool          // it was answered once
	Age    time.Duration // of what was answered last
	Fresh  bool          // it is served
	Errors uint64        // attempts that failed, since it is asked
	Why    error         // the last one did; nil = it did not
}

// States lists what is kept, in the order of cells.
func (k *Keeper) States() []State {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.o.Now()
	var all []State
	for _, c := range k.servers {
		for i, kind := range c.kinds {
			s := State{Kind: kind.question, Errors: c.errors[i], Why: c.why[i], Fresh: c.held[i].fresh(now)}
			if s.Known = len(c.held[i].packets) > 0; s.Known {
				s.Age = time.Duration(now - c.held[i].got)
			}
			for _, s.Target = range c.targets {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, State.compare)
	return all
}

// SPDX-License-Identifier: Apache-2.0

package handshake

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How servers are asked.
const (
	every       = 15 * time.Second // on the average; a quarter more or less each time
	soon        = time.Second      // after an attempt that failed
	longestWait = 15 * time.Second // between two that do
	askTimeout  = 1500 * time.Millisecond
	patience    = 2  // attempts in a row that may fail before what was known is forgotten; a refusal is enough
	mostAtOnce  = 64 // handshakes under way, over all servers
)

// MostPorts is how many of a server's ports are tried, until one answers.
const MostPorts = 4

// Target is a server as it is asked.
type Target struct {
	Pool, Server string
	Addr         netip.Addr
	Ports        []uint16 // any of which says what all take; not empty
}

func (t *Target) name() name { return name{t.Pool, t.Server} }

type name struct{ pool, server string }

// Asker shakes hands with a server once; Probe is one.
type Asker func(ctx context.Context, server netip.AddrPort) (Options, error)

// Settings of a Keeper.
type Settings struct {
	Ask Asker
	// Tell hears of each attempt that taught something.
	Tell func(Change)
}

// Change is what an attempt has taught.
type Change struct {
	Target
	Was   *Options // nil = it was not known
	Known *Options // nil = it is not known any more
	Again bool     // it had not been, for the server did not answer
	Why   error    // it does not
}

// Keeper asks servers, each from a goroutine of its own, and keeps what they said.
type Keeper struct {
	s       Settings
	changed chan struct{} // other servers are to be asked
	slots   chan struct{} // one for each handshake under way

	mu      sync.Mutex // guards all below
	servers map[name]*server
}

// New makes a Keeper that asks nobody yet.
func New(s Settings) *Keeper {
	return &Keeper{s: s, changed: make(chan struct{}, 1), slots: make(chan struct{}, mostAtOnce)}
}

// server is what is kept of one; guarded by Keeper.mu but for target.
type server struct {
	target Target
	stop   context.CancelFunc // nil = it is not asked yet
	known  *Options
	when   time.Time // it was learned
	failed int       // attempts since the last success
	lost   bool      // it does not answer, and that was told
	why    error     // the last attempt's; nil = it was a success
}

// Set says which servers are asked from now on. What is known of one that stays as it was is kept.
func (k *Keeper) Set(targets []Target) {
	k.mu.Lock()
	defer k.mu.Unlock()
	servers := map[name]*server{}
	for _, t := range targets {
		s := k.servers[t.name()]
		if s == nil || s.target.Addr != t.Addr || !slices.Equal(s.target.Ports, t.Ports) {
			s = &server{target: t}
		}
		servers[t.name()] = s
	}
	for key, s := range k.servers {
		if servers[key] != s && s.stop != nil {
			s.stop()
		}
	}
	k.servers = servers
	select {
	case k.changed <- struct{}{}:
	default:
	}
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
		for _, s := range k.servers {
			if s.stop == nil {
				var work context.Context
				work, s.stop = context.WithCancel(ctx)
				wg.Go(func() { k.tend(work, s) })
			}
		}
		k.mu.Unlock()
	}
}

// tend asks one server again and again.
func (k *Keeper) tend(ctx context.Context, s *server) {
	ports := slices.Clone(s.target.Ports)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
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
		o, err := k.ask(ctx, s.target.Addr, ports)
		<-k.slots
		if ctx.Err() != nil {
			return // it is not to be asked any more
		}
		timer.Reset(k.note(s, o, err))
	}
}

// ask tries ports until one answers, and has that one tried first from now on.
func (k *Keeper) ask(ctx context.Context, addr netip.Addr, ports []uint16) (Options, error) {
	var errs []error
	for i, port := range ports[:min(len(ports), MostPorts)] {
		work, cancel := context.WithTimeout(ctx, askTimeout)
		o, err := k.s.Ask(work, netip.AddrPortFrom(addr, port))
		cancel()
		if err == nil {
			ports[0], ports[i] = ports[i], ports[0]
			return o, nil
		}
		errs = append(errs, err)
	}
	return Options{}, errors.Join(errs...)
}

// note keeps what came of an attempt. Returns when to ask again.
func (k *Keeper) note(s *server, o Options, err error) time.Duration {
	k.mu.Lock()
	news, wait := Change{Target: s.target, Was: s.known, Why: err}, jittered(every)
	var tell bool
	if s.why = err; err == nil {
		tell = s.known == nil || *s.known != o
		news.Again = s.lost
		s.known, s.when, s.failed, s.lost = &o, time.Now(), 0, false
	} else {
		s.failed++
		wait = jittered(min(soon<<min(s.failed-1, 8), longestWait))
		if s.failed >= patience || errors.Is(err, errRefused) {
			tell = !s.lost
			s.known, s.lost = nil, true
		}
	}
	news.Known = s.known
	k.mu.Unlock()
	if tell {
		k.s.Tell(news)
	}
	return wait
}

func jittered(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

// State is what is known of a server.
type State struct {
	Target
	Known *Options      // nil = nothing
	Age   time.Duration // since it last said so
	Lost  bool          // it does not answer
	Why   error         // the last attempt failed; nil = it did not
}

// State is what is known of one server. False: it is not asked.
func (k *Keeper) State(pool, server string) (State, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.servers[name{pool, server}]
	if s == nil {
		return State{}, false
	}
	out := State{Target: s.target, Known: s.known, Lost: s.lost, Why: s.why}
	if s.known != nil {
		out.Age = time.Since(s.when)
	}
	return out, true
}

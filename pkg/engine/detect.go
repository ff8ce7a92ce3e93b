// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/detect"
	"parry/pkg/event"
	"parry/pkg/game"
	"parry/pkg/metrics"
	"parry/pkg/sample"
	"parry/pkg/state"
)

// maxVerdicts is how many of the detector's words may wait for who carries them out: more than the sources that it tracks can be made of.
const maxVerdicts = 1 << 16

// detection finds out by what is sampled who attacks (pkg/detect), and sees to it that such sources are blocked. The ring's reader
// feeds it and is never kept waiting: what is decided is carried out by a goroutine of its own (run).
type detection struct {
	edge    doubter
	lists   denyList
	decided func(loader.List, []loader.Entry) error // is told what was put on a list
	store   state.Store                             // nil: nothing is kept
	events  *event.Log
	log     *slog.Logger
	fault   func(what string, err error)
	reasons []string
	now     func() time.Time
	clock   func() uint64 // CLOCK_MONOTONIC, ns

	services atomic.Pointer[[]detect.Service] // by number
	names    atomic.Pointer[[]string]
	mode     atomic.Pointer[string]
	verdicts chan verdict
	blocked  chan struct{} // says that live sessions are to hear of blocks
	lost     atomic.Uint64 // that could not wait

	mu     sync.Mutex // guards what follows
	policy detect.Policy
	det    *detect.Detector
	feed   *detect.Feed

	book *evidenceBook

	// By run alone:
	saved  map[string]detect.Record // as the store has it
	told   int                      // decisions since the last tellRest
	untold map[string]int           // of them, without an event of their own
}

// doubter is the fast path, as far as it is told whose address is doubted.
type doubter interface {
	AddDoubt(loader.Doubt) error
	DelDoubt(p netip.Prefix, service uint32) error
	SweepDoubts() (int, error)
}

// denyList is the block list.
type denyList interface {
	Get(which loader.List, k loader.EntryKey) (loader.Entry, bool, error)
	Deny(entries []loader.Entry) error
	Recheck() error
}

var (
	_ doubter  = (*loader.Edge)(nil)
	_ denyList = (*loader.Lists)(nil)
)

// verdict is one word of the detector's.
type verdict struct {
	decision *detect.Decision
	sign     *detect.Sign
}

var _ sample.Analyser = (*detection)(nil)

// newDetection makes one that knows what an earlier daemon kept.
func newDetection(d *detection) (*detection, error) {
	d.verdicts, d.blocked = make(chan verdict, maxVerdicts), make(chan struct{}, 1)
	if d.decided == nil {
		d.decided = func(loader.List, []loader.Entry) error { return nil }
	}
	d.book, d.untold = newEvidenceBook(), map[string]int{}
	d.services.Store(&[]detect.Service{})
	d.names.Store(&[]string{})
	off := config.Off
	d.mode.Store(&off)
	return d, d.use(detect.Default())
}

// makeDetection makes the detector, before there is a fast path.
func (e *Engine) makeDetection(ctx context.Context) (err error) {
	e.detection, err = newDetection(&detection{
		store: e.memory.store, events: e.events, log: e.log, fault: e.memory.fault, now: time.Now, clock: loader.Monotonic,
	})
	if err == nil {
		e.detection.recall(ctx)
	}
	return err
}

// use has the detector go by a policy. What was seen so far is forgotten, if it is another one; offences are not.
func (d *detection) use(p detect.Policy) error {
	fresh, err := detect.New(p, detect.Handler{Block: func(v *detect.Decision) { d.tell(verdict{decision: v}) }, Sign: func(s *detect.Sign) { d.tell(verdict{sign: s}) }})
	if err != nil {
		return fmt.Errorf("detection: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.det != nil {
		now := d.now()
		if err := fresh.Import(d.det.Export(now), now); err != nil {
			return err
		}
	}
	d.policy, d.det = p, fresh
	d.feed = detect.NewFeed(fresh.Observe, d.service, d.reason)
	return nil
}

// configure has it go by a configuration. names are the services', by number.
func (d *detection) configure(c *config.Config, names []string) error {
	services := make([]detect.Service, len(names))
	for i, name := range names {
		s := c.Service(name)
		if s == nil {
			services[i].Off = true
			continue
		}
		services[i] = detect.Service{Game: name, Heard: s.Gate != "" && s.HasProtocol("tcp"), Off: !s.Detect, Rate: s.Strangers.SourcePacketsPerSecond}
		if p, ok := game.Lookup(s.Game); ok && !p.Open() {
			services[i].Game = s.Game
		}
	}
	mode := c.Detect.Mode
	if c.Samples != "always" {
		mode = config.Off
	}
	d.services.Store(&services)
	d.names.Store(&names)
	d.mode.Store(&mode)
	p := policyOf(&c.Detect)
	d.mu.Lock()
	same := samePolicy(&p, &d.policy)
	d.mu.Unlock()
	if same {
		return nil
	}
	return d.use(p)
}

func samePolicy(a, b *detect.Policy) bool { return a.Risk == b.Risk && a.Block == b.Block }

// policyOf is the detector's policy with what the configuration says of it.
func policyOf(c *config.Detect) detect.Policy {
	p, r, b := detect.Default(), &c.Risk, &c.Block
	p.Risk.Window, p.Risk.Connections, p.Risk.GameConnections, p.Risk.Robotic = r.Window, int(r.Connections), int(r.OneGame), int(r.Robotic)
	p.Risk.ConnectionsWeight, p.Risk.GameWeight, p.Risk.RobotWeight, p.Risk.Above = r.ConnectionsWeight, r.OneGameWeight, r.RoboticWeight, r.Above
	p.Block.First, p.Block.Times, p.Block.Longest, p.Block.Forgive, p.Block.Unproven = b.First, float64(b.Times), b.Longest, b.Forgive, b.Unproven
	return p
}

func (d *detection) service(number uint16) detect.Service {
	all := *d.services.Load()
	if int(number) >= len(all) {
		return detect.Service{Off: true}
	}
	return all[number]
}

func (d *detection) reason(number uint8) string {
	if int(number) < len(d.reasons) {
		return d.reasons[number]
	}
	return ""
}

func (d *detection) serviceName(number uint16) string {
	if all := *d.names.Load(); int(number) < len(all) && number > 0 {
		return all[number]
	}
	return ""
}

func (d *detection) is(mode string) bool { return *d.mode.Load() == mode }

// tell is called with d.mu held, by the ring's reader: who carries it out may be slow.
func (d *detection) tell(v verdict) {
	select {
	case d.verdicts <- v:
	default:
		d.lost.Add(1)
	}
}

// Packet takes in a sample.
func (d *detection) Packet(p *sample.Packet) {
	if d.is(config.Off) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.feed.Packet(p)
}

// Ended takes in the end of a session.
func (d *detection) Ended(e *sample.End) {
	if d.is(config.Off) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.feed.Ended(e)
}

// standing is how an address stands now.
func (d *detection) standing(a netip.Addr) (detect.Standing, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.det.Explain(a)
}

// metrics are its figures.
func (d *detection) metrics() metrics.Detect {
	d.mu.Lock()
	c := d.det.Counts()
	d.mu.Unlock()
	out := metrics.Detect{
		Observations: c.Observations, Decisions: c.Decisions, Suppressed: c.Suppressed, Evicted: c.Evicted, Lost: d.lost.Load(),
		Tracked: map[string]uint64{"strangers": uint64(c.Strangers), "sources": uint64(c.Sources), "prefixes": uint64(c.Prefixes)}, Delay: map[string]float64{},
	}
	for name, share := range map[string]float64{"0.5": 0.5, "0.99": 0.99} {
		if ms, n := d.book.delay(share); n > 0 {
			out.Delay[name] = ms / 1e3
		}
	}
	return out
}

// lifted is called when a person took blocks off: what was the detector's stays off for as long as it would have held.
func (d *detection) lifted(keys []loader.EntryKey) {
	for _, k := range keys {
		k.Prefix = k.Prefix.Masked()
		if k.Prefix.IsSingleIP() && k.Prefix.Addr().Is6() {
			k.Prefix = netip.PrefixFrom(sample.SourceOf(k.Prefix.Addr()), 64)
		}
		if !d.book.lift(k, d.now()) {
			continue
		}
		d.mu.Lock()
		d.det.Pardon(k.Prefix)
		d.mu.Unlock()
		d.fault("take back a doubt", d.edge.DelDoubt(k.Prefix, k.Service))
	}
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/game"
	"parry/pkg/health"
	"parry/pkg/sample"
)

const (
	watchLook     = 5 * time.Second
	watchRotates  = 2 * time.Minute // beyond the budget another share of sessions has its turn
	watchLeast    = 1.0 / 1024      // share
	watchReserve  = 0.9             // of budget and cells, when less than all are watched
	watchNear     = 0.7             // of them: nothing is changed for so little
	watchCellsMax = 0.75            // of the cells that are taken at most: a claim tries some in turn
)

// watching is how sessions are watched: which share of them, and how they fare.
type watching struct {
	judge *health.Judge // the look's alone

	mu      sync.Mutex // guards what follows
	share   float64
	period  uint32
	rotated time.Time
	look    watchLooked
}

// watchLooked is what a look at the watched sessions found.
type watchLooked struct {
	on       bool
	sessions int
	cells    int // of which a half takes one
	taken    int
	perSec   float64 // packets of those that were watched
	bad      int
	unknown  int // sessions that were more than the judge has room for
}

// watchSessions looks again and again how those fare that are watched, and sets how many are, until ctx ends.
func (e *Engine) watchSessions(ctx context.Context) error {
	if err := e.watchAs(1, uint32(time.Now().Unix())); err != nil {
		e.locked(func() { e.fault("say which sessions are watched", err) })
	}
	walk := pace{share: statusShare, floor: watchLook - watchLook/10}
	tick := time.NewTicker(watchLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			walk.do(timed(func() {
				err := e.lookAtWatched()
				e.locked(func() { e.fault("look at the watched sessions", err) })
			}))
		}
	}
}

// watchAs says to the fast path which sessions are watched.
func (e *Engine) watchAs(share float64, period uint32) error {
	w := &e.watching
	w.mu.Lock()
	w.share, w.period, w.rotated = share, period, time.Now()
	w.mu.Unlock()
	return e.edge.Watch(share, period)
}

func (e *Engine) lookAtWatched() error {
	e.mu.Lock()
	budget := e.cfg.WatchPacketsPerSecond
	e.mu.Unlock()
	w := &e.watching
	look := watchLooked{on: budget > 0, cells: e.edge.WatchCells()}
	if look.on {
		now := loader.Monotonic()
		var failed error
		events := w.judge.Look(now, e.watchedOnes(&look, &failed))
		if failed != nil {
			return failed
		}
		look.perSec, look.bad, look.unknown = w.judge.Rate(), w.judge.IsBad(), w.judge.Unknown()
		for _, ev := range events {
			e.events.Publish(healthEvent(&ev))
		}
	}
	w.mu.Lock()
	w.look = look
	share, period, rotated := w.share, w.period, w.rotated
	w.mu.Unlock()
	next := nextShare(share, look, float64(budget))
	if next == share && (share == 1 || time.Since(rotated) < watchRotates) {
		return nil
	}
	if next < 1 {
		period++
	}
	return e.watchAs(next, period)
}

// nextShare is which share of all sessions is to be watched, after one was.
func nextShare(share float64, look watchLooked, budget float64) float64 {
	if !look.on || look.sessions == 0 {
		return 1
	}
	use := max(look.perSec/budget, float64(look.taken)/(watchCellsMax*float64(look.cells))) // of what may be used, by this share
	all := use / share
	switch {
	case look.perSec == 0: // nothing is known of what was between this look and the one before
		return share
	case share == 1 && use <= 1, all <= watchReserve:
		return 1
	case use <= 1 && use >= watchNear:
		return share
	}
	return min(max(watchReserve/all, watchLeast), 1)
}

// watchedOnes are the watched sessions in the words of package health. look is told how many there are.
func (e *Engine) watchedOnes(look *watchLooked, failed *error) iter.Seq[*health.Session] {
	return func(yield func(*health.Session) bool) {
		names := e.naming()
		*failed = e.edge.WatchedSessions(func(s *loader.Session) bool {
			look.sessions++
			for _, t := range []*loader.Timing{s.UpTiming, s.DownTiming} {
				if t != nil {
					look.taken++
				}
			}
			if loader.SessionState(s.State) != loader.Proven {
				return true
			}
			return yield(names.patient(s))
		})
	}
}

// patient is a session whose health is looked at.
func (n *naming) patient(s *loader.Session) *health.Session {
	out := n.session(s)
	p := &health.Session{ID: s.ID, Client: s.Client, Service: out.Service, Game: out.Game, Up: wayOf(s.UpTiming), Down: wayOf(s.DownTiming)}
	c := n.configs[out.Service]
	if c == nil {
		return p // its service is no more: nobody has said what its bounds are
	}
	p.Class = c.Class
	if open, ok := game.Lookup(c.Game); ok && open.Open() && out.Named != nil {
		if g, ok := game.Lookup(out.Named.Game); ok {
			p.Class = g.Class
		}
	}
	p.Bounds = boundsOf(&c.Health, p.Class)
	return p
}

func boundsOf(h *config.Health, class string) health.Bounds {
	b := h.MMORPG
	switch class {
	case game.ClassFPS:
		b = h.FPS
	case game.ClassMOBA:
		b = h.MOBA
	case game.ClassRTS:
		b = h.RTS
	}
	return health.Bounds{Gap: b.LongestGap, Jitter: b.Jitter, Loss: b.LossPercent / 100}
}

func wayOf(t *loader.Timing) *health.Way {
	if t == nil {
		return nil
	}
	return &health.Way{Packets: t.Packets, Last: t.Last, Jitter: t.Jitter, Gap: t.RecentGap, Numbers: t.Numbers - min(t.Duplicates, t.Numbers), Lost: t.Lost}
}

// sequenceOf is how a service's game numbers its datagrams.
func sequenceOf(name string) loader.Sequence {
	p, _ := game.Lookup(name)
	switch p.Family {
	case "raknet":
		return loader.SequenceRakNet
	case "source":
		return loader.SequenceSource
	case "quake3":
		return loader.SequenceQuake3
	}
	return loader.SequenceNone
}

// healthEvent puts what a judge says into words.
func healthEvent(h *health.Event) event.Event {
	if h.Kind == health.Many {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(h.Services)) {
			all = append(all, fmt.Sprintf("%d at %s", h.Services[name], name))
		}
		return event.Event{
			Type: event.HealthMany, Text: fmt.Sprintf("%d more sessions fare badly, %d more are well again: %s", h.Bad, h.Good, strings.Join(all, ", ")),
			Data: map[string]any{"bad": h.Bad, "good": h.Good, "services": h.Services},
		}
	}
	s, way, to := &h.Session, "up", "to the server"
	if h.Down {
		way, to = "down", "to the player"
	}
	data := map[string]any{
		"session": s.ID, "client": s.Client, "game": s.Game, "class": s.Class, "way": way, "sign": string(h.Sign), "value": h.Value, "bound": h.Bound,
		"up": figures(s.Up), "down": figures(s.Down),
	}
	out := event.Event{Type: event.HealthBad, Service: s.Service, Data: data}
	what, unit := "gaps of", "ms"
	value, bound := h.Value, h.Bound
	switch h.Sign {
	case health.Jitter:
		what = "jitter of"
	case health.Loss:
		what, unit, value, bound = "loss of", "%", value*100, bound*100
	}
	out.Text = fmt.Sprintf("the session of %v fares badly: %s %.3g %s on the way %s, over %.3g %s of class %s", s.Client, what, value, unit, to, bound, unit, s.Class)
	if h.Kind == health.Good {
		out.Type, out.Text = event.HealthGood, fmt.Sprintf("the session of %v is well again, after %v of %s %s", s.Client, h.Lasted.Round(time.Second), strings.TrimSuffix(what, " of"), "on the way "+to)
		data["lasted_ms"] = h.Lasted.Milliseconds()
	}
	return out
}

func figures(w *health.Way) any {
	if w == nil {
		return nil
	}
	f := map[string]any{"packets": w.Packets, "jitter_ms": float64(w.Jitter) / 1e6, "longest_gap_ms": float64(w.Gap) / 1e6}
	if w.Numbers > 0 {
		f["numbers"], f["lost"] = w.Numbers, w.Lost
	}
	return f
}

// fineOf is what was timed of a direction, as analysts see it.
func fineOf(t *loader.Timing) *sample.Fine {
	if t == nil {
		return nil
	}
	return &sample.Fine{
		Packets: t.Packets, Jitter: t.Jitter, Gap: t.Gap, Bursts: t.Bursts, LongestBurst: t.LongestBurst, Drops: t.Drops,
		Numbered: t.Numbered, Numbers: t.Numbers, Lost: t.Lost, Reordered: t.Reordered, Duplicates: t.Duplicates,
		RecentGap: t.RecentGap, RecentNumbers: t.RecentNumbers, RecentLost: t.RecentLost,
	}
}

// timings are what was timed of sessions, by their ID.
type timings struct {
	of     map[string][2]*loader.Timing
	now    uint64
	detail bool // one session is asked for: all of it
}

// timings are those of the sessions that the filter picks and that are watched.
func (a edgeAPI) timings(f api.Filter) (timings, error) {
	t := timings{of: map[string][2]*loader.Timing{}, now: loader.Monotonic(), detail: f.ID != ""}
	names := a.e.naming()
	err := a.e.edge.WatchedSessions(func(s *loader.Session) bool {
		if out := names.session(s); f.Match(&out) {
			t.of[s.ID] = [2]*loader.Timing{s.UpTiming, s.DownTiming}
		}
		return true
	})
	return t, err
}

// put adds to a session what was timed of it.
func (t *timings) put(s *api.Session) {
	of := t.of[s.ID]
	t.way(s.Up, of[0])
	t.way(s.Down, of[1])
}

func (t *timings) way(d *api.Direction, of *loader.Timing) {
	if of == nil || d == nil {
		return
	}
	jitter, gap := float64(of.Jitter)/1e6, float64(of.Gap)/1e6
	d.JitterMS, d.LongestGapMS = &jitter, &gap
	if of.Numbered {
		reordered, duplicates := uint64(of.Reordered), uint64(of.Duplicates)
		d.Loss, d.Reordered, d.Duplicates = lossOf(of.Lost, of.Numbers-min(of.Duplicates, of.Numbers)), &reordered, &duplicates
	}
	if t.detail {
		d.Timing = timingOf(of, t.now)
	}
}

func lossOf(lost, came uint32) *float64 {
	if lost+came == 0 {
		return nil
	}
	share := float64(lost) / (float64(lost) + float64(came))
	return &share
}

func timingOf(t *loader.Timing, now uint64) *api.Timing {
	out := &api.Timing{
		WatchedMS: int64((now - min(now, t.Began)) / 1e6), Packets: t.Packets, Bursts: t.Bursts, LongestBurst: t.LongestBurst,
		RecentGapMS: float64(t.RecentGap) / 1e6, Drops: map[string]uint32{},
	}
	maps.Copy(out.Drops, t.Drops)
	if t.Numbered {
		out.RecentLoss = lossOf(t.RecentLost, t.RecentNumbers)
		lost, numbers := t.Lost, t.Numbers
		out.Lost, out.Numbers = &lost, &numbers
	}
	for i, n := range t.Sizes {
		out.Sizes = append(out.Sizes, api.Class{Below: classEnd(i, len(t.Sizes), 64), Packets: n})
	}
	for i, n := range t.Spacings {
		out.SpacingsMS = append(out.SpacingsMS, api.Class{Below: classEnd(i, len(t.Spacings), float64(1<<17)/1e6), Packets: n})
	}
	return out
}

// classEnd is where the i-th of n classes ends that double from the first on; nil: the last has no end.
func classEnd(i, n int, first float64) *float64 {
	if i == n-1 {
		return nil
	}
	end := first * float64(uint64(1)<<i)
	return &end
}

// watched is how sessions are watched now, for status and metrics.
func (e *Engine) watched(full uint64) api.Watching {
	w := &e.watching
	w.mu.Lock()
	defer w.mu.Unlock()
	out := api.Watching{Full: full}
	if w.look.on {
		out = api.Watching{
			Share: w.share, Sessions: w.look.sessions, PacketsPerSecond: w.look.perSec, Bad: w.look.bad, Full: full, Cells: w.look.cells, CellsTaken: w.look.taken,
		}
	}
	return out
}

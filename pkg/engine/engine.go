// SPDX-License-Identifier: Apache-2.0

// Package engine runs an edge: it wires configuration, next hops, the fast path, the API and the metrics together.
// Nothing imports it but cmd.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/health"
	"parry/pkg/hostfacts"
	"parry/pkg/nexthop"
	"parry/pkg/roster"
	"parry/pkg/sample"
)

// Options of Run.
type Options struct {
	Config    string // path
	Version   string
	Log       *slog.Logger
	LostLines func() uint64 // of the log, which could not be written
	Getenv    func(string) string
	Trial     *Trial       // it is on trial; nil: it stays
	Ready     func() error // is told once it runs; nil: nobody is
}

// Engine is one running edge.
type Engine struct {
	opts       Options
	log        *slog.Logger
	started    time.Time
	watcher    *nexthop.Watcher
	lists      lists
	census     census
	answers    answers
	handshakes handshakes
	captures   captures
	analysts   analysts
	detection  *detection
	watching   watching
	roster     *roster.Roster // what live sessions are named
	historian  *historian     // what sessions there were
	events     *event.Log
	memory     *memory
	sharing    *sharing
	sentry     *sentry
	// reloaded tells who waits by the configuration's times that they may be others.
	reloaded chan struct{}

	mu      sync.Mutex // guards all below; edge: what makes and installs generations, attaches, and writes hops and links
	cfg     *config.Config
	gates   *gates
	places  *places
	rules   *rules
	edge    *loader.Edge
	ifaces  []loader.Interface      // that the fast path is to be on
	broken  map[string]string       // interface name: why it is not
	wanted  map[nexthop.Key]bool    // next hops that are kept fresh
	plan    *loader.Plan            // the one that runs
	served  []nexthop.Key           // next hops of the servers
	health  vitals                  // what metrics tell of the daemon
	links   map[int]loader.LinkInfo // as last told to the fast path
	down    map[nexthop.Key]bool    // next hops that can't be reached
	shadows shadows                 // what was promoted; cfg has it switched on
}

type vitals struct {
	reloads, failedReloads uint64
	lastReload             time.Time
	lastReloadOK           bool
	lastSweep              time.Duration
	errors                 map[string]uint64
}

// Run runs an edge until ctx ends. What it attached stays attached: Detach ends it.
func Run(ctx context.Context, o Options) (err error) {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	gates, err := gatesFor(cfg, nil)
	if err != nil {
		return err
	}
	places, err := placesFor(cfg, nil)
	if err != nil {
		return err
	}
	if err := checkPeers(cfg); err != nil {
		return err
	}
	if err := prepareHost(cfg, o.Log); err != nil {
		return err
	}
	e := &Engine{
		opts: o, log: o.Log, started: time.Now(), cfg: cfg, gates: gates, places: places, reloaded: make(chan struct{}, 1), broken: map[string]string{}, wanted: map[nexthop.Key]bool{},
		links: map[int]loader.LinkInfo{}, down: map[nexthop.Key]bool{}, health: vitals{lastReloadOK: true, errors: map[string]uint64{}},
		captures: captures{memory: sample.NewMemory()}, roster: roster.New(int(cfg.Sizes.Sessions)),
	}
	e.watching.judge = health.New(int(cfg.Sizes.Watched))
	e.historian = newHistorian(cfg, e.roster, o.Log, e.started)
	e.historian.bounds, e.historian.witness = e.historyBounds, e.witnessed
	e.historian.fault = func(what string, err error) { e.locked(func() { e.fault(what, err) }) }
	// The watcher's sockets belong to the namespace of the thread that opens them: the process's own.
	if e.watcher, err = nexthop.New(o.Log, nexthop.Options{KeepNeighbours: true}); err != nil {
		return fmt.Errorf("watch links and routes: %w", err)
	}
	defer func() { err = errors.Join(err, e.watcher.Close()) }()
	e.remember(ctx)
	if err := e.makeDetection(ctx); err != nil {
		return err
	}
	e.analysts.all = []sample.Analyser{e.historian, e.roster, e.detection} // the roster forgets a session as it ends
	defer func() { err = errors.Join(err, e.memory.close()) }()
	work, stop := context.WithCancel(ctx)
	var group tasks
	group.start(stop, func() error { return e.watcher.Run(work) })
	if err := e.attach(); err != nil {
		stop()
		return errors.Join(err, group.wait(), e.close(), e.undo())
	}
	if err := e.serve(work, stop, &group); err != nil {
		stop()
		return errors.Join(err, group.wait(), e.close())
	}
	<-work.Done()
	e.events.Publish(event.Event{Type: event.DaemonStop, Text: "parry stops; what it attached goes on forwarding"})
	e.events.End() // whoever follows them is done, and so is the API
	err = group.wait()
	e.log.Info("parry stops; what it attached goes on forwarding", "detach", "parry detach --pin "+cfg.Pin)
	return errors.Join(err, e.close())
}

func (e *Engine) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.answers.close()
	if e.edge == nil {
		return err
	}
	return errors.Join(err, e.edge.Close())
}

// undo removes what a first start made before it failed: nobody would run it, and `parry block` would take it for an
// edge. What was adopted stays as it is.
func (e *Engine) undo() error {
	if e.edge == nil || e.edge.Adopted() {
		return nil
	}
	_, err := loader.Detach(e.cfg.Pin)
	return err
}

// attach adopts or makes the fast path and puts it on the interfaces.
func (e *Engine) attach() (err error) {
	c := e.cfg
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ifaces, err = chooseInterfaces(c, e.watcher); err != nil {
		return err
	}
	if err := raiseMemlock(); err != nil {
		return err
	}
	if e.edge, err = loader.Open(loader.Options{Pin: c.Pin, Sizes: sizesOf(c), Log: e.log}); err != nil {
		return err
	}
	e.lists = lists{e.edge.Lists()}
	e.detection.edge, e.detection.lists, e.detection.reasons = e.edge, e.lists.l, e.edge.Names().Reasons
	e.sharing.regulars = e.edge
	e.sharing.lists, e.sharing.lifted, e.detection.decided = e.lists.l, e.detection.book.keepOff, e.sharing.put
	e.sentry.edge, e.memory.edge, e.memory.taught = e.edge, e.edge, e.edge.Adopted()
	if err := e.openAnswers(); err != nil {
		return err
	}
	e.openHandshakes()
	if err := e.tellLinks(); err != nil {
		return err
	}
	if !e.edge.Adopted() {
		e.fault("enforce again what was remembered", e.sharing.restore())
	}
	if err := e.install(e.effective(c), e.ifaces); err != nil {
		return err
	}
	if e.edge.Adopted() {
		e.fault("compare the lists with what is remembered", e.sharing.reconcile())
	}
	e.settle(c)
	e.fault("remember who has played", e.memory.teach())
	e.events.Publish(event.Event{
		Type: event.DaemonStart, Text: fmt.Sprintf("parry %s runs on %s", e.opts.Version, c.Node),
		Data: map[string]any{"version": e.opts.Version, "interfaces": names(e.ifaces), "services": len(c.Services), "adopted": e.edge.Adopted()},
	})
	e.tellPlaces()
	e.log.Info("parry runs", "version", e.opts.Version, "node", c.Node, "interfaces", names(e.ifaces), "services", len(c.Services),
		"enforce", c.Enforce, "adopted", e.edge.Adopted(), "took_ms", time.Since(e.started).Milliseconds(), "pid", os.Getpid(),
		"go", runtime.Version())
	return nil
}

func names(ifaces []loader.Interface) []string {
	var all []string
	for _, i := range ifaces {
		all = append(all, i.Name)
	}
	return all
}

// planOf is a configuration's plan as routes and gates are now. e.mu is held.
func (e *Engine) planOf(c *config.Config, ifaces []loader.Interface) (*loader.Plan, []nexthop.Key, error) {
	plan, keys, err := planOf(c, e.watcher, ifaces, e.log)
	if err != nil {
		return nil, nil, err
	}
	plan.Gates = e.gates.used(c)
	plan.Samples = e.captures.level(c)
	plan.Told = c.Samples == "always" && len(e.analysts.all) > 0
	plan.Doubts = plan.Told && c.Detect.Mode == config.DetectBlock
	plan.Watch = c.WatchPacketsPerSecond > 0
	e.places.put(c, plan)
	if plan.Rules, err = planRules(e.rules.all, e.edge.RuleExpiry); err != nil {
		return nil, nil, err
	}
	e.putOnTrial(c, plan)
	return plan, keys, nil
}

// install makes a configuration the one that packets meet. e.mu is held. On error the one before still runs.
func (e *Engine) install(c *config.Config, ifaces []loader.Interface) error {
	plan, keys, err := e.planOf(c, ifaces)
	if err != nil {
		return err
	}
	before := e.edge.ServiceNames()
	err = e.swap(c, plan, ifaces)
	if errors.Is(err, loader.ErrRules) { // of another parry or kernel: an edge protects without them, too
		e.fault("use the operator's rules, which are left out", err)
		plan.Rules = nil
		err = e.swap(c, plan, ifaces)
	}
	if err != nil {
		return err
	}
	e.fault("give players who were here before time to be known", e.grace(before))
	e.cfg, e.ifaces, e.plan, e.served = c, ifaces, plan, keys
	e.want(keys)
	for name, why := range uncached(c) {
		e.log.Warn("queries of a service go to its servers", "service", name, "why", why)
	}
	e.fault("have the detector go by the configuration", e.detection.configure(c, e.edge.ServiceNames()))
	e.fault("tell services' states", e.sentry.configure(c, linkBPS(ifaces), e.memory.recalled))
	return nil
}

// older is how long a service that is new to the edge takes up sessions in the middle of play: who plays on when the edge comes
// sends something within that.
const older = 10 * time.Second

// grace gives services that the edge did not know before that time. e.mu is held.
func (e *Engine) grace(before []string) error {
	if e.edge.Adopted() && e.plan == nil { // the one before knew them
		return nil
	}
	var errs []error
	for number, name := range e.edge.ServiceNames() {
		if number > 0 && !slices.Contains(before, name) {
			errs = append(errs, e.edge.SetGrace(uint16(number), older))
		}
	}
	return errors.Join(errs...)
}

// linkBPS is what the way in carries, in bits a second: known where there is one way, and a NIC says so.
func linkBPS(ifaces []loader.Interface) uint64 {
	if len(ifaces) != 1 {
		return 0
	}
	for _, i := range hostfacts.Read("/").Interfaces {
		if i.Name == ifaces[0].Name {
			return uint64(i.Mbits) * 1e6
		}
	}
	return 0
}

// reload reads the configuration again: all of it, or nothing.
func (e *Engine) reload() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health.lastReload = time.Now()
	err := e.tryReload()
	e.health.lastReloadOK = err == nil
	if err != nil {
		e.health.failedReloads++
		e.events.Publish(event.Event{Type: event.ReloadRefused, Text: "the configuration is refused, the old one stays: " + err.Error()})
		e.log.Error("the configuration is refused, the old one stays", "err", err)
		return err
	}
	e.health.reloads++
	e.events.Publish(event.Event{
		Type: event.Reload, Text: "the configuration is reloaded",
		Data: map[string]any{"services": len(e.cfg.Services), "enforce": e.cfg.Enforce, "interfaces": names(e.ifaces)},
	})
	e.log.Info("the configuration is reloaded", "services", len(e.cfg.Services), "enforce", e.cfg.Enforce, "interfaces", names(e.ifaces))
	return nil
}

func (e *Engine) tryReload() error {
	c, err := config.Load(e.opts.Config)
	if err != nil {
		return err
	}
	for _, f := range []struct{ key, old, now string }{
		{"pin", e.cfg.Pin, c.Pin}, {"api.socket", e.cfg.API.Socket, c.API.Socket}, {"metrics", e.cfg.Metrics, c.Metrics}, {"state", e.cfg.State, c.State},
	} {
		if f.old != f.now {
			return c.At(f.key, "", "%s can't change while parry runs (%s now): stop it, change it and start it again; sessions outlive that", f.key, f.old)
		}
	}
	if c.Node != e.cfg.Node || !reflect.DeepEqual(c.Peers, e.cfg.Peers) {
		return c.At("peers", "", "node and peers can't change while parry runs: stop it, change them and start it again; sessions outlive that")
	}
	ifaces, err := chooseInterfaces(c, e.watcher)
	if err != nil {
		return err
	}
	if c.Sizes != e.cfg.Sizes {
		e.log.Warn("sizes stay as they are while the maps hold state; `parry detach` and a new start apply them")
	}
	before, known := e.gates, e.places
	if e.gates, err = gatesFor(c, nil); err == nil {
		if e.places, err = placesFor(c, known); err == nil {
			err = e.install(e.effective(c), ifaces)
		}
	}
	if err != nil {
		e.gates, e.places = before, known
		return err
	}
	e.settle(c)
	e.sharing.again()
	if e.places.db != known.db {
		e.tellPlaces()
	}
	select {
	case e.reloaded <- struct{}{}:
	default:
	}
	return e.lists.l.Bump()
}

// fault counts an error that the edge lives on with, and says it.
func (e *Engine) fault(what string, err error) {
	if err == nil {
		return
	}
	e.health.errors[what]++
	e.log.Error("could not "+what, "err", err)
}

// onHangup calls fn for every SIGHUP.
func onHangup(ctx context.Context, fn func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	defer signal.Stop(c)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c:
			fn()
		}
	}
}

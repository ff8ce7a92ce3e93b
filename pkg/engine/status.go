// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/attack"
	"parry/pkg/config"
	"parry/pkg/geo"
	"parry/pkg/metrics"
)

// edgeAPI is the engine in the words of the API.
type edgeAPI struct {
	lists
	e *Engine
}

var (
	_ api.Edge       = edgeAPI{}
	_ metrics.Source = (*Engine)(nil)
)

// view is one look at the edge.
type view struct {
	counts   map[string]*loader.ServiceCount // by service name; "" = the host's own traffic
	sessions map[string]map[loader.SessionState]uint64
	fills    []loader.Fill
	faults   map[string]uint64
}

// look takes a view. e.mu need not be held, and should not be: with a million sessions it takes a while.
func (e *Engine) look() (*view, error) {
	counters, err := e.edge.Counters()
	if err != nil {
		return nil, err
	}
	names := e.edge.ServiceNames()
	v := &view{counts: map[string]*loader.ServiceCount{}, sessions: map[string]map[loader.SessionState]uint64{}}
	for i := range counters {
		v.counts[names[i]] = &counters[i]
	}
	sessions, err := e.census.countSessions(e.edge)
	if err != nil {
		return nil, err
	}
	for i, states := range sessions {
		if i < len(names) {
			v.sessions[names[i]] = states
		}
	}
	if v.fills, err = e.census.countFills(e.edge); err != nil {
		return nil, err
	}
	v.faults, err = e.edge.Faults()
	return v, err
}

func add(to map[string]uint64, reasons map[string]loader.ReasonCount, shadow bool) {
	for name, n := range reasons {
		if v := n.Packets; !shadow && v > 0 {
			to[name] += v
		}
		if v := n.ShadowPackets; shadow && v > 0 {
			to[name] += v
		}
	}
}

// Status is the edge at this moment.
func (a edgeAPI) Status(context.Context) (api.Status, error) {
	e := a.e
	v, err := e.look()
	if err != nil {
		return api.Status{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := api.Status{
		Version: e.opts.Version, Node: e.cfg.Node, Enforce: e.cfg.Enforce, UptimeMS: time.Since(e.started).Milliseconds(), Time: time.Now().UTC(),
		Interfaces: e.interfaces(), Services: []api.Service{}, Drops: map[string]uint64{}, WouldDrop: map[string]uint64{}, Tables: e.tables(v),
	}
	for _, c := range v.counts {
		add(s.Drops, c.Reasons, false)
		add(s.WouldDrop, c.Reasons, true)
	}
	host := v.counts[""]
	s.Host = api.Traffic{Packets: host.Up.Packets - host.Drop, Bytes: host.Up.Bytes}
	for _, r := range host.Reasons {
		s.Host.Bytes -= r.Bytes
	}
	answers := e.answerStates()
	for i := range e.cfg.Services {
		c := &e.cfg.Services[i]
		out := e.service(c, v)
		out.Answers = answersOf(answers.of(e.cfg, c))
		s.Services = append(s.Services, out)
	}
	s.Promoted = []api.ShadowThing{}
	for _, what := range e.promotedNames() {
		t, err := e.thing(what)
		if err != nil {
			return s, err
		}
		s.Promoted = append(s.Promoted, t)
	}
	if s.Samples, err = e.samples(); err != nil {
		return s, err
	}
	s.Watching = e.watched(v.faults["watch_full"])
	s.History = e.historian.state()
	s.Strangers.GreylistFill, s.Strangers.SketchLoad, s.Strangers.UnprovenSlots = e.sentry.shared()
	for _, states := range v.sessions {
		s.Strangers.Unproven += states[loader.Unproven]
	}
	return s, nil
}

func (e *Engine) interfaces() []api.Interface {
	all := []api.Interface{}
	for _, i := range e.ifaces {
		out := api.Interface{Name: i.Name, Mode: "native", Protected: e.broken[i.Name] == "" && e.edge.Attached(i), Detail: e.broken[i.Name]}
		if i.Generic {
			out.Mode = "generic"
		}
		if !out.Protected && out.Detail == "" {
			out.Detail = "the program is not attached: somebody took it off; parry puts it back within a second"
		}
		all = append(all, out)
	}
	return all
}

func (e *Engine) service(c *config.Service, v *view) api.Service {
	n := v.counts[c.Name]
	if n == nil {
		n = &loader.ServiceCount{}
	}
	s := api.Service{
		Name: c.Name, Protocol: c.Protocol, Game: c.Game, Class: c.Class, Forward: c.Forward, Enforce: e.cfg.Enforce && *c.Enforce,
		Packets: n.Up.Packets + n.Down.Packets, Bytes: n.Up.Bytes + n.Down.Bytes,
		Up:    &api.Traffic{Packets: n.Up.Packets, Bytes: n.Up.Bytes},
		Down:  &api.Traffic{Packets: n.Down.Packets, Bytes: n.Down.Bytes},
		Drops: map[string]uint64{}, WouldDrop: map[string]uint64{}, Listen: []string{},
	}
	standing, strangers := e.sentry.standing(c.Name)
	s.State, s.GateState, s.Reason, s.Usual, s.Strangers = standing.State.String(), standing.Gates.String(), standing.Why, standing.Usual.Strangers, strangers
	if standing.Why != "" {
		since := standing.Since.UTC()
		s.Since = &since
	}
	for _, l := range c.Listen {
		s.Listen = append(s.Listen, l.String())
	}
	for _, count := range v.sessions[c.Name] {
		s.Sessions += count
	}
	add(s.Drops, n.Reasons, false)
	add(s.WouldDrop, n.Reasons, true)
	return s
}

func (e *Engine) tables(v *view) []api.Table {
	all := []api.Table{}
	for _, f := range v.fills {
		all = append(all, api.Table{Name: f.Name, Entries: f.Entries, Capacity: f.Size})
	}
	if n, _ := e.places.entries(); n > 0 {
		all = append(all, api.Table{Name: "geo_prefixes", Entries: n, Capacity: 2 * geo.MaxEntries})
	}
	return all
}

// Servers lists the servers of all pools.
func (a edgeAPI) Servers(ctx context.Context) ([]api.Server, error) {
	count := map[netip.Addr]uint64{}
	e := a.e
	err := e.edge.Sessions(func(s *loader.Session) bool {
		count[s.Server.Addr()]++
		return ctx.Err() == nil
	})
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	all := []api.Server{}
	for _, p := range e.cfg.Pools {
		for _, s := range p.Servers {
			out := api.Server{Name: s.Name, Pool: p.Name, Address: s.Endpoint().String(), Region: s.Region, State: "up", Sessions: count[s.Address], TCP: e.tcpOf(p.Name, s.Name)}
			if s.Weight == 0 {
				out.State = "draining"
			}
			if s.Capacity > 0 {
				n := int64(s.Capacity)
				out.Capacity = &n
			}
			all = append(all, out)
		}
	}
	return all, nil
}

// Reload reads the configuration again.
func (a edgeAPI) Reload(context.Context) error { return api.Mark(api.ErrConfig, a.e.reload()) }

// Snapshot is what metrics show.
func (e *Engine) Snapshot(context.Context) (*metrics.Snapshot, error) {
	v, err := e.look()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	host := v.counts[""]
	s := &metrics.Snapshot{
		Version: e.opts.Version, GoVersion: runtime.Version(), Enforce: e.cfg.Enforce, Host: *direction(host.Up, host, false),
		Drops: map[string]uint64{}, WouldDrop: map[string]uint64{}, Daemon: e.daemon(v),
	}
	add(s.Drops, host.Reasons, false)
	add(s.WouldDrop, host.Reasons, true)
	for _, i := range e.interfaces() {
		s.Interfaces = append(s.Interfaces, metrics.Interface{Name: i.Name, Mode: i.Mode, Protected: i.Protected})
	}
	for _, t := range e.tables(v) {
		s.Maps = append(s.Maps, metrics.Map{Name: t.Name, Entries: t.Entries, Capacity: t.Capacity})
	}
	answers := e.answerStates()
	for i := range e.cfg.Services {
		c := &e.cfg.Services[i]
		out := e.metricsOf(c, v)
		out.Answers = answerMetrics(answers.of(e.cfg, c))
		s.Services = append(s.Services, out)
	}
	told, err := e.samples()
	if err != nil {
		return nil, err
	}
	s.Samples = map[string]map[string]uint64{}
	for kind, n := range told.Kinds {
		s.Samples[kind] = map[string]uint64{"taken": n.Taken, "lost": n.Lost, "passed_over": n.PassedOver}
	}
	s.Detect = e.detection.metrics()
	s.State = e.sharing.metrics()
	s.Strangers.GreylistFill, s.Strangers.SketchLoad, s.Strangers.UnprovenSlots = e.sentry.shared()
	s.Watching = metrics.Watching(e.watched(v.faults["watch_full"]))
	return s, nil
}

func direction(d loader.Direction, c *loader.ServiceCount, verdicts bool) *metrics.Direction {
	out := &metrics.Direction{Packets: d.Packets, Bytes: d.Bytes, Verdicts: map[string]uint64{}}
	if !verdicts {
		out.Verdicts["pass"], out.Verdicts["drop"] = c.Pass, c.Drop
		return out
	}
	out.Verdicts["pass"], out.Verdicts["drop"], out.Verdicts["tx"], out.Verdicts["redirect"] = c.Pass, c.Drop, c.TX, c.Redirect
	return out
}

func (e *Engine) metricsOf(c *config.Service, v *view) metrics.Service {
	n := v.counts[c.Name]
	if n == nil {
		n = &loader.ServiceCount{}
	}
	l, prefix, all := c.Limits.Source, c.Limits.Prefix, c.Limits.Service
	out := metrics.Service{
		Name: c.Name, Enforce: e.cfg.Enforce && *c.Enforce, Up: direction(n.Up, n, true),
		Down:  &metrics.Direction{Packets: n.Down.Packets, Bytes: n.Down.Bytes},
		Drops: map[string]uint64{}, WouldDrop: map[string]uint64{}, Sessions: map[string]uint64{},
		Limits: map[string]uint64{
			"packets_per_second": l.PacketsPerSecond, "bytes_per_second": l.BytesPerSecond, "new_sessions": uint64(l.NewSessions), "sessions": uint64(l.Sessions),
			"prefix.packets_per_second": prefix.PacketsPerSecond, "prefix.bytes_per_second": prefix.BytesPerSecond, "prefix.new_sessions": uint64(prefix.NewSessions),
			"service.packets_per_second": all.PacketsPerSecond, "service.bytes_per_second": all.BytesPerSecond, "service.new_sessions": uint64(all.NewSessions),
		},
	}
	standing, strangers := e.sentry.standing(c.Name)
	out.StrictGates = standing.Gates == attack.Attack
	out.State, out.Usual, out.Strangers, out.Moves = standing.State.String(), standing.Usual.Strangers, strangers, map[string]uint64{}
	for state, n := range standing.Moves {
		out.Moves[state.String()] = n
	}
	for state, count := range v.sessions[c.Name] {
		out.Sessions[string(state)] = count
	}
	add(out.Drops, n.Reasons, false)
	add(out.WouldDrop, n.Reasons, true)
	return out
}

func (e *Engine) daemon(v *view) metrics.Daemon {
	d := metrics.Daemon{
		Uptime: time.Since(e.started), Reloads: e.health.reloads, FailedReloads: e.health.failedReloads, LastReload: e.health.lastReload,
		LastReloadOK: e.health.lastReloadOK, LastSweep: e.health.lastSweep, NetlinkResyncs: e.watcher.Resyncs(), Errors: map[string]uint64{},
	}
	asked := e.answers.responder.Counts()
	d.AskedPackets = asked.Packets
	d.Asked = map[string]uint64{"answered": asked.Answered, "refused": asked.Refused, "stale": asked.Stale, "failed": asked.Failed}
	for name, n := range v.faults {
		d.Errors[name] = n
	}
	for name, n := range e.health.errors {
		d.Errors[name] += n
	}
	d.Errors["write the log"] = e.opts.LostLines()
	return d
}

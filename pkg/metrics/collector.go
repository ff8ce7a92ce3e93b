// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds how long one scrape may read maps; Prometheus gives up after 10 s by default.
const scrapeTimeout = 5 * time.Second

// NoService is the value of the label service for packets that belong to none; a service can't be named so.
const NoService = "_none"

// descs holds every metric that exists, so that Describe, Collect and the reference name the same ones.
type descs struct {
	build, enforce, iface, state, serviceEnforce                *prometheus.Desc
	packets, bytes, verdicts, drops, wouldDrop, sessions, limit *prometheus.Desc
	answers, answerAge, answerErrs, asked, askedPackets         *prometheus.Desc
	strangers, moves, usual, strict                             *prometheus.Desc
	greylist, sketch, slots, samples                            *prometheus.Desc
	detected, tracked, detectDelay                              *prometheus.Desc
	watchShare, watched, watchedRate, watchedBad                *prometheus.Desc
	watchCells, watchTaken, watchFull                           *prometheus.Desc
	hostPackets, hostBytes                                      *prometheus.Desc
	entries, capacity                                           *prometheus.Desc
	uptime, reloads, reloadOK, reloadTime, sweep, resyncs, errs *prometheus.Desc
	remembered                                                  stateDescs
}

func newDescs() descs {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("parry_"+name, help, labels, nil)
	}
	return descs{
		build:   d("build_info", "Always 1; the labels say what runs.", "version", "goversion"),
		enforce: d("edge_enforce", "1 if policy drops packets, 0 if it only counts what it would drop."),
		iface:   d("interface_protected", "1 if the program is attached to the interface.", "interface", "mode"),

		state:          d("service_state", "1 for the state that the service is in: normal, elevated or attack.", "service", "state"),
		serviceEnforce: d("service_enforce", "1 if policy drops packets of this service.", "service"),
		packets:        d("service_traffic_packets_total", "Packets that came for a service, dropped ones included; up: from players, down: from servers.", "service", "direction"),
		bytes:          d("service_traffic_bytes_total", "Bytes that came for a service, dropped ones included; up: from players, down: from servers.", "service", "direction"),
		verdicts:       d("service_verdict_packets_total", "Packets of a service by verdict.", "service", "direction", "verdict"),
		drops:          d("service_drop_packets_total", "Packets dropped by reason; service is _none for packets that belong to none.", "service", "reason"),
		wouldDrop:      d("service_would_drop_packets_total", "Packets that would have been dropped if enforce were on.", "service", "reason"),
		sessions:       d("service_sessions", "Sessions in the table by state.", "service", "state"),
		limit:          d("service_limit", "Configured limits of a service under their names in the configuration; 0 is unlimited.", "service", "limit"),

		answers:      d("service_answers", "Servers whose answers to queries are kept, by kind; queries go to those whose answer is stale.", "service", "kind", "state"),
		answerAge:    d("service_answer_oldest_seconds", "Age of the oldest answer that is kept, by kind.", "service", "kind"),
		answerErrs:   d("service_answer_errors_total", "Attempts to ask a server that failed, by kind of answer.", "service", "kind"),
		asked:        d("daemon_asked_total", "Queries that the fast path leaves to the daemon (their answers take several packets), by result: answered, refused (the budget was used up), stale, failed.", "result"),
		askedPackets: d("daemon_asked_packets_total", "Packets that the daemon sent as answers."),
		strangers:    d("service_stranger_packets_total", "First packets of no session by what became of them (seen is all of them), and sessions by how they were proven (admitted, strong, weak, evicted).", "service", "outcome"),
		moves:        d("service_state_changes_total", "How often a service came to be in a state, since the daemon's start.", "service", "state"),
		usual:        d("service_usual_strangers_per_second", "What a service is used to; thresholds of its state are multiples of it.", "service"),
		strict:       d("service_gates_strict", "1 while strangers have to prove more than usual: the greylist and the edge's own cookies work.", "service"),
		greylist:     d("stranger_greylist_fill_ratio", "How full the greylist is; over 0.5, many first packets pass at first sight."),
		sketch:       d("stranger_sketch_load_ratio", "Noise of the sketch that limits strangers, as a share of their limit."),
		slots:        d("stranger_slots", "Sessions that strangers can have at a time, each of IPv4 and IPv6."),
		samples:      d("samples_total", "Single packets that were to be told of, by kind (capture: somebody asked; drop, first, turn: as `samples` says) and result: taken, lost (the ring had no room), passed_over (more than their rate).", "kind", "result"),

		detected:    d("detect_total", "What the detector of attackers did: observation (that it took in), decision, suppressed (questions of unproven sources beyond their rate), evicted (sources that made room for others), lost (decisions that could not be carried out in time).", "what"),
		tracked:     d("detect_tracked", "What the detector keeps in mind: strangers, sources (that proved their address), prefixes.", "kind"),
		detectDelay: d("detect_delay_seconds", "From the packet that completed the evidence until its source was blocked, of the latest 4096 decisions: half of them took no longer, and 99 of 100.", "share"),
		watchShare:  d("watch_share_ratio", "Share of all sessions that are watched; 0 where none is to be."),
		watched:     d("watched_sessions", "Sessions that are watched: timed and numbered."),
		watchedRate: d("watched_packets_per_second", "Packets a second of watched sessions."),
		watchedBad:  d("watched_sessions_bad", "Watched sessions whose gaps, jitter or loss are over their class's bounds."),
		watchCells:  d("watch_cells", "Cells that directions of sessions can be watched in."),
		watchTaken:  d("watch_cells_taken", "Those that some direction is watched in."),
		watchFull:   d("watch_full_total", "Times that a direction of a session was to be watched, and found no cell."),

		hostPackets: d("host_traffic_packets_total", "Packets handed to this host's own stack."),
		hostBytes:   d("host_traffic_bytes_total", "Bytes handed to this host's own stack."),

		entries:  d("map_entries", "Entries in a map.", "map"),
		capacity: d("map_capacity_entries", "Entries that a map can hold.", "map"),

		remembered: newStateDescs(d),

		uptime:     d("daemon_uptime_seconds", "Time since the daemon started."),
		reloads:    d("daemon_reloads_total", "Configuration reloads by result: applied or refused.", "result"),
		reloadOK:   d("daemon_last_reload_successful", "1 if the last reload was applied (or none happened yet)."),
		reloadTime: d("daemon_last_reload_timestamp_seconds", "When the configuration was last reloaded; 0 if never since the start."),
		sweep:      d("daemon_last_sweep_duration_seconds", "How long the last sweep over the session table took."),
		resyncs:    d("daemon_netlink_resyncs_total", "Full reads of links, neighbours and routes after lost netlink messages."),
		errs:       d("daemon_errors_total", "Failed operations of the daemon by kind.", "kind"),
	}
}

// Collector turns snapshots of a Source into metrics.
type Collector struct {
	src   Source
	descs descs
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector makes a Collector to register with a registry of the caller's; Handler is the ready-made way.
func NewCollector(src Source) *Collector { return &Collector{src: src, descs: newDescs()} }

// Describe names all metrics.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	d := c.descs
	for _, desc := range []*prometheus.Desc{
		d.build, d.enforce, d.iface, d.state, d.serviceEnforce,
		d.packets, d.bytes, d.verdicts, d.drops, d.wouldDrop, d.sessions, d.limit,
		d.answers, d.answerAge, d.answerErrs, d.asked, d.askedPackets, d.strangers, d.moves, d.usual, d.strict, d.greylist, d.sketch, d.slots, d.samples,
		d.detected, d.tracked, d.detectDelay,
		d.watchShare, d.watched, d.watchedRate, d.watchedBad, d.watchCells, d.watchTaken, d.watchFull,
		d.hostPackets, d.hostBytes, d.entries, d.capacity,
		d.uptime, d.reloads, d.reloadOK, d.reloadTime, d.sweep, d.resyncs, d.errs,
	} {
		ch <- desc
	}
	for _, desc := range d.remembered.all() {
		ch <- desc
	}
}

// Collect takes one snapshot. If that fails the scrape fails with the reason, rather than showing half of the truth.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	s, err := c.src.Snapshot(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.descs.build, fmt.Errorf("read the edge's counters: %w", err))
		return
	}
	e := emitter{ch: ch, d: c.descs}
	e.gauge(c.descs.build, 1, s.Version, s.GoVersion)
	e.gauge(c.descs.enforce, bit(s.Enforce))
	for _, i := range s.Interfaces {
		e.gauge(c.descs.iface, bit(i.Protected), i.Name, i.Mode)
	}
	for i := range s.Services {
		e.service(&s.Services[i])
	}
	e.counters(c.descs.drops, s.Drops, NoService)
	e.counters(c.descs.wouldDrop, s.WouldDrop, NoService)
	e.gauge(c.descs.greylist, s.Strangers.GreylistFill)
	e.gauge(c.descs.sketch, s.Strangers.SketchLoad)
	e.gauge(c.descs.slots, float64(s.Strangers.UnprovenSlots))
	for kind, n := range s.Samples {
		e.counters(c.descs.samples, n, kind)
	}
	e.detect(&s.Detect)
	e.watching(&s.Watching)
	e.counter(c.descs.hostPackets, s.Host.Packets)
	e.counter(c.descs.hostBytes, s.Host.Bytes)
	for _, m := range s.Maps {
		e.gauge(c.descs.entries, float64(m.Entries), m.Name)
		e.gauge(c.descs.capacity, float64(m.Capacity), m.Name)
	}
	e.remembered(&s.State)
	e.daemon(&s.Daemon)
}

// emitter sends metrics of one scrape.
type emitter struct {
	ch chan<- prometheus.Metric
	d  descs
}

func (e emitter) service(s *Service) {
	e.gauge(e.d.state, 1, s.Name, s.State)
	e.gauge(e.d.serviceEnforce, bit(s.Enforce), s.Name)
	e.direction(s.Name, "up", s.Up)
	e.direction(s.Name, "down", s.Down)
	e.counters(e.d.drops, s.Drops, s.Name)
	e.counters(e.d.wouldDrop, s.WouldDrop, s.Name)
	e.gauges(e.d.sessions, s.Sessions, s.Name)
	e.gauges(e.d.limit, s.Limits, s.Name)
	for _, kind := range slices.Sorted(maps.Keys(s.Answers)) {
		a := s.Answers[kind]
		e.gauge(e.d.answers, float64(a.Fresh), s.Name, kind, "fresh")
		e.gauge(e.d.answers, float64(a.Stale), s.Name, kind, "stale")
		e.gauge(e.d.answerAge, a.Oldest.Seconds(), s.Name, kind)
		e.counter(e.d.answerErrs, a.Errors, s.Name, kind)
	}
	e.counters(e.d.strangers, s.Strangers, s.Name)
	e.counters(e.d.moves, s.Moves, s.Name)
	e.gauge(e.d.usual, s.Usual, s.Name)
	e.gauge(e.d.strict, bit(s.StrictGates), s.Name)
}

// direction leaves out what the edge doesn't see: an absent series, not a 0.
func (e emitter) detect(d *Detect) {
	e.counters(e.d.detected, map[string]uint64{
		"observation": d.Observations, "decision": d.Decisions, "suppressed": d.Suppressed, "evicted": d.Evicted, "lost": d.Lost,
	})
	e.gauges(e.d.tracked, d.Tracked)
	for _, q := range slices.Sorted(maps.Keys(d.Delay)) {
		e.gauge(e.d.detectDelay, d.Delay[q], q)
	}
}

func (e emitter) direction(service, name string, d *Direction) {
	if d == nil {
		return
	}
	e.counter(e.d.packets, d.Packets, service, name)
	e.counter(e.d.bytes, d.Bytes, service, name)
	e.counters(e.d.verdicts, d.Verdicts, service, name)
}

func (e emitter) watching(w *Watching) {
	e.gauge(e.d.watchShare, w.Share)
	e.gauge(e.d.watched, float64(w.Sessions))
	e.gauge(e.d.watchedRate, w.PacketsPerSecond)
	e.gauge(e.d.watchedBad, float64(w.Bad))
	e.gauge(e.d.watchCells, float64(w.Cells))
	e.gauge(e.d.watchTaken, float64(w.CellsTaken))
	e.counter(e.d.watchFull, w.Full)
}

func (e emitter) daemon(d *Daemon) {
	e.gauge(e.d.uptime, d.Uptime.Seconds())
	e.counter(e.d.reloads, d.Reloads, "applied")
	e.counter(e.d.reloads, d.FailedReloads, "refused")
	e.gauge(e.d.reloadOK, bit(d.LastReloadOK))
	var last float64
	if !d.LastReload.IsZero() {
		last = float64(d.LastReload.UnixMilli()) / 1000
	}
	e.gauge(e.d.reloadTime, last)
	e.gauge(e.d.sweep, d.LastSweep.Seconds())
	e.counter(e.d.resyncs, d.NetlinkResyncs)
	e.counters(e.d.asked, d.Asked)
	e.counter(e.d.askedPackets, d.AskedPackets)
	e.counters(e.d.errs, d.Errors)
}

func (e emitter) counter(d *prometheus.Desc, v uint64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// counters sends one counter for each key, which becomes the last label.
func (e emitter) counters(d *prometheus.Desc, byKey map[string]uint64, labels ...string) {
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		e.counter(d, byKey[k], append(slices.Clip(labels), k)...)
	}
}

// gauges is counters for values that also fall.
func (e emitter) gauges(d *prometheus.Desc, byKey map[string]uint64, labels ...string) {
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		e.gauge(d, float64(byKey[k]), append(slices.Clip(labels), k)...)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/metrics"
	"parry/pkg/notify"
)

const (
	sweepEvery   = time.Second
	httpPatience = 10 * time.Second
	slowFilter   = time.Minute // between looks at the prefix lists of whose change the kernel tells nothing: before 6.4 any, after that one for another
)

// serve starts everything that runs beside the packets.
func (e *Engine) serve(ctx context.Context, stop func(), group *tasks) error {
	socket, err := api.Listen(ctx, e.cfg.API.Socket, e.cfg.API.Group, e.log)
	if err != nil {
		return err
	}
	server := api.NewHTTPServer(edgeAPI{lists: e.lists, e: e}, api.HTTPOptions{}, e.log)
	group.start(stop, func() error { return server.Serve(ctx, socket) })
	if e.cfg.Metrics != "" {
		if err := e.serveMetrics(ctx, stop, group); err != nil {
			return err
		}
	}
	n, err := notify.New(e.opts.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	e.serveAnswers(ctx, stop, group)
	e.serveHandshakes(ctx, stop, group)
	group.start(stop, func() error { return e.follow(ctx) })
	group.start(stop, func() error { return e.tend(ctx, n) })
	group.start(stop, func() error { return e.serveSamples(ctx) })
	group.start(stop, func() error { return e.detection.run(ctx) })
	group.start(stop, func() error { return e.detection.tellSessions(ctx) })
	group.start(stop, func() error { return e.trials(ctx) })
	group.start(stop, func() error { return e.watchSessions(ctx) })
	group.start(stop, func() error { return e.sentry.run(ctx) })
	group.start(stop, func() error { return e.refreshPlaces(ctx) })
	group.start(stop, func() error { return e.memory.run(ctx) })
	group.start(stop, func() error { return e.sharing.run(ctx) })
	group.start(stop, func() error { return e.historian.run(ctx) })
	group.start(stop, func() error {
		onHangup(ctx, func() {
			e.notice(n.Reloading())
			_ = e.reload() // said and counted there
			e.notice(n.Ready(e.summary()))
		})
		return nil
	})
	group.start(stop, func() error {
		<-ctx.Done()
		e.notice(n.Stopping())
		return n.Close()
	})
	e.notice(n.Ready(e.summary()))
	if e.opts.Ready != nil {
		return e.opts.Ready()
	}
	return nil
}

// notice says that the service manager could not be told; that stops nothing.
func (e *Engine) notice(err error) {
	if err != nil {
		e.log.Warn("could not tell the service manager", "err", err)
	}
}

func (e *Engine) summary() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprintf("%d services on %d interfaces", len(e.cfg.Services), len(e.ifaces))
}

func (e *Engine) serveMetrics(ctx context.Context, stop func(), group *tasks) error {
	handler, err := metrics.Handler(e, e.log)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", e.cfg.Metrics)
	if err != nil {
		return fmt.Errorf("serve metrics at %s (`metrics:` chooses another address, \"\" switches them off): %w", e.cfg.Metrics, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: httpPatience, ReadTimeout: httpPatience, WriteTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	group.start(stop, func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve metrics: %w", err)
		}
		return nil
	})
	group.start(stop, func() error {
		<-ctx.Done()
		return srv.Close()
	})
	return nil
}

// tend does once a second what has to be done by the way: sweeps, hops, filters, the watchdog.
func (e *Engine) tend(ctx context.Context, n *notify.Notifier) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	watchdog := notify.WatchdogInterval(e.opts.Getenv, os.Getpid())
	var barked, filtered time.Time
	var seen uint64
	sessions, lists := pace{share: sweepShare, floor: sweepEvery / 2}, pace{share: listShare, floor: listsEvery}
	var heap heap
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		sessions.do(e.sweep)
		lists.do(timed(e.sweepLists))
		e.expireRules(ctx)
		heap.trim()
		if count, ok := e.lists.l.NetCount(); (ok && count != seen) || time.Since(filtered) > slowFilter {
			if _, err := e.lists.l.Refilter(); err != nil {
				e.mu.Lock()
				e.fault("derive the prefix filters", err)
				e.mu.Unlock()
			}
			filtered, seen = time.Now(), count // as it was before: what came meanwhile is for the next look
		}
		if err := e.lists.l.NoticeAllowed(); err != nil {
			e.mu.Lock()
			e.fault("derive the filter of allowed hosts", err)
			e.mu.Unlock()
		}
		if watchdog > 0 && time.Since(barked) > watchdog/2 {
			e.notice(n.Watchdog())
			barked = time.Now()
		}
	}
}

func (e *Engine) sweepLists() {
	n, err := e.edge.SweepLists()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault("sweep the lists", err)
	if n > 0 {
		e.log.Debug("expired entries are gone", "entries", n)
	}
}

// sweep returns how long it took to look for what is due; to do it is as much work as there is.
func (e *Engine) sweep() time.Duration {
	began := time.Now()
	s, err := e.edge.SweepSessions(e.analysts.gone(loader.Monotonic())) // without e.mu: with a million sessions it takes a while
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault("sweep the sessions", err)
	e.health.lastSweep = time.Since(began)
	if s.Ended+s.Deleted > 0 {
		e.log.Debug("swept", "ended", s.Ended, "deleted", s.Deleted, "sources", s.Sources, "took", e.health.lastSweep)
	}
	e.fault("look for next hops", e.adoptHops())
	for _, i := range e.ifaces {
		if e.broken[i.Name] != "" {
			continue
		}
		e.protect(i)
	}
	return s.Walk
}

// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// askQuiet is the least time between two asks for one key, so that a fight over
// an entry with another program stays a quiet one.
const askQuiet = 100 * time.Millisecond

// longTime is when to look again where nothing is due.
const longTime = time.Hour

// poke wakes the worker.
func (w *Watcher) poke() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// work does what needs requests to the kernel, so that the reader of messages
// never waits for one.
func (w *Watcher) work(ctx context.Context) {
	refresh := time.NewTicker(w.opts.RefreshEvery)
	defer refresh.Stop()
	due := time.NewTimer(longTime)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-refresh.C:
			w.refresh()
		case <-due.C:
		case <-w.kick:
		}
		w.releaseForgotten(ctx)
		due.Reset(min(w.askAll(ctx), w.tellRoutes()))
	}
}

// tellRoutes puts the change of routes that is due into the events, and returns
// when to look again.
func (w *Watcher) tellRoutes() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.routesAt.IsZero() {
		return longTime
	}
	if left := time.Until(w.routesAt); left > 0 {
		return left
	}
	w.routesAt, w.lastTold = time.Time{}, time.Now()
	w.events.put(Event{Kind: RoutesChanged})
	return longTime
}

// refresh asks again for neighbours that the kernel doesn't keep by itself.
func (w *Watcher) refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, s := range w.wanted {
		n, known := w.tab.neighs[k]
		if !known || !n.managed && !n.fixed() {
			s.ask = true
		}
	}
}

// releaseForgotten gives the neighbours of forgotten keys back.
func (w *Watcher) releaseForgotten(ctx context.Context) {
	for ctx.Err() == nil {
		k, remove, ok := w.nextRelease()
		if !ok {
			return
		}
		if err := w.neigh.release(k, remove); err != nil {
			w.log.Warn("release neighbour", "gateway", k.Gateway, "ifindex", k.Ifindex, "error", err)
		}
	}
}

func (w *Watcher) nextRelease() (Key, bool, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, remove := range w.releases {
		delete(w.releases, k)
		return k, remove, true
	}
	return Key{}, false, false
}

// askAll asks the kernel for each key that needs it, and returns when to look again.
func (w *Watcher) askAll(ctx context.Context) time.Duration {
	keys, again := w.asks()
	for _, k := range keys {
		if ctx.Err() != nil {
			break
		}
		w.ask(k)
	}
	return again
}

// asks takes the keys that wait for an ask and whose link can carry one. again is
// when the first of those that were asked for just now is due.
func (w *Watcher) asks() (keys []Key, again time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	again = longTime
	for k, s := range w.wanted {
		l, ok := w.tab.link(k.Ifindex)
		if !s.ask || !ok || !l.Up || l.Unsupported != "" || !unicast(k.Gateway) {
			continue
		}
		if left := askQuiet - now.Sub(s.asked); left > 0 {
			again = min(again, left)
			continue
		}
		keys = append(keys, k)
		s.ask, s.asked = false, now
	}
	return keys, again
}

// manages reports whether the kernel keeps neighbours resolved by itself, as far
// as is known.
func (w *Watcher) manages() bool { return !w.opts.NoManaged && !w.unmanaged.Load() }

// ask makes the kernel resolve k and keep it so.
func (w *Watcher) ask(k Key) {
	n, exists, err := w.neigh.get(k)
	if err != nil {
		w.noteAsk(k, nil, false, err)
		return
	}
	if !exists {
		w.noteAsk(k, nil, true, w.hold(k))
		return
	}
	// What another keeps is left alone: a use would even take the permanence off
	// an operator's entry.
	if !n.foreign() && !(n.managed && w.manages()) {
		err = w.hold(k)
	}
	w.noteAsk(k, &n, n.protocol == Protocol, err)
}

// hold asks for k in the best way the kernel has. Kernels before 5.16 ignore the
// wish to keep an entry resolved without a word, so the first time is checked.
func (w *Watcher) hold(k Key) error {
	manage := w.manages()
	if err := w.neigh.hold(k, manage); err != nil {
		return err
	}
	if !manage || w.managed {
		return nil
	}
	if n, ok, err := w.neigh.get(k); ok && err == nil {
		if w.managed = n.managed; !n.managed {
			w.unmanaged.Store(true)
			w.log.Info("the kernel does not keep neighbours resolved by itself, ask for them regularly",
				"every", w.opts.RefreshEvery)
		}
	}
	return nil
}

// noteAsk notes what an ask found: the entry as it was before, if there was one,
// and whether it is ours to remove.
func (w *Watcher) noteAsk(k Key, n *neigh, ours bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.wanted[k]
	if s == nil { // forgotten meanwhile
		w.releases[k] = ours
		w.poke()
		return
	}
	s.foreign, s.ours = n != nil && n.foreign(), s.ours || ours
	switch {
	case err == nil:
		s.failures = 0
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENETDOWN):
		// The link is going; its own event says so. The refresh tries again.
	default:
		if s.failures++; s.failures == 1 {
			w.log.Warn("ask for neighbour", "gateway", k.Gateway, "ifindex", k.Ifindex, "error", explain(err))
		}
	}
	// Messages about the entry are in order and newer; this fills the gap until
	// the first of them only.
	if _, known := w.tab.neighs[k]; n != nil && !known {
		w.tab.neighs[k] = *n
		w.reviewHop(k, s)
	}
}

// explain adds what to do to an error that has a known cure.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOBUFS):
		return errors.Join(err, errors.New("the neighbour table is full: raise net.ipv4.neigh.default.gc_thresh3 or net.ipv6's"))
	case errors.Is(err, unix.EPERM):
		return errors.Join(err, errors.New("CAP_NET_ADMIN is missing"))
	}
	return err
}

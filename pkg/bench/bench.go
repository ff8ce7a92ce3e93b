// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"parry/pkg/netns"
)

// bench is where things are measured: a host whose every route leads out by one interface, the floors, and the edges
// and drivers that cases share, made when the first of them asks.
type bench struct {
	ctx       context.Context // of the run
	host      *netns.Host
	out, peer *netns.Interface
	floor     floorObjects
	closers   []func() error
	edges     []*edge

	nat, through, crowd, local, proxied, watched, unwatched func() (*edge, error)
	again4, again6                                          func() (*driver, error)
	drivers                                                 map[string]*driver
}

// newBench makes the namespaces. What follows is to be run by inside.
func newBench(ctx context.Context, log *slog.Logger) (*bench, error) {
	w, err := netns.NewWorld(ctx, "bench", log)
	if err != nil {
		return nil, err
	}
	b := &bench{ctx: ctx, closers: []func() error{w.Close}, drivers: map[string]*driver{}}
	if err := b.build(w); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.nat, b.through = sync.OnceValues(b.openNAT), sync.OnceValues(b.openThrough)
	b.proxied = sync.OnceValues(b.openProxied)
	b.watched = sync.OnceValues(func() (*edge, error) { return b.openWatching(true) })
	b.unwatched = sync.OnceValues(func() (*edge, error) { return b.openWatching(false) })
	b.crowd, b.local = sync.OnceValues(b.openCrowd), sync.OnceValues(b.openLocal)
	b.again4 = sync.OnceValues(func() (*driver, error) { return b.again("again4", ttlAt4) })
	b.again6 = sync.OnceValues(func() (*driver, error) { return b.again("again6", hopLimitAt) })
	return b, nil
}

func (b *bench) build(w *netns.World) error {
	var err error
	if b.host, err = w.Host("edge"); err != nil {
		return err
	}
	far, err := w.Host("far")
	if err != nil {
		return err
	}
	b.out, b.peer, err = w.Link(
		netns.End{Host: b.host, Name: "out0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}},
		netns.End{Host: far, Name: "in0"}, netns.LinkOptions{})
	if err != nil {
		return err
	}
	for _, via := range []string{"192.0.2.2", "2001:db8::2"} {
		gateway := netip.MustParseAddr(via)
		if err := errors.Join(b.out.Neighbour(gateway, b.peer.MAC), b.host.DefaultRoute(gateway)); err != nil {
			return err
		}
	}
	return nil
}

// random is the driver whose packets each come from a random one of n strangers.
func (b *bench) random(name string, n uint32) func() (*driver, error) {
	return func() (*driver, error) {
		if d := b.drivers[name]; d != nil {
			return d, nil
		}
		d, err := b.strangers(name, crowdVIP(), n, true)
		b.drivers[name] = d
		return d, err
	}
}

// inside runs f in the namespace (test runs take its routes), on one thread that stays on one CPU.
func (b *bench) inside(f func() error) error {
	return b.host.Do(func() error {
		var allowed, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &allowed); err != nil {
			return fmt.Errorf("ask for the allowed CPUs: %w", err)
		}
		last := 0
		for i := range len(allowed) * 64 {
			if allowed.IsSet(i) {
				last = i
			}
		}
		one.Set(last)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return fmt.Errorf("stay on CPU %d: %w", last, err)
		}
		return f()
	})
}

// Close removes all that was made.
func (b *bench) Close() error {
	var errs []error
	for _, c := range slices.Backward(b.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

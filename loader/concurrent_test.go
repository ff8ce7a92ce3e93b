// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"parry/test/need"
)

// What reads an edge or sweeps it needs no lock of its caller's, not even while generations are replaced.
func TestReadersOutliveGenerations(t *testing.T) {
	need.Root(t)
	e, err := Open(Options{Sizes: smallSizes(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	lists := e.Lists()
	reads := map[string]func() error{
		"sessions": func() error { return e.Sessions(func(*Session) bool { return true }) },
		"count":    func() error { _, err := e.CountSessions(); return err },
		"sweep":    func() error { _, err := e.Sweep(nil); return err },
		"counters": func() error { _, err := e.Counters(); return err },
		"fills":    func() error { _, err := e.Fills(); return err },
		"services": func() error { _, err := lists.Services(); return err },
		"end": func() error {
			_, err := e.EndSessions([]Session{{key: bpfFlowKey4{Src: 1}}})
			return err
		},
		"block": func() error {
			return lists.Add(Deny, []Entry{{EntryKey: EntryKey{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, Expires: time.Now().Add(time.Millisecond)}})
		},
	}
	for range 2 {
		wg.Go(func() {
			for {
				for name, read := range reads { // in another order each time
					if err := read(); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 3 {
		g, err := e.Prepare(featurePlan(true, true, true, true, true, true, true, false, true, false))
		if err == nil {
			err = e.Use(g)
		}
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	wg.Wait()
}

// An edge that nothing is pinned of leaves lo as it was.
func TestUnpinnedEdgeLeavesForwarding(t *testing.T) {
	need.Root(t)
	lo := func() (all string) {
		for _, f := range loForwarding {
			now, err := os.ReadFile(f.path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			all += string(now)
		}
		return all
	}
	before := lo()
	e, err := Open(Options{Sizes: smallSizes(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if now := lo(); now != before {
		t.Errorf("lo forwards %q, it was %q", now, before)
	}
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/blocklist"
)

// lists are the fast path's lists in the words of the API.
type lists struct{ l *loader.Lists }

// OpenLists opens the lists that an edge left pinned, for use while its daemon doesn't run.
func OpenLists(pin string) (api.Lists, io.Closer, error) {
	l, err := loader.OpenLists(pin)
	if err != nil {
		return nil, nil, err
	}
	return lists{l}, l, nil
}

func kindOf(k api.Kind) loader.List {
	if k == api.Allow {
		return loader.Allow
	}
	return loader.Deny
}

var entrySources = map[string]loader.EntrySource{
	"map": loader.FromMap, "cli": loader.FromCLI, "api": loader.FromAPI, "detect": loader.FromDetect, "fleet": loader.FromFleet,
}

func entrySourceName(s loader.EntrySource) string {
	for name, n := range entrySources {
		if n == s {
			return name
		}
	}
	return "map"
}

// Entries yields all entries of a list.
func (l lists) Entries(ctx context.Context, kind api.Kind) iter.Seq2[blocklist.Entry, error] {
	return func(yield func(blocklist.Entry, error) bool) {
		services, err := l.l.Services()
		if err != nil {
			yield(blocklist.Entry{}, err)
			return
		}
		names := map[uint32]string{}
		for name, n := range services {
			names[n] = name
		}
		for e, err := range l.l.Entries(kindOf(kind)) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(blocklist.Entry{}, err)
				return
			}
			if !yield(entryOf(e, names), nil) {
				return
			}
		}
	}
}

func entryOf(e loader.Entry, names map[uint32]string) blocklist.Entry {
	out := blocklist.Entry{
		Prefix: e.Prefix, Reason: e.Reason, Source: entrySourceName(e.Source), Confidence: float64(e.Confidence) / 100, Added: e.Added,
		Hits: e.Hits, Unlimited: e.Unlimited,
	}
	if e.Service != 0 {
		out.Service = names[e.Service]
		if out.Service == "" {
			out.Service = blocklist.Unnamed(e.Service)
		}
	}
	if !e.Expires.IsZero() {
		t := e.Expires
		out.Expires = &t
	}
	return out
}

// Add writes entries; they are enforced when it returns.
func (l lists) Add(_ context.Context, kind api.Kind, entries []blocklist.Entry) error {
	services, err := l.l.Services()
	if err != nil {
		return err
	}
	raw := make([]loader.Entry, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		number, err := numberOf(services, e.Service)
		if err != nil {
			return err
		}
		out := loader.Entry{
			EntryKey: loader.EntryKey{Prefix: e.Prefix, Service: number}, Reason: e.Reason, Source: entrySources[e.Source],
			Confidence: uint8(math.Round(e.Confidence * 100)), Added: e.Added, Unlimited: e.Unlimited,
		}
		if e.Expires != nil {
			if !e.Expires.After(time.Now()) {
				continue // over before it began
			}
			out.Expires = *e.Expires
		}
		raw = append(raw, out)
	}
	err = l.l.Add(kindOf(kind), raw)
	if errors.Is(err, loader.ErrFull) {
		return api.Mark(api.ErrFull, err)
	}
	return err
}

func numberOf(services map[string]uint32, name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	if n, ok := services[name]; ok {
		return n, nil
	}
	n, ok := blocklist.UnnamedNumber(name)
	if !ok {
		return 0, api.Mark(api.ErrInvalid, fmt.Errorf("no service %q; there are %v", name, slices.Sorted(maps.Keys(services))))
	}
	for known, number := range services {
		if number == n { // another edge's, or given out since
			return 0, api.Mark(api.ErrInvalid, fmt.Errorf("service %s is %s here: write that name if it is meant", name, known))
		}
	}
	return n, nil
}

// Del removes entries.
func (l lists) Del(_ context.Context, kind api.Kind, keys []blocklist.Key) (int, error) {
	services, err := l.l.Services()
	if err != nil {
		return 0, err
	}
	raw := make([]loader.EntryKey, 0, len(keys))
	for _, k := range keys {
		number, err := numberOf(services, k.Service)
		if err != nil {
			return 0, err
		}
		raw = append(raw, loader.EntryKey{Prefix: k.Prefix, Service: number})
	}
	return l.l.Del(kindOf(kind), raw)
}

// ServiceNames are the services that an entry may name.
func (l lists) ServiceNames(context.Context) ([]string, error) {
	services, err := l.l.Services()
	return slices.Sorted(maps.Keys(services)), err
}

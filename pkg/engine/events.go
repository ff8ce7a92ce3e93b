// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"iter"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/attack"
	"parry/pkg/blocklist"
	"parry/pkg/event"
)

// namedEntries is how many entries of a call an event names one by one.
const namedEntries = 16

// Events yields what happens.
func (a edgeAPI) Events(ctx context.Context, q api.EventQuery) iter.Seq2[event.Event, error] {
	return api.ReadEvents(ctx, a.e.events, q)
}

// Attacks are those that are remembered.
func (a edgeAPI) Attacks(_ context.Context, f api.AttackFilter) ([]attack.Record, error) {
	return f.Apply(a.e.memory.tracker.Records()), nil
}

// Add writes entries, and tells of it.
func (a edgeAPI) Add(ctx context.Context, kind api.Kind, entries []blocklist.Entry) error {
	if err := a.lists.Add(ctx, kind, entries); err != nil || len(entries) == 0 {
		return err
	}
	if err := a.e.sharing.told(kind, entries); err != nil {
		return fmt.Errorf("they are enforced, but will be gone after a restart: %w", err)
	}
	first := entries[0]
	text := fmt.Sprintf("%s, and %d more entries", blocklist.FormatPrefix(first.Prefix), len(entries)-1)
	if len(entries) == 1 {
		text = blocklist.FormatPrefix(first.Prefix)
		if first.Reason != "" {
			text += ": " + first.Reason
		}
	}
	ev := event.Event{Type: event.BlockAdd, Text: "blocked " + text}
	if kind == api.Allow {
		ev = event.Event{Type: event.AllowAdd, Text: "allowed " + text}
	}
	ev.Data = map[string]any{"entries": len(entries), "first": entries[:min(len(entries), namedEntries)]}
	if len(entries) == 1 {
		ev.Service = first.Service
	}
	a.e.events.Publish(ev)
	return nil
}

// lift tells the detector what a person took off.
func (a edgeAPI) lift(keys []blocklist.Key) error {
	services, err := a.lists.l.Services()
	if err != nil {
		return err
	}
	raw := make([]loader.EntryKey, 0, len(keys))
	for _, k := range keys {
		n, err := numberOf(services, k.Service)
		if err != nil {
			return err
		}
		raw = append(raw, loader.EntryKey{Prefix: k.Prefix, Service: n})
	}
	a.e.detection.lifted(raw)
	return nil
}

// Del removes entries, and tells of it.
func (a edgeAPI) Del(ctx context.Context, kind api.Kind, keys []blocklist.Key) (int, error) {
	n, err := a.lists.Del(ctx, kind, keys)
	if err == nil && kind == api.Block {
		err = a.lift(keys)
	}
	if err == nil {
		err = a.e.sharing.lift(kindOf(kind), keys)
	}
	if n == 0 {
		return n, err
	}
	ev := event.Event{Type: event.BlockDel, Text: fmt.Sprintf("%d entries of the block list are gone", n)}
	if kind == api.Allow {
		ev = event.Event{Type: event.AllowDel, Text: fmt.Sprintf("%d entries of the allow list are gone", n)}
	}
	prefixes := []string{}
	for _, k := range keys[:min(len(keys), namedEntries)] {
		prefixes = append(prefixes, blocklist.FormatPrefix(k.Prefix))
	}
	if n == 1 && len(keys) == 1 {
		ev.Text = blocklist.FormatPrefix(keys[0].Prefix) + " is no longer on the " + string(kind) + " list"
		ev.Service = keys[0].Service
	}
	ev.Data = map[string]any{"entries": n, "first": prefixes}
	a.e.events.Publish(ev)
	return n, err
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/state"
)

const (
	bucketEvidence = "evidence"
	maxEvidence    = 16384          // decisions that are remembered: some 10 MB
	rememberedFor  = 24 * time.Hour // after a block is over, why it was
	delaysKept     = 4096           // latest ones that percentiles are of
)

// evidenceBook is why blocks of the detector's stand or stood, and which a person has lifted. Safe for concurrent use.
type evidenceBook struct {
	mu      sync.Mutex // guards what follows
	all     map[loader.EntryKey]*api.Evidence
	lifts   map[loader.EntryKey]time.Time // until when
	changed map[loader.EntryKey]bool      // since the last save
	delays  []float64                     // ms from the packet that completed the evidence to the block, the latest delaysKept
	next    int
}

func newEvidenceBook() *evidenceBook {
	return &evidenceBook{all: map[loader.EntryKey]*api.Evidence{}, lifts: map[loader.EntryKey]time.Time{}, changed: map[loader.EntryKey]bool{}}
}

func (b *evidenceBook) add(e api.Evidence, service uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := loader.EntryKey{Prefix: e.Prefix, Service: uint32(service)}
	if b.all[k] == nil && len(b.all) >= maxEvidence {
		b.makeRoom()
	}
	b.all[k] = &e
	b.changed[k] = true
	if len(b.delays) < delaysKept {
		b.delays = append(b.delays, e.DelayMS)
	} else {
		b.delays[b.next%delaysKept] = e.DelayMS
	}
	b.next++
}

// makeRoom forgets the sixteenth that is over first: to look for it costs as much as to forget one.
func (b *evidenceBook) makeRoom() {
	keys := make([]loader.EntryKey, 0, len(b.all))
	for k := range b.all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y loader.EntryKey) int { return b.all[x].Expires.Compare(b.all[y].Expires) })
	for _, k := range keys[:len(keys)/16+1] {
		delete(b.all, k)
		b.changed[k] = true
	}
}

// lift notes that a person took back what holds still. It stays off for as long as it would have held. False: there is no such thing.
func (b *evidenceBook) lift(k loader.EntryKey, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.all[k]
	if e == nil || !e.Expires.After(now) || len(b.lifts) >= maxEvidence {
		return false
	}
	b.lifts[k] = e.Expires
	e.Lifted = true
	b.changed[k] = true
	return true
}

// keepOff notes that a person of another edge took something back, until then.
func (b *evidenceBook) keepOff(k loader.EntryKey, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.lifts[k]; known || len(b.lifts) < maxEvidence {
		b.lifts[k] = until
	}
}

func (b *evidenceBook) isLifted(k loader.EntryKey, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.lifts[k]
	return ok && until.After(now)
}

// tidy forgets what is long over.
func (b *evidenceBook) tidy(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, until := range b.lifts {
		if !until.After(now) {
			delete(b.lifts, k)
		}
	}
	for k, e := range b.all {
		if now.Sub(e.Expires) > rememberedFor {
			delete(b.all, k)
			b.changed[k] = true
		}
	}
}

// of is what there is about an address: of itself, its /64, its /24 or /48, the latest first.
func (b *evidenceBook) of(a netip.Addr) []api.Evidence {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []api.Evidence
	for k, e := range b.all {
		if k.Prefix.Contains(a) {
			all = append(all, *e)
		}
	}
	slices.SortFunc(all, func(x, y api.Evidence) int { return y.At.Compare(x.At) })
	return all
}

// delay is a percentile of the latest, in milliseconds; how many there were.
func (b *evidenceBook) delay(share float64) (ms float64, n int) {
	b.mu.Lock()
	all := slices.Clone(b.delays)
	n = b.next
	b.mu.Unlock()
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[min(int(share*float64(len(all))), len(all)-1)], n
}

func evidenceKey(k loader.EntryKey) string {
	a := k.Prefix.Addr().As16()
	return fmt.Sprintf("%d/%x/%d", k.Service, a, k.Prefix.Bits())
}

// kept is how one is kept: services have numbers, which stay theirs.
type kept struct {
	api.Evidence
	Number uint32 `json:"number"`
}

func (b *evidenceBook) save(ctx context.Context, store state.Store) error {
	b.mu.Lock()
	changed := b.changed
	b.changed = map[loader.EntryKey]bool{}
	var changes []state.Change
	for k := range changed {
		c := state.Change{Key: evidenceKey(k)}
		if e := b.all[k]; e != nil {
			doc, err := json.Marshal(kept{*e, k.Service})
			if err == nil {
				c.Value = doc
			}
		}
		changes = append(changes, c)
	}
	b.mu.Unlock()
	err := store.Apply(ctx, bucketEvidence, changes)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		for k := range changed {
			b.changed[k] = true
		}
	}
	return err
}

// load takes over what was kept; what can't be read is left out, and said.
func (b *evidenceBook) load(entries []state.Item, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, entry := range entries {
		var v kept
		if err := json.Unmarshal(entry.Value, &v); err != nil || !v.Prefix.IsValid() {
			if len(errs) < 3 {
				errs = append(errs, fmt.Errorf("%s: %w", entry.Key, errors.Join(err, errors.New("no evidence"))))
			}
			continue
		}
		k := loader.EntryKey{Prefix: v.Prefix.Masked(), Service: v.Number}
		if len(b.all) >= maxEvidence || now.Sub(v.Expires) > rememberedFor {
			b.changed[k] = true
			continue
		}
		b.all[k] = &v.Evidence
		if v.Lifted {
			b.lifts[k] = v.Expires
		}
	}
	return errors.Join(errs...)
}

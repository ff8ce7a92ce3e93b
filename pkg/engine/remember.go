// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"parry/loader"
	"parry/pkg/attack"
	"parry/pkg/event"
	"parry/pkg/regular"
	"parry/pkg/state"
)

const (
	saveEvery     = time.Minute
	attacksEvery  = 5 * time.Second // while there are any
	lastSave      = 5 * time.Second // that the end of the daemon waits for it
	bucketAttacks = "attacks"
	bucketCalm    = "calm"
	calmMoves     = 0.1 // by how much of itself what is usual must have moved to be kept anew
)

// regulars is the fast path's list of who has played: loader.Edge.
type regulars interface {
	ServiceNames() []string
	Regulars() ([]loader.Regular, error)
	AddRegulars(list []loader.Regular) error
	DelRegulars(list []loader.Regular) error
}

var _ regulars = (*loader.Edge)(nil)

// memory is what outlives the daemon: attacks, what services are used to, who has played. Without a store it only forgets.
type memory struct {
	store    state.Store // nil: nothing is kept
	hub      *state.Hub  // that it is of; nil: there is none
	log      *slog.Logger
	now      func() time.Time
	fault    func(what string, err error)
	tracker  *attack.Tracker
	recalled map[string]attack.Calm // what was usual before the daemon started; not changed after
	calm     map[string]attack.Calm // as the store has it
	regulars *regular.List
	edge     regulars
	taught   bool                       // edge knows the regulars of before
	moved    chan struct{}              // says that an attack began or ended
	failing  bool                       // attacks could not be kept when last tried
	tell     func([]state.Change) error // is given regulars that are new or came again; nil: nobody is to hear of them
}

// remember makes what watches and what keeps.
func (e *Engine) remember(ctx context.Context) {
	fault := func(what string, err error) {
		if !errors.Is(err, state.ErrNotOpen) { // it was said when the store was lost
			e.locked(func() { e.fault(what, err) })
		}
	}
	moved := make(chan struct{}, 1)
	e.events = event.New(event.DefaultSize, time.Now)
	m := memory{hub: e.openHub(ctx), log: e.log, now: time.Now, fault: fault, moved: moved}
	if m.hub != nil {
		m.store = m.hub.Local()
	}
	e.memory = recall(ctx, m, e.cfg.Sizes.Regulars)
	e.sharing = &sharing{hub: m.hub, node: e.cfg.Node, events: e.events, log: e.log, now: time.Now, fault: fault}
	e.rules = recallRules(ctx, e.memory)
	e.sentry = &sentry{tracker: e.memory.tracker, events: e.events, log: e.log, now: time.Now, fault: fault, moved: moved}
	e.memory.tell = e.sharing.tellRegulars
	e.recallShadows(ctx)
}

// recall reads what was kept. A part that can't be read is missing, and said.
func recall(ctx context.Context, m memory, max uint32) *memory {
	m.recalled = map[string]attack.Calm{}
	var records []attack.Record
	for _, e := range m.list(ctx, bucketAttacks) {
		var r attack.Record
		if err := json.Unmarshal(e.Value, &r); err != nil {
			m.fault("read an attack that was kept", err)
			continue
		}
		records = append(records, r)
	}
	for _, e := range m.list(ctx, bucketCalm) {
		var c attack.Calm
		if err := json.Unmarshal(e.Value, &c); err != nil {
			m.fault("read what was usual", err)
			continue
		}
		m.recalled[e.Key] = c
	}
	m.calm = m.recalled
	m.tracker = attack.NewTracker(records)
	var err error
	m.regulars, err = regular.Load(m.list(ctx, regular.Bucket), int(max), m.now())
	m.fault("read the regular players that were kept", err)
	return &m
}

func (m *memory) list(ctx context.Context, bucket string) []state.Item {
	if m.store == nil {
		return nil
	}
	entries, err := m.store.List(ctx, bucket)
	m.fault("read what was kept", err)
	return entries
}

// teach tells an edge whose maps are new who has played before. Until it knows, nothing is taken over from it.
func (m *memory) teach() error {
	if m.taught {
		return nil
	}
	numbers := map[string]uint32{}
	for n, name := range m.edge.ServiceNames() {
		if n > 0 {
			numbers[name] = uint32(n)
		}
	}
	var list []loader.Regular
	for s, at := range m.regulars.All() {
		if n, ok := numbers[s.Service]; ok {
			list = append(list, loader.Regular{Addr: s.Addr, Service: n, Seen: at})
		}
	}
	if err := m.edge.AddRegulars(list); err != nil {
		return fmt.Errorf("tell the fast path of regular players: %w", err)
	}
	m.taught = true
	return nil
}

// run keeps what is worth it until ctx ends, and then once more.
func (m *memory) run(ctx context.Context) error {
	tick, soon := time.NewTicker(saveEvery), time.NewTicker(attacksEvery)
	defer tick.Stop()
	defer soon.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
			defer cancel()
			m.saveAll(last)
			return nil
		case <-m.moved:
			m.fault("keep the attacks", m.saveAttacks(ctx))
		case <-soon.C:
			if m.failing { // a full disk is tried, and said, once a minute
				continue
			}
			m.fault("keep the attacks", m.saveAttacks(ctx))
		case <-tick.C:
			m.saveAll(ctx)
		}
	}
}

func (m *memory) saveAll(ctx context.Context) {
	m.fault("keep the attacks", m.saveAttacks(ctx))
	m.fault("keep what is usual", m.saveCalm(ctx))
	m.fault("keep the regular players", m.saveRegulars(ctx))
}

func (m *memory) saveAttacks(ctx context.Context) error {
	if m.store == nil {
		return nil
	}
	records, forgotten := m.tracker.Changed()
	var changes []state.Change
	for i := range records {
		doc, err := json.Marshal(&records[i])
		if err != nil {
			return fmt.Errorf("encode an attack: %w", err)
		}
		changes = append(changes, state.Change{Key: records[i].ID, Value: doc})
	}
	for _, id := range forgotten {
		changes = append(changes, state.Change{Key: id})
	}
	err := m.store.Apply(ctx, bucketAttacks, changes)
	if m.failing = err != nil; m.failing {
		m.tracker.Unsaved(records, forgotten)
	}
	return err
}

func (m *memory) saveCalm(ctx context.Context) error {
	if m.store == nil {
		return nil
	}
	var changes []state.Change
	now := m.tracker.Calms()
	for name, c := range now {
		if was, ok := m.calm[name]; ok && near(was.Strangers, c.Strangers) && near(was.Refused, c.Refused) {
			continue
		}
		doc, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encode what is usual: %w", err)
		}
		changes = append(changes, state.Change{Key: name, Value: doc})
	}
	for name := range m.calm {
		if _, ok := now[name]; !ok {
			changes = append(changes, state.Change{Key: name})
		}
	}
	err := m.store.Apply(ctx, bucketCalm, changes)
	if err == nil {
		m.calm = now
	}
	return err
}

func near(a, b float64) bool { return math.Abs(a-b) <= max(calmMoves*math.Abs(a), 1) }

// saveRegulars takes over what the fast path knows, has it forget who is too old, and keeps the rest.
func (m *memory) saveRegulars(ctx context.Context) error {
	if err := m.teach(); err != nil {
		return err
	}
	list, err := m.edge.Regulars()
	if err != nil {
		return err
	}
	names := m.edge.ServiceNames()
	known := make(map[regular.Source]time.Time, len(list))
	for _, r := range list {
		if int(r.Service) < len(names) && names[r.Service] != "" {
			known[regular.Source{Addr: r.Addr, Service: names[r.Service]}] = r.Seen
		}
	}
	m.regulars.Take(known, func(service string) bool { return slices.Contains(names, service) }, m.now())
	var old []loader.Regular
	for _, r := range list {
		if int(r.Service) >= len(names) {
			continue
		}
		if _, ok := m.regulars.All()[regular.Source{Addr: r.Addr, Service: names[r.Service]}]; !ok {
			old = append(old, r)
		}
	}
	err = m.edge.DelRegulars(old)
	if m.store == nil {
		return err
	}
	changes, failed := m.regulars.Changes()
	if m.tell != nil {
		err = errors.Join(err, m.tell(changes))
	}
	if failed == nil {
		failed = m.store.Apply(ctx, regular.Bucket, changes)
	}
	if failed == nil {
		m.regulars.Saved()
	}
	return errors.Join(err, failed)
}

func (m *memory) close() error {
	if m.hub == nil {
		return nil
	}
	return m.hub.Close()
}

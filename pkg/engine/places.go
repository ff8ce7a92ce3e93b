// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"time"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/geo"
)

// places is where addresses are: the files that say so, and the configuration's rules as the fast path is to know them. Nobody
// changes one.
type places struct {
	files config.GeoFiles
	db    *geo.DB
	rules []string         // by number, as config.GeoRule.Key has them
	table *loader.GeoTable // nil: no service has a rule
}

// placesFor reads what a configuration names. What before has of it and what did not change is taken over, so that the fast path's maps
// are, too.
func placesFor(c *config.Config, before *places) (*places, error) {
	p := &places{files: c.Geo}
	if before != nil && before.files == c.Geo && !before.db.Stale() {
		p.db = before.db
	} else {
		var err error
		if p.db, err = geo.Open(c.Geo.Country, c.Geo.ASN); err != nil {
			return nil, c.At("geo", "", "%v", err)
		}
	}
	var rules []geo.Rule
	for i := range c.Services {
		if g := &c.Services[i].Geo; !g.Empty() && p.number(g) == 0 {
			p.rules, rules = append(p.rules, g.Key()), append(rules, geo.Rule{Allow: g.Allow, Deny: g.Deny})
		}
	}
	if len(rules) == 0 {
		return p, nil
	}
	if before != nil && before.db == p.db && fmt.Sprint(before.rules) == fmt.Sprint(p.rules) {
		p.table = before.table
		return p, nil
	}
	compiled, err := p.db.Compile(rules)
	if err != nil {
		return nil, c.At("geo", "", "%v", err)
	}
	p.table = &loader.GeoTable{Default: compiled.Default, Entries: make([]loader.GeoEntry, len(compiled.Entries))}
	for i, e := range compiled.Entries {
		p.table.Entries[i] = loader.GeoEntry(e)
	}
	return p, nil
}

// number is 1 + the number of a service's rule; 0 = it has none.
func (p *places) number(g *config.GeoRule) uint8 {
	for i, key := range p.rules {
		if key == g.Key() {
			return uint8(i + 1)
		}
	}
	return 0
}

// put writes the rules into a plan of the same configuration.
func (p *places) put(c *config.Config, plan *loader.Plan) {
	plan.Geo = p.table
	for i := range c.Services {
		if g := &c.Services[i].Geo; !g.Empty() {
			plan.Services[i].Geo = p.number(g)
		}
	}
}

// A prefix takes about so much of the kernel's memory: its node in the trie, and half of one that only branches.
const geoEntryBytes = 160

// entries is how many prefixes the fast path knows, and about how many bytes they take.
func (p *places) entries() (n, bytes uint64) {
	if p == nil || p.table == nil {
		return 0, 0
	}
	n = uint64(len(p.table.Entries))
	return n, n * geoEntryBytes
}

// refreshPlaces looks at the files now and then until ctx ends.
func (e *Engine) refreshPlaces(ctx context.Context) error {
	for {
		var every time.Duration
		e.locked(func() { every = e.cfg.Geo.Refresh })
		select {
		case <-ctx.Done():
			return nil
		case <-e.reloaded:
		case <-time.After(every):
			e.refreshPlacesNow()
		}
	}
}

// refreshPlacesNow reads files that are others by now. A large one takes a second, in which nobody else has to wait; what can't
// be used is said, and what was known before holds.
func (e *Engine) refreshPlacesNow() {
	var c *config.Config
	var before *places
	e.locked(func() { c, before = e.cfg, e.places })
	if !before.db.Stale() {
		return
	}
	p, err := placesFor(c, before)
	e.locked(func() {
		if e.cfg != c { // a reload was first
			return
		}
		if err == nil {
			err = e.usePlaces(p)
		}
		if err != nil {
			e.events.Publish(event.Event{Type: event.GeoRefused, Text: "where addresses are could not be read anew, what was known before holds: " + err.Error()})
		}
		e.fault("read where addresses are", err)
	})
}

// usePlaces has packets meet what was read. e.mu is held.
func (e *Engine) usePlaces(p *places) error {
	before := e.places
	e.places = p
	plan, _, err := e.planOf(e.cfg, e.ifaces)
	if err == nil && p.table != nil {
		if err = e.swap(e.cfg, plan, e.present()); err == nil {
			e.plan = plan
			err = e.lists.l.Bump()
		}
	}
	if err != nil {
		e.places = before
		return err
	}
	e.tellPlaces()
	return nil
}

// tellPlaces says what is known of places. e.mu is held.
func (e *Engine) tellPlaces() {
	files := e.places.db.Files()
	if len(files) == 0 {
		return
	}
	n, bytes := e.places.entries()
	data := map[string]any{"prefixes": n, "prefixes_bytes": bytes}
	for _, f := range files {
		data[f.Path] = f.Built.UTC()
		e.log.Info("where addresses are", "file", f.Path, "type", f.Type, "built", f.Built.UTC().Format(time.DateOnly), "bytes", f.Size, "rules", len(e.places.rules),
			"prefixes", n, "prefixes_bytes", bytes)
	}
	e.events.Publish(event.Event{Type: event.GeoRead, Text: fmt.Sprintf("where addresses are was read from %d files: %d prefixes for %d rules", len(files), n, len(e.places.rules)), Data: data})
}

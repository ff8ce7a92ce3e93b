// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/attack"
	"parry/pkg/blocklist"
	"parry/pkg/event"
	"parry/pkg/explain"
	"parry/pkg/history"
)

const (
	pastSessions = 100
	pastEvents   = 100
)

// Past says what was so of an address or a player at another time, as far as records tell.
func (a edgeAPI) Past(ctx context.Context, q api.PastQuery) (api.Past, error) {
	x := api.Past{
		At: q.At.UTC(), AroundMS: api.PastAround.Milliseconds(), Sessions: []api.Session{}, Entries: []api.ListedEntry{}, Events: []event.Event{},
		Attacks: []attack.Record{}, Unknown: []string{},
	}
	live, past := api.Filter{Player: q.Player, Limit: pastSessions}, history.Filter{Player: q.Player, Since: x.At.Add(-api.PastAround), Until: x.At.Add(api.PastAround)}
	if q.Player != "" {
		x.Player = &q.Player
	} else {
		x.Address = &q.Address
		live.Client, past.Client = mine(q.Address), mine(q.Address)
	}
	var err error
	if x.History, err = a.past(ctx, past, nil, pastSessions); err != nil {
		return x, err
	}
	now := time.Now()
	err = a.find(ctx, live, func(raw *loader.Session, s *api.Session) bool {
		if !now.Add(-raw.Age).After(past.Until) {
			x.Sessions = append(x.Sessions, *s)
		}
		return true
	})
	if err != nil {
		return x, err
	}
	addresses, services := met(&x)
	for _, addr := range addresses {
		if err := a.pastOf(&x, addr); err != nil {
			return x, err
		}
	}
	a.pastEvents(ctx, &x, addresses, services)
	x.Attacks = attacksAt(a.e.memory.tracker.Records(), x.At, services)
	x.Unknown = a.e.unknownAt(ctx, &x, len(addresses) > 0)
	x.Text = explain.Past(&x)
	return x, nil
}

// met are the addresses and services of what was found, and the address that was asked about.
func met(x *api.Past) (addresses []netip.Addr, services []string) {
	meet := func(a netip.Addr, service string) {
		if !slices.Contains(addresses, a) && len(addresses) < api.PlayerAddresses {
			addresses = append(addresses, a)
		}
		if service != "" && !slices.Contains(services, service) {
			services = append(services, service)
		}
	}
	if x.Address != nil {
		meet(*x.Address, "")
	}
	for i := range x.History {
		meet(x.History[i].Client.Addr(), x.History[i].Service)
	}
	for i := range x.Sessions {
		meet(x.Sessions[i].Client.Addr(), x.Sessions[i].Service)
	}
	return addresses, services
}

// pastOf adds what is known of one address: entries that were there by then, drops that are remembered.
func (a edgeAPI) pastOf(x *api.Past, addr netip.Addr) error {
	was := api.Explanation{Address: addr, Time: time.Now(), Drops: map[string]uint64{}, WouldDrop: map[string]uint64{}}
	if err := a.explainLists(&was); err != nil {
		return err
	}
	for _, e := range was.Entries {
		if !e.Entry.Added.After(x.At) {
			x.Entries = append(x.Entries, e)
		}
	}
	a.e.explainDrops(&was)
	from, to := x.At.Add(-api.PastAround), x.At.Add(api.PastAround)
	for _, r := range was.Reasons {
		if !r.Last.Before(from) && !r.First.After(to) {
			x.Reasons = append(x.Reasons, r)
		}
	}
	if was.Reasons != nil && x.Reasons == nil {
		x.Reasons = []api.DropReason{} // something is remembered, and not of then
	}
	return nil
}

// pastEvents adds what happened about these addresses, their services, and the edge.
func (a edgeAPI) pastEvents(ctx context.Context, x *api.Past, addresses []netip.Addr, services []string) {
	r := a.e.events.Since(x.At.Add(-api.PastAround))
	for len(x.Events) < pastEvents && r.Ready() { // what there is, and no waiting
		e, err := r.Next(ctx)
		if err != nil || e.Time.After(x.At.Add(api.PastAround)) {
			return
		}
		if about(&e, addresses, services) {
			x.Events = append(x.Events, e)
		}
	}
}

// about tells whether an event matters to one of the addresses.
func about(e *event.Event, addresses []netip.Addr, services []string) bool {
	if !e.Is("block") && !e.Is("allow") {
		return e.Type != event.Lost && (e.Service == "" || len(services) == 0 || slices.Contains(services, e.Service))
	}
	var prefixes []netip.Prefix
	switch named := e.Data["first"].(type) {
	case []blocklist.Entry:
		for i := range named {
			prefixes = append(prefixes, named[i].Prefix)
		}
	case []string:
		for _, text := range named {
			if p, err := blocklist.ParsePrefix(text); err == nil {
				prefixes = append(prefixes, p)
			}
		}
	}
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return slices.ContainsFunc(addresses, p.Contains) })
}

// attacksAt are those that went on then on one of the services; on any, where none is known.
func attacksAt(all []attack.Record, at time.Time, services []string) []attack.Record {
	picked := []attack.Record{}
	for i := range all {
		r := &all[i]
		on := len(services) == 0 || slices.ContainsFunc(services, r.On)
		if on && !r.Start.After(at) && (r.End == nil || !r.End.Before(at)) {
			picked = append(picked, *r)
		}
	}
	return picked
}

// unknownAt says what can't be told of that time, and why.
func (e *Engine) unknownAt(ctx context.Context, x *api.Past, found bool) []string {
	all := []string{}
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	const day = "2006-01-02 15:04:05 MST"
	if _, err := e.historian.reader(); err != nil {
		say("sessions that have ended: nothing is kept of them (%v)", err)
	} else if keep := e.historyBounds().Keep; time.Since(x.At) > keep {
		say("sessions that ended before %s: they are kept for so long", time.Now().Add(-keep).UTC().Format(day))
	}
	if !found {
		say("which address it was: no session of that name is known around that time; ask for an address, or another time")
		return all
	}
	if x.Reasons == nil {
		say("what was dropped then: no dropped packet of it is remembered (one a second and source is, of some thousands of sources)")
	}
	if since := e.eventsSince(ctx); x.At.Before(since) {
		say("entries of the lists that ended or were removed since then, and other events: they are remembered since %s", since.UTC().Format(day))
	}
	say("sessions that only asked for the server's status, or never proved their address: they are counted, and not recorded")
	if c := e.historian.state(); c.Lost+c.PassedOver > 0 {
		say("%d brief sessions and %d others that ended since the daemon started: too many came at once, or the disk did not take them", c.PassedOver, c.Lost)
	}
	return all
}

// eventsSince is the time from which all events are remembered.
func (e *Engine) eventsSince(ctx context.Context) time.Time {
	r := e.events.Since(time.Time{})
	if !r.Ready() {
		return e.started
	}
	if first, err := r.Next(ctx); err == nil && first.Time.After(e.started) {
		return first.Time
	}
	return e.started
}

// addressOf is whence a player plays, or played last.
func (a edgeAPI) addressOf(ctx context.Context, player string) (netip.Addr, error) {
	var found netip.Addr
	err := a.find(ctx, api.Filter{Player: player, Limit: 1}, func(_ *loader.Session, s *api.Session) bool {
		found = s.Client.Addr()
		return false
	})
	if err != nil || found.IsValid() {
		return found, err
	}
	records, err := a.past(ctx, history.Filter{Player: player, Limit: 1}, nil, 1)
	if err != nil {
		return found, err
	}
	if len(records) == 0 {
		what := "no session of that name goes on, and none is in the history"
		if !strings.ContainsFunc(player, func(r rune) bool { return r != '.' && r != ':' && (r < '0' || r > '9') }) {
			what += "; if it is an address, it is misspelt"
		}
		return found, api.Mark(api.ErrNotFound, errors.New("player "+fmt.Sprintf("%.100q", player)+" is not known: "+what))
	}
	return records[0].Client.Addr(), nil
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/history"
	"parry/pkg/sample"
)

// playerKey is what tells players apart: the name, or else the address, at one service and from one address.
type playerKey struct {
	name, service string
	client        netip.Addr
}

// Players are those who play, those who came last first, and behind them those who did lately.
func (a edgeAPI) Players(ctx context.Context, f api.PlayerFilter) ([]api.Player, error) {
	now := time.Now().UTC()
	playing, err := a.playing(ctx, &f, now)
	if err != nil {
		return nil, err
	}
	all := make([]api.Player, 0, len(playing))
	for _, p := range playing {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(x, y api.Player) int {
		return cmp.Or(y.Since.Compare(x.Since), x.Client.Compare(y.Client), strings.Compare(x.Service, y.Service))
	})
	if f.Lately == 0 {
		return all, nil
	}
	past, err := a.lately(ctx, &f, now, playing)
	return append(all, past...), err
}

// playing gathers who has proven sessions, at most as many as may be told.
func (a edgeAPI) playing(ctx context.Context, f *api.PlayerFilter, now time.Time) (map[playerKey]*api.Player, error) {
	all := map[playerKey]*api.Player{}
	pick := api.Filter{Player: f.Name, Client: f.Client, Service: f.Service}
	err := a.find(ctx, pick, func(raw *loader.Session, s *api.Session) bool {
		if s.State != api.Proven || raw.Query {
			return true
		}
		k := keyOf(s.Player, s.Client.Addr(), s.Service)
		p := all[k]
		if p == nil {
			if len(all) >= f.Limit {
				return true
			}
			p = &api.Player{Name: s.Player, Client: k.client, Service: s.Service, Game: s.Game, Since: now}
			all[k] = p
		}
		p.Sessions++
		if since := now.Add(-raw.Age); since.Before(p.Since) {
			p.Since = since
		}
		if seen := now.Add(-raw.Idle); seen.After(p.LastSeen) {
			p.LastSeen = seen
		}
		p.Up.Packets, p.Up.Bytes = p.Up.Packets+s.Up.Packets, p.Up.Bytes+s.Up.Bytes
		p.Down.Packets, p.Down.Bytes = p.Down.Packets+s.Down.Packets, p.Down.Bytes+s.Down.Bytes
		return true
	})
	return all, err
}

func keyOf(name *string, client netip.Addr, service string) playerKey {
	k := playerKey{service: service, client: client}
	if name != nil {
		k.name = *name
	}
	return k
}

// lately is the last session of each who doesn't play now and did within a while; nothing where no history is kept.
func (a edgeAPI) lately(ctx context.Context, f *api.PlayerFilter, now time.Time, playing map[playerKey]*api.Player) ([]api.Player, error) {
	var all []api.Player
	seen := map[playerKey]bool{}
	records, err := a.past(ctx, history.Filter{Player: f.Name, Client: f.Client, Service: f.Service, Since: now.Add(-f.Lately)}, func(r *history.Record) bool {
		k := keyOf(r.Player, r.Client.Addr(), r.Service)
		if seen[k] || playing[k] != nil {
			return false
		}
		seen[k] = true
		return true
	}, f.Limit)
	for i := range records {
		r := &records[i]
		all = append(all, api.Player{
			Name: r.Player, Client: r.Client.Addr(), Service: r.Service, Game: r.Game, Since: r.Start, LastSeen: r.End,
			Up: trafficOf(r.Up), Down: trafficOf(r.Down), EndedBy: &r.EndedBy,
		})
	}
	return all, err
}

func trafficOf(w *history.Way) (t api.Traffic) {
	if w != nil {
		t = api.Traffic{Packets: w.Packets, Bytes: w.Bytes}
	}
	return t
}

// past gathers records that the filter and pick take, at most so many. Where no history is kept there are none.
func (a edgeAPI) past(ctx context.Context, f history.Filter, pick func(*history.Record) bool, most int) ([]history.Record, error) {
	all := []history.Record{}
	if !a.e.historian.keeps() {
		return all, nil
	}
	for r, err := range a.History(ctx, f) {
		if err != nil {
			return all, err
		}
		if pick != nil && !pick(&r) {
			continue
		}
		if all = append(all, r); len(all) == most {
			break
		}
	}
	return all, nil
}

// mine is what sessions of an address are found by: of IPv6, its /64.
func mine(a netip.Addr) netip.Prefix {
	if a.Is6() {
		return netip.PrefixFrom(sample.SourceOf(a), 64)
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// Player is what is known of one.
func (a edgeAPI) Player(ctx context.Context, who string) (api.PlayerPage, error) {
	page := api.PlayerPage{Who: who, Time: time.Now().UTC(), Addresses: []netip.Addr{}, Names: []string{}, Sessions: []api.Session{}, Entries: []api.ListedEntry{}}
	live, past := api.Filter{Player: who, Limit: api.PlayerSessions}, history.Filter{Player: who}
	addr, notAddr := netip.ParseAddr(who)
	if notAddr == nil {
		addr = addr.Unmap().WithZone("")
		live = api.Filter{Client: mine(addr), Limit: api.PlayerSessions}
		past = history.Filter{Client: mine(addr)}
		page.Addresses = append(page.Addresses, addr)
	}
	err := a.find(ctx, live, func(_ *loader.Session, s *api.Session) bool {
		page.Sessions = append(page.Sessions, *s)
		return true
	})
	if err != nil {
		return page, err
	}
	if page.History, err = a.past(ctx, past, nil, api.PlayerHistory); err != nil {
		return page, err
	}
	for i := range page.Sessions {
		page.Meet(page.Sessions[i].Client.Addr(), page.Sessions[i].Player)
	}
	for i := range page.History {
		page.Meet(page.History[i].Client.Addr(), page.History[i].Player)
	}
	for _, addr := range page.Addresses[:min(len(page.Addresses), api.PlayerAddresses)] {
		x := api.Explanation{Address: addr}
		if err := a.explainLists(&x); err != nil {
			return page, err
		}
		page.Entries = append(page.Entries, x.Entries...)
	}
	if len(page.Sessions)+len(page.History)+len(page.Entries) == 0 {
		return page, api.Mark(api.ErrNotFound, fmt.Errorf("nothing is known of %.100q: no session of its goes on, and none is in the history", who))
	}
	return page, nil
}

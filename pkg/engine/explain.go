// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/explain"
	"parry/pkg/sample"
)

const explainSessions = 100 // that an explanation lists

// Explain says what becomes of an address, and why.
func (a edgeAPI) Explain(ctx context.Context, q api.ExplainQuery) (api.Explanation, error) {
	if q.Player != "" {
		var err error
		if q.Address, err = a.addressOf(ctx, q.Player); err != nil {
			return api.Explanation{}, err
		}
	}
	x := api.Explanation{
		Address: q.Address, Entries: []api.ListedEntry{}, Sessions: []api.Session{}, Regular: []string{}, Limits: []api.LimitUse{},
		Drops: map[string]uint64{}, WouldDrop: map[string]uint64{}, Reasons: []api.DropReason{}, Last: []api.DroppedPacket{},
	}
	if q.Player != "" {
		x.Player = &q.Player
	}
	if q.Watch > 0 {
		var err error
		if x.Watched, err = a.watch(ctx, q); err != nil {
			return x, err
		}
	}
	x.Time = time.Now().UTC()
	if err := a.explainLists(&x); err != nil {
		return x, err
	}
	for s, err := range a.PickSessions(ctx, api.Filter{Client: mine(q.Address), Limit: explainSessions}) {
		if err != nil {
			return x, err
		}
		x.Sessions = append(x.Sessions, s)
		x.Proven = x.Proven || s.State == api.Proven
	}
	if err := a.e.explainServices(&x); err != nil {
		return x, err
	}
	x.Place = a.e.placeOf(q.Address)
	a.e.explainDrops(&x)
	x.Text = explain.Text(&x)
	return x, nil
}

func (a edgeAPI) explainLists(x *api.Explanation) error {
	names := a.e.edge.ServiceNames()
	var services []uint16
	byNumber := map[uint32]string{}
	for i, name := range names {
		if i > 0 {
			services = append(services, uint16(i))
			byNumber[uint32(i)] = name
		}
	}
	for _, kind := range []api.Kind{api.Allow, api.Block} {
		all, err := a.lists.l.Find(kindOf(kind), x.Address, services)
		if err != nil {
			return err
		}
		for _, e := range all {
			x.Entries = append(x.Entries, api.ListedEntry{List: kind, Entry: entryOf(e, byNumber)})
		}
	}
	x.Blocked, x.Allowed = listed(x.Entries)
	return nil
}

// listed tells whether an address is blocked or allowed: for one service, what is allowed there or everywhere wins.
func listed(entries []api.ListedEntry) (blocked, allowed bool) {
	welcome := map[string]bool{}
	for _, e := range entries {
		if e.List == api.Allow {
			welcome[e.Entry.Service], allowed = true, true
		}
	}
	for _, e := range entries {
		if e.List == api.Block && !welcome[""] && (e.Entry.Service == "" || !welcome[e.Entry.Service]) {
			blocked = true
		}
	}
	return blocked, allowed
}

// explainServices says where it has played, and what it has used of limits.
func (e *Engine) explainServices(x *api.Explanation) error {
	names := e.edge.ServiceNames()
	e.mu.Lock()
	c := e.cfg
	e.mu.Unlock()
	for i := 1; i < len(names); i++ {
		s := c.Service(names[i])
		if s == nil {
			continue
		}
		regular, err := e.edge.IsRegular(x.Address, uint16(i))
		if err != nil {
			return err
		}
		if regular {
			x.Regular = append(x.Regular, s.Name)
		}
		u, ok, err := e.edge.SourceUse(x.Address, uint16(i))
		if err != nil {
			return err
		}
		if ok {
			x.Limits = append(x.Limits, limitsUsed(s, &u, c.Enforce)...)
		}
		wide, err := e.edge.WideUse(x.Address, uint16(i))
		if err != nil {
			return err
		}
		x.Limits = append(x.Limits, wideUsed(s, &wide, c.Enforce)...)
	}
	return nil
}

func limitsUsed(s *config.Service, u *loader.SourceUse, enforce bool) []api.LimitUse {
	l := s.Limits.Source
	sessions := 0.0
	if l.Sessions > 0 {
		sessions = min(float64(u.Sessions)/float64(l.Sessions*u.Factor), 1)
	}
	var all []api.LimitUse
	for _, x := range []struct {
		name  string
		value uint64
		used  float64
	}{
		{"packets_per_second", l.PacketsPerSecond, u.Packets}, {"bytes_per_second", l.BytesPerSecond, u.Bytes},
		{"new_sessions", uint64(l.NewSessions), u.News}, {"sessions", uint64(l.Sessions), sessions},
	} {
		if x.value > 0 {
			all = append(all, api.LimitUse{
				Level: api.LevelSource, Service: s.Name, Limit: x.name, Source: u.Source.String(), Value: x.value * uint64(u.Factor), Used: x.used, Shared: u.Factor > 1,
				Enforced: enforce && isTrue(s.Enforce) && isTrue(s.Limits.Enforce),
			})
		}
	}
	return all
}

// explainDrops says what was dropped of its lately.
func (e *Engine) explainDrops(x *api.Explanation) {
	d, ok := e.captures.memory.Of(x.Address)
	if !ok {
		return
	}
	names, reasons := e.edge.ServiceNames(), e.edge.Names().Reasons
	name := func(all []string, i int) string {
		if i < len(all) {
			return all[i]
		}
		return fmt.Sprint(i)
	}
	offset := x.Time.UnixNano() - int64(loader.Monotonic())
	at := func(ns uint64) time.Time { return time.Unix(0, int64(ns)+offset).UTC() }
	for _, w := range d.Whys {
		r := api.DropReason{
			Service: name(names, int(w.Service)), Reason: name(reasons, int(w.Reason)), Would: w.Shadow, Rule: w.Rule, Samples: w.Samples,
			First: at(w.First), Last: at(w.Last),
		}
		r.Text = explain.Reason(r.Reason)
		x.Reasons = append(x.Reasons, r)
		if w.Shadow {
			x.WouldDrop[r.Reason] += w.Samples
		} else {
			x.Drops[r.Reason] += w.Samples
		}
	}
	for i := range d.Last {
		s := &d.Last[i]
		p := api.DroppedPacket{
			Time: at(s.Time), Service: name(names, int(s.Service)), Reason: name(reasons, int(s.Reason)), Would: s.Reason == 0, Direction: "up",
			Length: s.Length, Packet: sample.Describe(s.Frame), Header: hex.EncodeToString(s.Frame),
		}
		if p.Would {
			p.Reason = name(reasons, int(s.Shadow))
		}
		if s.Flags&sample.Down != 0 {
			p.Direction = "down"
		}
		x.Last = append(x.Last, p)
	}
}

// watch looks at each packet of an address for a while: what is dropped is remembered whole.
func (a edgeAPI) watch(ctx context.Context, q api.ExplainQuery) (*api.Watched, error) {
	f := &loader.SampleFilter{
		Drops: true, Passes: true, Address: netip.PrefixFrom(q.Address, q.Address.BitLen()), Rate: captureRate, Snap: explainSnap,
	}
	w := &api.Watched{ForMS: q.Watch.Milliseconds()}
	err := a.e.taken(f, loader.SamplesAll, func(t *taking, slot int, before loader.SampleCount) error {
		a.e.log.Debug("an address is watched", "address", q.Address, "for", q.Watch)
		var used []byte
		end := time.NewTimer(q.Watch + sampleLag)
		defer end.Stop()
		stop := uint64(loader.Monotonic()) + uint64(q.Watch)
		for {
			over := false
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-end.C:
				over = true
			case <-t.wake:
			}
			used = t.take(used)
			tally(w, used, stop)
			if over {
				lost, err := a.e.lostOf(t, slot, before)
				w.Lost = lost
				return err
			}
		}
	})
	return w, err
}

const (
	explainSnap = 128
	sampleLag   = 200 * time.Millisecond // until the ring's reader has looked
)

func tally(w *api.Watched, records []byte, stop uint64) {
	var s sample.Sample
	for len(records) > 4 {
		n := 4 + int(binary.NativeEndian.Uint32(records))
		if s.Decode(records[4:n]) == nil && s.Time <= stop {
			if s.Flags&sample.Down != 0 {
				w.Down++
			} else {
				w.Up++
			}
			if s.Reason != 0 {
				w.Dropped++
			} else if s.Shadow != 0 {
				w.Would++
			}
		}
		records = records[n:]
	}
}

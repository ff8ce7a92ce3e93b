// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"iter"
	"net/netip"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/roster"
)

// PickSessions yields the sessions that the filter picks. Nothing is held meanwhile: who reads slowly keeps nobody waiting.
func (a edgeAPI) PickSessions(ctx context.Context, f api.Filter) iter.Seq2[api.Session, error] {
	return func(yield func(api.Session, error) bool) {
		more := true
		timings, err := a.timings(f)
		if err == nil {
			err = a.find(ctx, f, func(_ *loader.Session, s *api.Session) bool {
				timings.put(s)
				more = yield(*s, nil)
				return more
			})
		}
		if err != nil && more {
			yield(api.Session{}, err)
		}
	}
}

// find hands on the sessions that the filter picks, as the loader and as the API know them, until fn returns false.
func (a edgeAPI) find(ctx context.Context, f api.Filter, fn func(*loader.Session, *api.Session) bool) error {
	n := 0
	names := a.e.naming()
	err := a.e.edge.Sessions(func(s *loader.Session) bool {
		out := names.session(s)
		if f.Match(&out) {
			n++
			if !fn(s, &out) {
				return false
			}
		}
		return ctx.Err() == nil && (f.Limit == 0 || n < f.Limit)
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// naming is what sessions are told by.
type naming struct {
	services []string                   // by number
	servers  map[serverKey]string       // the names of servers
	configs  map[string]*config.Service // by name
	roster   *roster.Roster
}

type serverKey struct {
	pool string
	addr netip.Addr
}

func (e *Engine) naming() naming {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := naming{services: e.edge.ServiceNames(), servers: map[serverKey]string{}, configs: map[string]*config.Service{}, roster: e.roster}
	for i := range e.cfg.Services {
		n.configs[e.cfg.Services[i].Name] = &e.cfg.Services[i]
	}
	for _, p := range e.cfg.Pools {
		for _, s := range p.Servers {
			n.servers[serverKey{p.Name, s.Address}] = s.Name
		}
	}
	return n
}

func (n *naming) session(s *loader.Session) api.Session {
	out := api.Session{
		ID: s.ID, Protocol: protocolName(s.Proto), Client: s.Client, Edge: s.Front, Server: s.Server, State: string(s.State), SYNProxy: s.Proxied,
		Proof: string(s.Proof), AgeMS: s.Age.Milliseconds(), IdleMS: s.Idle.Milliseconds(),
		Up:   &api.Direction{Packets: s.Up.Packets, Bytes: s.Up.Bytes},
		Down: &api.Direction{Packets: s.Down.Packets, Bytes: s.Down.Bytes},
	}
	if s.Face != s.Client {
		face := s.Face
		out.NAT = &face
	}
	k, named := roster.Key{Client: s.Client, Front: s.Front, Proto: s.Proto}, ""
	if name, ok := n.roster.Named(k); ok {
		named = name.Game.String()
		out.Named = &api.Named{Game: named, Confidence: name.Confidence, Reason: name.Reason}
	}
	if who, ok := n.roster.Player(k); ok {
		out.Player = &who
	}
	out.Service, out.Game, out.ServerName = n.place(s.Service, s.Server.Addr(), named)
	return out
}

// EndSessions ends what the filter picks.
func (a edgeAPI) EndSessions(ctx context.Context, f api.Filter) (int, error) {
	var raw []loader.Session
	err := a.find(ctx, f, func(s *loader.Session, _ *api.Session) bool { raw = append(raw, *s); return true })
	if err != nil {
		return 0, err
	}
	return a.e.edge.EndSessions(raw)
}

// Who finds whom a server sees as addr.
func (a edgeAPI) Who(_ context.Context, protocol_ string, addr netip.AddrPort) (api.Session, error) {
	s, ok, err := a.e.edge.Who(addr, protocol(protocol_))
	if err != nil {
		return api.Session{}, err
	}
	if !ok {
		return api.Session{}, api.Mark(api.ErrNotFound, fmt.Errorf("nobody is behind %s %v", protocol_, addr))
	}
	names := a.e.naming()
	return names.session(&s), nil
}

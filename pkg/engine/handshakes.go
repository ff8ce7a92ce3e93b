// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"net/netip"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/handshake"
)

// handshakes learn what servers behind a SYN proxy take of TCP.
type handshakes struct {
	keeper *handshake.Keeper
}

func (e *Engine) openHandshakes() {
	e.handshakes.keeper = handshake.New(handshake.Settings{Ask: handshake.Probe, Tell: func(c handshake.Change) {
		e.locked(func() { e.tellServerTCP(c) })
	}})
}

// serverTCP fills in what is known of a plan's servers: of those that go on being asked. What was learned is in the fast path's own
// map, so reloads and restarts forget nothing. e.mu is held.
func (e *Engine) serverTCP(c *config.Config, p *loader.Plan) error {
	known, err := e.edge.ServerTCP()
	if err != nil || len(known) == 0 {
		return err
	}
	asked := map[[2]string]bool{}
	for _, t := range shakenWith(c) {
		asked[[2]string{t.Pool, t.Server}] = true
	}
	for i := range p.Pools {
		for j := range p.Pools[i].Servers {
			s := &p.Pools[i].Servers[j]
			if o, ok := known[netip.AddrPortFrom(s.Addr, s.Port)]; ok && asked[[2]string{p.Pools[i].Name, s.Name}] {
				s.TCP = &o
			}
		}
	}
	return nil
}

// tellServerTCP writes what is known of a server now, which may be newer than the change. e.mu is held.
func (e *Engine) tellServerTCP(c handshake.Change) {
	now, ok := e.handshakes.keeper.State(c.Pool, c.Server)
	if !ok {
		return
	}
	var o *loader.TCPOptions
	if now.Known != nil {
		v := loader.TCPOptions(*now.Known)
		o = &v
	}
	e.fault("tell what a server takes of TCP", e.edge.SetServerTCP(c.Pool, c.Server, o))
	data := map[string]any{"pool": c.Pool, "server": c.Server, "address": c.Addr.String(), "tcp": nil}
	if c.Known == nil {
		e.log.Warn("a server does not shake hands: the SYN proxy offers its players the least", "pool", c.Pool, "server", c.Server, "address", c.Addr, "err", c.Why)
		text := fmt.Sprintf("server %s of pool %s does not shake hands, so the SYN proxy offers its players the least: %v", c.Server, c.Pool, c.Why)
		e.events.Publish(event.Event{Type: event.ServerTCP, Text: text, Data: data})
		return
	}
	e.log.Info("what a server takes of TCP is known", "pool", c.Pool, "server", c.Server, "address", c.Addr, "takes", c.Known.String())
	if c.Was == nil && !c.Again {
		return // at first sight it is no news
	}
	data["tcp"] = apiTCP(c.Known)
	text := fmt.Sprintf("server %s of pool %s takes %v", c.Server, c.Pool, c.Known)
	if c.Was != nil {
		text += fmt.Sprintf(" (it took %v)", c.Was)
	}
	e.events.Publish(event.Event{Type: event.ServerTCP, Text: text, Data: data})
}

// tcpOf is what `server list` says of a server.
func (e *Engine) tcpOf(pool, server string) *api.ServerTCP {
	s, ok := e.handshakes.keeper.State(pool, server)
	if !ok {
		return nil
	}
	out := &api.ServerTCP{}
	if s.Known != nil {
		out, out.Known = apiTCP(s.Known), true
		age := s.Age.Milliseconds()
		out.AgeMS = &age
	}
	if s.Why != nil {
		out.Detail = s.Why.Error()
	}
	return out
}

func apiTCP(o *handshake.Options) *api.ServerTCP {
	out := &api.ServerTCP{Known: true, MSS: &o.MSS, SACK: &o.SACK, Timestamps: &o.Timestamps}
	if o.WindowScale != handshake.NoWindowScale {
		out.WindowScale = &o.WindowScale
	}
	return out
}

// shakenWith lists the servers that are asked: those of services with a SYN proxy. The lowest port of each such service is tried.
func shakenWith(c *config.Config) []handshake.Target {
	var all []handshake.Target
	for i := range c.Pools {
		p := &c.Pools[i]
		for _, srv := range p.Servers {
			if ports := shakenPorts(c, p.Name, srv); len(ports) > 0 {
				all = append(all, handshake.Target{Pool: p.Name, Server: srv.Name, Addr: srv.Address, Ports: ports})
			}
		}
	}
	return all
}

func shakenPorts(c *config.Config, pool string, srv config.Server) []uint16 {
	var ports []uint16
	seen := map[uint16]bool{}
	for i := range c.Services {
		s := &c.Services[i]
		if s.Pool != pool || s.SynProxy == config.Off || !s.HasProtocol("tcp") {
			continue
		}
		for _, l := range s.Listen {
			port := s.ServerPort(srv, l.First)
			if !seen[port] && len(ports) < handshake.MostPorts {
				seen[port] = true
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// serveHandshakes asks servers until ctx ends.
func (e *Engine) serveHandshakes(ctx context.Context, stop func(), group *tasks) {
	group.start(stop, func() error { return e.handshakes.keeper.Run(ctx) })
}

// SPDX-License-Identifier: Apache-2.0

// Package guard writes the nftables rules that keep everybody but the edge from a game server's ports. An edge protects
// nobody whose server can be reached past it. It reads a configuration and what the edge's routes say; it changes nothing.
package guard

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"parry/pkg/config"
	"parry/pkg/spell"
)

// Way is how the edge reaches a server.
type Way struct {
	Source  netip.Addr       // that the kernel's route prefers; not valid where it has none
	Gateway netip.Addr       // of the next router; not valid where the server is on the edge's own network
	Link    string           // the edge's interface towards it
	MAC     net.HardwareAddr // of that interface; nil where it has none
}

// Options of For.
type Options struct {
	// Way asks the edge's routing table.
	Way func(server netip.Addr) (Way, error)
	// Interface is the server's own that nobody but the edge is behind; "" = none.
	Interface string
	// More are addresses of other edges, and of who else may come.
	More []netip.Addr
}

// Guard is what is to be let through to one server: all that the configuration has at its addresses.
type Guard struct {
	Servers     []Server
	NAT         []Ports      // that the edge's own addresses come to
	Transparent []Ports      // that players' addresses come to, by the edge
	From        []netip.Addr // the edge's
	Interface   string       // the server's, "" = packets of transparent services are known by the edge's link addresses
	Left        []Ports      // that are not guarded: ssh
}

// Server is one of a configuration's, and how the edge reaches it.
type Server struct {
	Pool, Name string
	Address    netip.Addr
	Way        Way
}

// Ports are one range of a protocol's.
type Ports struct {
	Protocol string // udp or tcp
	config.PortRange
	Service string // that leads there
}

const (
	sshPort   = 22
	macLength = 6 // bytes
)

// For finds the server of the first name (or POOL/NAME), and what may come to it. Further names are of the same machine: its
// address of the other family, say.
func For(c *config.Config, names []string, o Options) (*Guard, error) {
	g := &Guard{Interface: o.Interface}
	for _, name := range names {
		s, err := find(c, name)
		if err != nil {
			return nil, err
		}
		if s.Way, err = o.Way(s.Address); err != nil {
			return nil, fmt.Errorf("server %s: %w: run this on the edge, whose addresses the rules name", name, err)
		}
		g.Servers = append(g.Servers, s)
	}
	for _, s := range g.Servers {
		if err := g.gather(c, s); err != nil {
			return nil, err
		}
	}
	g.Left = compact(g.Left)
	if len(g.NAT)+len(g.Transparent) == 0 {
		return nil, fmt.Errorf("server %s: tcp/%d is all that leads there, and a rule for it could lock you out of the server", names[0], sshPort)
	}
	return g, g.from(c, o.More)
}

// gather finds all services that lead to a server's address: what one pool's rules keep out, another's may let in.
func (g *Guard) gather(c *config.Config, s Server) error {
	found := false
	for i := range c.Services {
		service := &c.Services[i]
		pool := c.Pool(service.Pool)
		if pool == nil || service.Forward == config.ForwardLocal {
			continue
		}
		for _, server := range pool.Servers {
			if server.Address != s.Address {
				continue
			}
			found = found || pool.Name == s.Pool
			if service.Forward == config.ForwardTransparent {
				if err := g.recognise(s); err != nil {
					return err
				}
			}
			g.add(service, server)
		}
	}
	if !found {
		return fmt.Errorf("server %s: no service leads to pool %s, so nothing is to be let through: give a service `pool: %s`", s, s.Pool, s.Pool)
	}
	return nil
}

// String is POOL/NAME.
func (s Server) String() string { return s.Pool + "/" + s.Name }

func compact(ports []Ports) []Ports {
	slices.SortFunc(ports, func(a, b Ports) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Service, b.Service))
	})
	return slices.Compact(ports)
}

// find takes NAME or POOL/NAME.
func find(c *config.Config, name string) (server Server, err error) {
	wantPool, want, both := strings.Cut(name, "/")
	if !both {
		wantPool, want = "", name
	}
	var names, pools []string
	for i := range c.Pools {
		p := &c.Pools[i]
		for j := range p.Servers {
			s := &p.Servers[j]
			names = append(names, s.Name)
			if s.Name == want && (!both || p.Name == wantPool) {
				pools, server = append(pools, p.Name), Server{Pool: p.Name, Name: s.Name, Address: s.Address}
			}
		}
	}
	switch {
	case len(pools) > 1:
		return server, fmt.Errorf("there are several servers %s: say which, %s/%s", name, strings.Join(pools, "/"+name+" or "), name)
	case len(pools) == 1:
		return server, nil
	case len(names) == 0:
		return server, errors.New("the configuration has no servers: `local` services are on this host, behind the edge already")
	}
	if near, ok := spell.Nearest(want, names); ok && near != want {
		return server, fmt.Errorf("there is no server %q: did you mean %s?", name, near)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	const some = 10
	if len(names) > some {
		names = append(names[:some], "… (`parry server list`)")
	}
	return server, fmt.Errorf("there is no server %q; there are %s", name, strings.Join(names, ", "))
}

// add gathers the server's ports that a service leads to.
func (g *Guard) add(s *config.Service, server config.Server) {
	to := &g.NAT
	if s.Forward == config.ForwardTransparent {
		to = &g.Transparent
	}
	for _, proto := range s.Protocol {
		for _, l := range s.Listen {
			first := s.ServerPort(server, l.First)
			p := Ports{Protocol: proto, Service: s.Name, PortRange: config.PortRange{First: first, Last: first + (l.Last - l.First)}}
			if proto == "tcp" && p.First <= sshPort && sshPort <= p.Last {
				g.Left = append(g.Left, Ports{Protocol: proto, Service: s.Name, PortRange: config.PortRange{First: sshPort, Last: sshPort}})
				g.around(to, p)
				continue
			}
			*to = append(*to, p)
		}
	}
}

// around adds a range without ssh's port.
func (g *Guard) around(to *[]Ports, p Ports) {
	if below := p; below.First < sshPort {
		below.Last = sshPort - 1
		*to = append(*to, below)
	}
	if above := p; above.Last > sshPort {
		above.First = sshPort + 1
		*to = append(*to, above)
	}
}

// from gathers the addresses that the edge sends from: NAT's, and its host's own, by which the daemon asks servers.
func (g *Guard) from(c *config.Config, more []netip.Addr) error {
	all := slices.Clone(more)
	for _, s := range g.Servers {
		for _, a := range c.NAT.Addresses {
			if a.Is4() == s.Address.Is4() {
				all = append(all, a)
			}
		}
		if s.Way.Source.IsValid() {
			all = append(all, s.Way.Source)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	g.From = slices.Compact(all)
	if len(g.NAT) > 0 && len(g.From) == 0 {
		return fmt.Errorf("server %s: the route to it has no source address, so the edge's is not known: write nat.addresses", g.Servers[0])
	}
	g.NAT, g.Transparent = compact(g.NAT), compact(g.Transparent)
	return nil
}

// recognise makes sure that packets of transparent services, which carry players' addresses, can be told from those that
// come past the edge.
func (g *Guard) recognise(s Server) error {
	if g.Interface != "" {
		return nil
	}
	if s.Way.Gateway.IsValid() {
		return fmt.Errorf("server %s: packets of `transparent` services carry players' own addresses, and %s routes them, so the server does not see which came by the edge: "+
			"bring the edge's packets to the server by an interface (or VLAN) of their own and name that with --interface, or use `forward: nat`", s, s.Way.Gateway)
	}
	if len(s.Way.MAC) != macLength {
		return fmt.Errorf("server %s: packets of `transparent` services carry players' own addresses, and the edge's %s has no link address to know them by: "+
			"name the server's interface towards the edge with --interface, or use `forward: nat`", s, s.Way.Link)
	}
	return nil
}

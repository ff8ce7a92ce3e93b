// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"

	"parry/pkg/netns"
)

const maxQueues = 8

// leg is one link of the edge: its own end, the far host's, and what lies behind the far host.
type leg struct {
	edge, far     *netns.Interface
	edge4, far4   netip.Prefix
	edge6, far6   netip.Prefix
	behind        []netip.Prefix // routed to the far host
	edgeIf, farIf string
}

// Site is the lab's world: four hosts, three legs, a meter at the far end of each.
//
//	players   ──┐            ┌── servers
//	            ├── edge ────┤
//	attackers ──┘            (arena on two machines, the other games on one)
type Site struct {
	World                             *netns.World
	Players, Attackers, Edge, Servers *netns.Host

	rooms      int // services beside the games'
	legs       [3]leg
	toPlayer   *Meter // what left the edge towards players
	toServer   *Meter // and towards servers
	toAttacker *Meter // and towards those whose addresses attackers forge
}

const (
	playersLeg = iota
	attackersLeg
	serversLeg
)

func plan() [3]leg {
	p := netip.MustParsePrefix
	return [3]leg{
		playersLeg: {edgeIf: "players", farIf: "edge", edge4: p("192.0.2.1/28"), far4: p("192.0.2.2/28"),
			edge6: p("2001:db8:0:1::1/64"), far6: p("2001:db8:0:1::2/64"),
			behind: []netip.Prefix{homes, homes6}},
		// The rest of the internet, so that answers to forged addresses have somewhere to go.
		attackersLeg: {edgeIf: "attackers", farIf: "edge", edge4: p("192.0.2.17/28"), far4: p("192.0.2.18/28"),
			edge6: p("2001:db8:0:2::1/64"), far6: p("2001:db8:0:2::2/64"),
			behind: []netip.Prefix{p("0.0.0.0/0"), p("::/0")}},
		serversLeg: {edgeIf: "servers", farIf: "edge", edge4: p("10.0.1.1/24"), far4: p("10.0.1.11/24"),
			edge6: p("fd00:1::1/64"), far6: p("fd00:1::11/64")},
	}
}

// NewSite builds the world. The edge has no program yet.
func NewSite(ctx context.Context, name string, log *slog.Logger) (s *Site, err error) {
	world, err := netns.NewWorld(ctx, name, log)
	if err != nil {
		return nil, err
	}
	s = &Site{World: world, legs: plan()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("build the world: %w", err), s.Close())
		}
	}()
	for name, h := range map[string]**netns.Host{
		"players": &s.Players, "attackers": &s.Attackers, "edge": &s.Edge, "servers": &s.Servers,
	} {
		if *h, err = world.Host(name); err != nil {
			return s, err
		}
	}
	for i, far := range []*netns.Host{s.Players, s.Attackers, s.Servers} {
		if err := s.link(&s.legs[i], far); err != nil {
			return s, err
		}
	}
	if err := s.addresses(); err != nil {
		return s, err
	}
	if s.toPlayer, err = NewMeter(s.legs[playersLeg].far); err != nil {
		return s, err
	}
	if s.toServer, err = NewMeter(s.legs[serversLeg].far); err != nil {
		return s, err
	}
	s.toAttacker, err = NewMeter(s.legs[attackersLeg].far)
	return s, err
}

func (s *Site) link(l *leg, far *netns.Host) (err error) {
	l.edge, l.far, err = s.World.Link(
		netns.End{Host: s.Edge, Name: l.edgeIf, Addresses: []netip.Prefix{l.edge4, l.edge6}},
		netns.End{Host: far, Name: l.farIf, Addresses: []netip.Prefix{l.far4, l.far6}},
		netns.LinkOptions{Queues: min(runtime.NumCPU(), maxQueues)}) // a queue a CPU, as a real NIC has
	if err != nil {
		return err
	}
	for _, to := range l.behind {
		via := l.far4.Addr()
		if to.Addr().Is6() {
			via = l.far6.Addr()
		}
		if err := s.Edge.Route(to, via); err != nil {
			return err
		}
	}
	return errors.Join(far.DefaultRoute(l.edge4.Addr()), far.DefaultRoute(l.edge6.Addr()))
}

// addresses gives the edge its public ones, the servers their second machine's, and lets the edge route.
func (s *Site) addresses() error {
	lo, err := s.Edge.Interface("lo")
	if err != nil {
		return err
	}
	return errors.Join(
		lo.AddAddress(single(arena4.Addr())), lo.AddAddress(single(arena6.Addr())),
		s.legs[serversLeg].far.AddAddress(netip.PrefixFrom(secondServer, 24)),
		s.legs[attackersLeg].far.AddAddress(single(suspectAddr)),
		// Servers without SYN cookies of their own, and with room for so many connections that are not there yet: what a flood does to
		// them, and what an edge keeps from them, is to be seen.
		s.Servers.Sysctl("net.ipv4.tcp_syncookies", "0"), s.Servers.Sysctl("net.ipv4.tcp_max_syn_backlog", "1024"),
		s.Edge.Sysctl("net.ipv4.ip_forward", "1"), s.Edge.Sysctl("net.ipv6.conf.all.forwarding", "1"),
	)
}

// addRooms gives the edge so many further addresses, for a service each.
func (s *Site) addRooms(n int) error {
	lo, err := s.Edge.Interface("lo")
	if err != nil {
		return err
	}
	s.rooms = n
	var errs []error
	for i := range n {
		errs = append(errs, lo.AddAddress(single(room(i).Addr())))
	}
	return errors.Join(errs...)
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// playerAddress gives the players' host the address of its n-th player and returns it.
func (s *Site) playerAddress(n int, v6 bool) (netip.Addr, error) {
	a := home(n, v6)
	return a, s.legs[playersLeg].far.AddAddress(single(a))
}

// botAddress is that of the n-th bot.
func botAddress(n int) netip.Addr {
	b := firstBot.As4()
	b[2] += byte(n / 8) // eight a /24: rented machines stand close together
	b[3] += byte(n % 8)
	return netip.AddrFrom4(b)
}

// botAddress gives the attackers' host the address of its n-th bot and returns it.
func (s *Site) botAddress(n int) (netip.Addr, error) {
	a := botAddress(n)
	return a, s.legs[attackersLeg].far.AddAddress(single(a))
}

// NewGenerator loads a flood that leaves the attackers' host towards the edge.
func (s *Site) NewGenerator(streams []Stream) (*Generator, error) {
	l := s.legs[attackersLeg]
	return NewGenerator(l.far, l.edge.MAC, streams)
}

// Close removes the world.
func (s *Site) Close() error {
	var errs []error
	for _, m := range []*Meter{s.toPlayer, s.toServer, s.toAttacker} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(append(errs, s.World.Close())...)
}

// LookInside tells a person how to look around in the world while it is kept. parry is the program's file.
func (s *Site) LookInside(parry string) string {
	ns := func(h *netns.Host) string { return "ip netns exec " + h.Namespace() }
	socket, pin := s.World.Dir()+"/parry.sock", s.World.Dir()+"/bpf/parry"
	return fmt.Sprintf(`
The world is kept until Ctrl-C. To look inside:
   %[1]s top --socket %[2]s
   %[1]s session list --socket %[2]s
   %[3]s ip -s link
   %[4]s ping -c 3 %[5]s
   bpftool map dump pinned %[6]s/MAP      (ls %[6]s shows them)
   less %[7]s/parry.log
Namespaces: %[8]s, %[9]s, %[10]s, %[11]s
`, parry, socket, ns(s.Edge), ns(s.Players), arena4.Addr(), pin, s.World.Dir(),
		s.Players.Namespace(), s.Attackers.Namespace(), s.Edge.Namespace(), s.Servers.Namespace())
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"github.com/cilium/ebpf/link"

	"parry/pkg/netns"
)

// Where things are (RFC 2544 and 5737 addresses).
const (
	port      = 27960
	firstFlow = 40000
	flows     = 64
	pingFlow  = firstFlow + flows
)

func clientAddr() netip.Addr { return netip.MustParseAddr("198.18.0.2") }
func frontAddr() netip.Addr  { return netip.MustParseAddr("198.18.0.1") }
func backAddr() netip.Addr   { return netip.MustParseAddr("198.51.100.1") }
func serverAddr() netip.Addr { return netip.MustParseAddr("198.51.100.2") }

// site is a client, an edge and a server in a row.
type site struct {
	world                *netns.World
	client, edge, server *netns.Host
	out, front, back, in *netns.Interface // from the client to the server
	target               netip.AddrPort   // what the client sends to
	ends                 endsObjects
	hold                 link.Link // keeps the sender in the kernel's XDP dispatcher
	echo                 *echo
	forwarder            *netns.Process // nil: the kernel forwards
	note                 string         // what forwards, where that was found out
}

func newSite(ctx context.Context, name string, target netip.Addr) (_ *site, err error) {
	w, err := netns.NewWorld(ctx, "compare_"+name, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	s := &site{world: w, target: netip.AddrPortFrom(target, port)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err = s.build(); err != nil {
		return nil, err
	}
	if s.echo, err = startEcho(s.server, netip.AddrPortFrom(serverAddr(), port)); err != nil {
		return nil, err
	}
	return s, s.loadEnds()
}

func (s *site) build() error {
	for name, h := range map[string]**netns.Host{"client": &s.client, "edge": &s.edge, "server": &s.server} {
		var err error
		if *h, err = s.world.Host(name); err != nil {
			return err
		}
	}
	var err error
	s.out, s.front, err = s.world.Link(
		netns.End{Host: s.client, Name: "out0", Addresses: []netip.Prefix{netip.PrefixFrom(clientAddr(), 16)}},
		netns.End{Host: s.edge, Name: "front0", Addresses: []netip.Prefix{netip.PrefixFrom(frontAddr(), 16)}}, netns.LinkOptions{})
	if err != nil {
		return err
	}
	s.back, s.in, err = s.world.Link(
		netns.End{Host: s.edge, Name: "back0", Addresses: []netip.Prefix{netip.PrefixFrom(backAddr(), 24)}},
		netns.End{Host: s.server, Name: "in0", Addresses: []netip.Prefix{netip.PrefixFrom(serverAddr(), 24)}}, netns.LinkOptions{})
	if err != nil {
		return err
	}
	return errors.Join( // nothing is to be resolved meanwhile
		s.out.Neighbour(frontAddr(), s.front.MAC), s.front.Neighbour(clientAddr(), s.out.MAC),
		s.back.Neighbour(serverAddr(), s.in.MAC), s.in.Neighbour(backAddr(), s.back.MAC),
		s.client.DefaultRoute(frontAddr()), s.server.DefaultRoute(backAddr()),
	)
}

// Close removes all of it.
func (s *site) Close() error {
	var errs []error
	if s.hold != nil {
		errs = append(errs, s.hold.Close())
	}
	if s.ends.Sink != nil {
		errs = append(errs, s.ends.Close())
	}
	if s.echo != nil {
		errs = append(errs, s.echo.Close())
	}
	return errors.Join(append(errs, s.world.Close())...)
}

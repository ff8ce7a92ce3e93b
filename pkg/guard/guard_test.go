// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/config"
)

const file = `
nat: {addresses: [10.0.1.1, "fd00:1::1"]}
services:
  - {name: arena, listen: [203.0.113.10:27960-27969, 203.0.113.10:27980], game: openarena, pool: eu4}
  - {name: arena6, listen: "[2001:db8::10]:27960-27969", game: openarena, pool: eu6}
  - {name: craft, listen: 203.0.113.10:25565, game: minecraft, pool: mc, forward: transparent}
  - {name: odd, listen: 203.0.113.10:20-30, protocol: tcp, game: generic_tcp, pool: odd}
  - {name: shell, listen: 203.0.113.11:22, protocol: tcp, game: generic_tcp, pool: shell}
  - {name: beside, listen: 203.0.113.11:27970, protocol: [udp, tcp], game: auto, pool: beside}
pools:
  - {name: eu4, servers: [{name: eu-1, address: 10.0.1.11:27960-27980}, {name: eu-2, address: 10.0.1.12:27960-27980}]}
  - {name: eu6, servers: [{name: eu-1, address: "[fd00:1::11]:27960-27969"}]}
  - {name: mc, servers: [{name: m-1, address: 10.0.1.21:25565}]}
  - {name: odd, servers: [{name: o-1, address: 10.0.1.31:20-30}]}
  - {name: shell, servers: [{name: s-1, address: 10.0.1.41:22}]}
  - {name: beside, servers: [{name: b-1, address: 10.0.1.11:7000}]}
  - {name: unused, servers: [{name: u-1, address: 10.0.1.51:7000}]}
`

func parse(t *testing.T) *config.Config {
	t.Helper()
	c, err := config.Parse("x.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var mac = net.HardwareAddr{2, 0, 0, 0, 0, 1}

// near is a server on the edge's own network.
func near(server netip.Addr) (Way, error) {
	w := Way{Source: netip.MustParseAddr("10.0.1.2"), Link: "eth1", MAC: mac}
	if server.Is6() {
		w.Source = netip.MustParseAddr("fd00:1::2")
	}
	return w, nil
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name  string
		names []string
		o     Options
		rules []string // of which there must be all, and no others
	}{
		{"nat, and what another pool has at that address", []string{"eu4/eu-1"}, Options{Way: near}, []string{
			`ip saddr { 10.0.1.1, 10.0.1.2 } accept comment "the edge"`,
			`udp dport { 7000, 27960-27969, 27980 } jump from_edge`, `tcp dport { 7000 } jump from_edge`,
		}},
		{"both families of one machine", []string{"eu4/eu-1", "eu6/eu-1"}, Options{Way: near, More: []netip.Addr{netip.MustParseAddr("192.0.2.77")}}, []string{
			`ip saddr { 10.0.1.1, 10.0.1.2, 192.0.2.77 } accept comment "the edge"`, `ip6 saddr { fd00:1::1, fd00:1::2 } accept comment "the edge"`,
			`udp dport { 7000, 27960-27969, 27980 } jump from_edge`, `tcp dport { 7000 } jump from_edge`,
		}},
		{"transparent", []string{"m-1"}, Options{Way: near}, []string{`ether saddr { 02:00:00:00:00:01 } accept comment "the edge"`, `tcp dport { 25565 } jump by_edge`}},
		{"transparent, by an interface", []string{"m-1"}, Options{Way: near, Interface: "edge0"}, []string{
			`iifname "edge0" accept comment "nobody but the edge is there"`, `tcp dport { 25565 } jump by_edge`,
		}},
		{"around ssh", []string{"o-1"}, Options{Way: near}, []string{`ip saddr { 10.0.1.1, 10.0.1.2 } accept comment "the edge"`, `tcp dport { 20-21, 23-30 } jump from_edge`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := For(parse(t), c.names, c.o)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(g.Nft()) {
				line = strings.TrimSpace(line)
				if strings.Contains(line, "saddr") || strings.Contains(line, "dport") || strings.HasPrefix(line, "iifname \"edge") {
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(c.rules, got); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, g.Nft())
			}
			if n := strings.Count(g.Nft(), "counter drop"); n != 1 {
				t.Errorf("%d drops, want one", n)
			}
			for line := range strings.Lines(g.Explain()) {
				if !strings.HasPrefix(line, "#") && line != "\n" {
					t.Errorf("what is explained is no comment: %s", line)
				}
			}
		})
	}
}

func TestWhatCannotBeGuarded(t *testing.T) {
	routed := func(a netip.Addr) (Way, error) {
		w, err := near(a)
		w.Gateway = netip.MustParseAddr("10.0.0.1")
		return w, err
	}
	nowhere := func(netip.Addr) (Way, error) { return Way{}, errors.New("no route") }
	bare := func(netip.Addr) (Way, error) { return Way{Link: "tun0"}, nil }
	for _, c := range []struct {
		name string
		way  func(netip.Addr) (Way, error)
		want string
	}{
		{"eu-3", near, `there is no server "eu-3": did you mean eu-1?`},
		{"eu-1", near, "there are several servers eu-1: say which, eu4/eu-1 or eu6/eu-1"},
		{"eu4/nobody", near, `there is no server "eu4/nobody"; there are b-1, eu-1, eu-2, m-1, o-1, s-1, u-1`},
		{"s-1", near, "server s-1: tcp/22 is all that leads there, and a rule for it could lock you out of the server"},
		{"u-1", near, "server unused/u-1: no service leads to pool unused"},
		{"m-1", routed, "packets of `transparent` services carry players' own addresses, and 10.0.0.1 routes them"},
		{"m-1", bare, "the edge's tun0 has no link address to know them by"},
		{"o-1", nowhere, "server o-1: no route: run this on the edge"},
	} {
		_, err := For(parse(t), []string{c.name}, Options{Way: c.way})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	local, err := config.Parse("x.yaml", []byte("services: [{name: a, listen: 203.0.113.10:1000, game: cs2, forward: local}]"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := For(local, []string{"a"}, Options{Way: near}); err == nil || !strings.Contains(err.Error(), "`local` services are on this host") {
		t.Errorf("a local service: %v", err)
	}
	c := parse(t)
	c.NAT.Addresses = nil
	if _, err := For(c, []string{"o-1"}, Options{Way: bare}); err == nil || !strings.Contains(err.Error(), "write nat.addresses") {
		t.Errorf("no address of the edge: %v", err)
	}
}

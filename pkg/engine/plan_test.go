// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/nexthop"
)

// oneLAN is a network in which 10.0.1.0/24 is on link and the rest lies behind a gateway; 192.0.2.0/24 is nowhere.
type oneLAN struct{ mtu int }

func (oneLAN) Resolve(dst netip.Addr) (nexthop.Key, netip.Addr, error) {
	switch {
	case netip.MustParsePrefix("192.0.2.0/24").Contains(dst):
		return nexthop.Key{}, netip.Addr{}, errors.New("no route")
	case netip.MustParsePrefix("10.0.1.0/24").Contains(dst):
		return nexthop.Key{Ifindex: 2, Gateway: dst}, netip.MustParseAddr("10.0.1.1"), nil
	}
	return nexthop.Key{Ifindex: 2, Gateway: netip.MustParseAddr("10.0.1.254")}, netip.MustParseAddr("10.0.1.1"), nil
}

func (n oneLAN) Links() []nexthop.Link {
	return []nexthop.Link{{Ifindex: 2, Name: "lan", MTU: max(n.mtu, 1500), Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.1.1/24")}}}
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("t.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func plan(t *testing.T, text string, n oneLAN) (*loader.Plan, []nexthop.Key) {
	t.Helper()
	p, keys, err := planOf(parse(t, text), n, []loader.Interface{{Name: "lan", Ifindex: 2}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p, keys
}

const twoServers = `
services:
  - {name: arena, listen: ["203.0.113.10:27960-27963"], protocol: [udp, tcp], pool: p}
pools:
  - name: p
    servers:
      - {name: near, address: "10.0.1.11:5000-5003"}
      - {name: far, address: "198.51.100.9:6000-6003", weight: 3}
`

func TestNATFacesAServerWithTheAddressThatTheKernelPrefers(t *testing.T) {
	p, keys := plan(t, twoServers, oneLAN{})
	want := []netip.Addr{netip.MustParseAddr("10.0.1.1")}
	for _, s := range p.Pools[0].Servers {
		if diff := cmp.Diff(want, s.NAT, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("server %s: NAT addresses (-want +got)\n%s", s.Name, diff)
		}
	}
	if len(keys) != 2 || keys[0].Gateway != netip.MustParseAddr("10.0.1.11") || keys[1].Gateway != netip.MustParseAddr("10.0.1.254") {
		t.Errorf("next hops %v: want the server on link and the gateway", keys)
	}
}

func TestConfiguredNATAddressesWin(t *testing.T) {
	p, _ := plan(t, "nat: {addresses: [203.0.113.77]}\n"+twoServers, oneLAN{})
	if got := p.Pools[0].Servers[1].NAT; len(got) != 1 || got[0] != netip.MustParseAddr("203.0.113.77") {
		t.Errorf("NAT addresses %v", got)
	}
}

func TestAServerWithoutARouteStaysInThePlan(t *testing.T) {
	p, keys := plan(t, `
services: [{name: a, listen: "203.0.113.10:1", protocol: udp, pool: p}]
pools: [{name: p, servers: [{name: lost, address: "192.0.2.9:1"}]}]`, oneLAN{})
	if len(p.Pools[0].Servers) != 1 || len(keys) != 0 {
		t.Errorf("servers %v, next hops %v", p.Pools[0].Servers, keys)
	}
}

func TestInsideIsTheServersOwnNetworkOrItself(t *testing.T) {
	p, _ := plan(t, twoServers, oneLAN{})
	want := []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("198.51.100.9/32")}
	if diff := cmp.Diff(want, p.Inside, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("inside (-want +got)\n%s", diff)
	}
}

func TestTheTableFollowsWeightsAndFamilies(t *testing.T) {
	p, _ := plan(t, twoServers, oneLAN{})
	pool := p.Pools[0]
	share := map[uint32]int{}
	for _, s := range pool.Table4 {
		share[s]++
	}
	if r := float64(share[1]) / float64(share[0]); r < 2.9 || r > 3.1 {
		t.Errorf("shares %v: want 1 to 3", share)
	}
	if pool.Table6 != nil {
		t.Error("a table for a family without servers")
	}
}

func TestFrontsCountOffsetsFromTheLowestPort(t *testing.T) {
	p, _ := plan(t, `
services: [{name: a, listen: ["203.0.113.10:7000", "203.0.113.10:7005"], protocol: [udp, tcp], pool: p}]
pools: [{name: p, servers: [{name: s, address: "10.0.1.11:9000"}]}]`, oneLAN{})
	var got []uint16
	for _, f := range p.Services[0].Fronts {
		got = append(got, f.Offset)
	}
	if diff := cmp.Diff([]uint16{0, 5, 0, 5}, got); diff != "" {
		t.Errorf("offsets (-want +got)\n%s", diff)
	}
}

func TestFragmentsBeginSessionsWhereTheServiceSaysSo(t *testing.T) {
	for more, want := range map[string]bool{"": false, ", fragments: drop": false, ", fragments: admit": true} {
		p, _ := plan(t, strings.Replace(twoServers, ", pool: p}", ", pool: p"+more+"}", 1), oneLAN{})
		if got := p.Services[0].Fragments; got != want {
			t.Errorf("%q: %v", more, got)
		}
	}
}

func TestJumboFramesNeedBuffers(t *testing.T) {
	for mtu, want := range map[int]bool{1500: false, 3000: false, 9000: true} {
		if p, _ := plan(t, twoServers, oneLAN{mtu}); p.Frags != want {
			t.Errorf("MTU %d: frags = %v", mtu, p.Frags)
		}
	}
}

func TestAllServersDrainingIsNoError(t *testing.T) {
	p, _ := plan(t, `
services: [{name: a, listen: "203.0.113.10:1", protocol: udp, pool: p}]
pools: [{name: p, servers: [{name: s, address: "10.0.1.11:1", weight: 0}]}]`, oneLAN{})
	if p.Pools[0].Table4 != nil {
		t.Error("a server that drains is in the table")
	}
}

func TestSamePlanSeesWhatRoutesChange(t *testing.T) {
	a, _ := plan(t, twoServers, oneLAN{})
	b, _ := plan(t, twoServers, oneLAN{})
	if !samePlan(a, b) {
		t.Error("the same network gives another plan")
	}
	b.Pools[0].Servers[0].NAT = []netip.Addr{netip.MustParseAddr("10.0.1.2")}
	if samePlan(a, b) {
		t.Error("another NAT address goes unseen")
	}
}

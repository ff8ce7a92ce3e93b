// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// The edge's own addresses, its servers, and who plays.
var (
	vip4     = netip.MustParseAddr("203.0.113.10")
	vip6     = netip.MustParseAddr("2001:db8::10")
	nat4     = netip.MustParseAddr("203.0.113.20")
	nat6     = netip.MustParseAddr("2001:db8::20")
	server4  = netip.MustParseAddr("198.51.100.11") // of service nat
	server6  = netip.MustParseAddr("2001:db8:5::11")
	open4    = netip.MustParseAddr("198.51.100.21") // of service open
	open6    = netip.MustParseAddr("2001:db8:5::21")
	host4    = netip.MustParseAddr("203.0.113.99") // this host's, and no service's
	host6    = netip.MustParseAddr("2001:db8::99")
	player4  = netip.MustParseAddrPort("192.0.2.1:40000")
	player6  = netip.MustParseAddrPort("[2001:db8:c::1]:40000")
	other4   = netip.MustParseAddrPort("192.0.2.77:41000")
	other6   = netip.MustParseAddrPort("[2001:db8:c:7::1]:41000")
	router4  = netip.MustParseAddr("192.0.2.254") // on the players' side
	router6  = netip.MustParseAddr("2001:db8:c:ffff::1")
	inside4  = netip.MustParseAddrPort("198.51.100.200:42000") // a player on the servers' side
	inside6  = netip.MustParseAddrPort("[2001:db8:5::200]:42000")
	serverIn = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:5::/48")}
)

const (
	natPort     = 27960
	openPort    = 27961
	localPort   = 27962
	membersPort = 27963
	emptyPort   = 27964
	rangePort   = 28000 // to 28003, and 28010
	gamePort    = 27000 // of the servers

	natFirst, natLast = uint16(2000), uint16(2099)
)

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// vip is where a service's players of the client's family send to.
func vip(client netip.AddrPort, port uint16) netip.AddrPort {
	if client.Addr().Is4() {
		return at(vip4, port)
	}
	return at(vip6, port)
}

func table(of func(i int) uint32) []uint32 {
	t := make([]uint32, loader.MaglevSize)
	for i := range t {
		t[i] = of(i)
	}
	return t
}

func always(server uint32) []uint32 { return table(func(int) uint32 { return server }) }

func pool(name string, v4, v6 netip.Addr, port uint16) loader.Pool {
	return loader.Pool{Name: name, Table4: always(0), Table6: always(1), Servers: []loader.Server{
		{Name: name + "4", Addr: v4, Port: port, NAT: []netip.Addr{nat4}},
		{Name: name + "6", Addr: v6, Port: port, NAT: []netip.Addr{nat6}},
	}}
}

// fronts are a range of ports of both families and protocols.
func fronts(first, last, offset uint16) []loader.Front {
	var all []loader.Front
	for _, a := range []netip.Addr{vip4, vip6} {
		for _, proto := range []uint8{packet.UDP, packet.TCP} {
			all = append(all, loader.Front{Addr: a, Proto: proto, First: first, Last: last, Offset: offset})
		}
	}
	return all
}

func service(name string, f loader.Forward, pool string, port uint16) loader.Service {
	return loader.Service{
		Name: name, Forward: f, Pool: pool, Enforce: true, EnforceLimits: true, MaxPacket: 65535, Fragments: true,
		Fronts:   fronts(port, port, 0),
		Timeouts: loader.Timeouts{UDP: time.Minute, TCP: 15 * time.Minute, Closing: 5 * time.Second, Opening: 10 * time.Second},
		Limits:   loader.Limits{Prefix4: 32, Prefix6: 64},
	}
}

// basePlan has a service of each kind, none with limits.
func basePlan() *loader.Plan {
	p := &loader.Plan{
		Enforce: true, NATPorts: [2]uint16{natFirst, natLast}, Inside: serverIn,
		Host: loader.HostBudget{PacketsPerSecond: 1000, SourcePacketsPerSecond: 200, Always: []loader.ProtoPort{{Proto: packet.TCP, Port: 22}}},
		Services: []loader.Service{
			service("nat", loader.NAT, "nat", natPort),
			service("open", loader.Transparent, "open", openPort),
			service("local", loader.Local, "", localPort),
			service("members", loader.NAT, "nat", membersPort),
			service("empty", loader.NAT, "empty", emptyPort),
			service("range", loader.NAT, "range", rangePort),
		},
		Pools: []loader.Pool{
			pool("nat", server4, server6, gamePort),
			pool("open", open4, open6, gamePort),
			pool("range", netip.MustParseAddr("198.51.100.31"), netip.MustParseAddr("2001:db8:5::31"), 5000),
			{Name: "empty"},
		},
	}
	p.Services[3].Allowlist = true
	p.Services[5].Fronts = append(fronts(rangePort, rangePort+3, 0), fronts(rangePort+10, rangePort+10, 4)...)
	return p
}

// with changes a service of the plan.
func with(p *loader.Plan, name string, change func(*loader.Service)) *loader.Plan {
	for i := range p.Services {
		if p.Services[i].Name == name {
			change(&p.Services[i])
		}
	}
	return p
}

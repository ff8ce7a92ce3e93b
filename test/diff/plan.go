// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"parry/loader"
	"parry/test/model"
	"parry/test/packet"
)

// The edge's own addresses and its servers.
var (
	vip4    = netip.MustParseAddr("203.0.113.10")
	vip6    = netip.MustParseAddr("2001:db8::10")
	nat4    = netip.MustParseAddr("203.0.113.20")
	second4 = netip.MustParseAddr("203.0.113.21")
	nat6    = netip.MustParseAddr("2001:db8::20")
	host4   = netip.MustParseAddr("203.0.113.99") // this host's, and no service's
	host6   = netip.MustParseAddr("2001:db8::99")
)

const (
	natPort     = 27960
	openPort    = 27961
	localPort   = 27962
	membersPort = 27963
	emptyPort   = 27964
	tightPort   = 27965
	lentPort    = 27966
	watchPort   = 27967
	smallPort   = 27968
	looserPort  = 27969
	twinPort    = 27970
	rangePort   = 28000 // to 28003, and 28010
	withinPort  = 2004  // among NAT's
	gamePort    = 27000 // of the servers

	natFirst, natLast = 2000, 2023
)

// servicePorts are the ports that some service of some plan listens on.
var servicePorts = []uint16{natPort, natPort, openPort, openPort, localPort, membersPort, emptyPort, tightPort, lentPort, watchPort, smallPort,
	looserPort, twinPort, rangePort, rangePort + 2, rangePort + 10, withinPort}

func fronts(first, last, offset uint16, addrs []netip.Addr, protos ...uint8) []loader.Front {
	var all []loader.Front
	for _, a := range addrs {
		for _, proto := range protos {
			all = append(all, loader.Front{Addr: a, Proto: proto, First: first, Last: last, Offset: offset})
		}
	}
	return all
}

func service(name string, f loader.Forward, pool string, port uint16) loader.Service {
	return loader.Service{
		Name: name, Forward: f, Pool: pool, Enforce: true, EnforceLimits: true, MaxPacket: 65535, Fragments: true,
		Fronts:   fronts(port, port, 0, []netip.Addr{vip4, vip6}, packet.UDP, packet.TCP),
		Timeouts: loader.Timeouts{UDP: time.Minute, TCP: 15 * time.Minute, Closing: 5 * time.Second, Opening: 10 * time.Second},
		Limits:   loader.Limits{Prefix4: 32, Prefix6: 64},
	}
}

func with(s loader.Service, change func(*loader.Service)) loader.Service {
	change(&s)
	return s
}

func server(addr string, port uint16, nat ...netip.Addr) loader.Server {
	return loader.Server{Name: addr, Addr: netip.MustParseAddr(addr), Port: port, NAT: nat}
}

// table spreads clients over a pool's servers, cell by cell.
func table(servers ...uint32) []uint32 {
	t := make([]uint32, loader.MaglevSize)
	for i := range t {
		t[i] = servers[i%len(servers)]
	}
	return t
}

func pools() []loader.Pool {
	return []loader.Pool{
		{Name: "nat", Table4: table(0, 1, 1), Table6: table(2), Servers: []loader.Server{
			server("198.51.100.11", gamePort, nat4), server("198.51.100.12", gamePort, nat4, second4), server("2001:db8:5::11", gamePort, nat6),
		}},
		{Name: "open", Table4: table(0), Table6: table(1), Servers: []loader.Server{
			server("198.51.100.21", gamePort, second4), server("2001:db8:5::21", gamePort, nat6),
		}},
		{Name: "range", Table4: table(0), Table6: table(1), Servers: []loader.Server{
			server("198.51.100.31", 5000, nat4), server("2001:db8:5::31", 5000, nat6),
		}},
		{Name: "empty"},
	}
}

// everything has a service of each kind.
func everything() *loader.Plan {
	p := &loader.Plan{
		Enforce: true, NATPorts: [2]uint16{natFirst, natLast},
		Inside: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:5::/48")},
		Host: loader.HostBudget{PacketsPerSecond: 400, SourcePacketsPerSecond: 100, Always: []loader.ProtoPort{
			{Proto: packet.TCP, Port: 22}, {Proto: packet.UDP, Port: 4789}}},
		Pools: pools(),
		Services: []loader.Service{
			service("nat", loader.NAT, "nat", natPort),
			service("open", loader.Transparent, "open", openPort),
			service("local", loader.Local, "", localPort),
			with(service("members", loader.NAT, "nat", membersPort), func(s *loader.Service) { s.Allowlist = true }),
			with(service("empty", loader.NAT, "empty", emptyPort), func(s *loader.Service) {
				s.Enforce, s.Limits.NewSessions, s.Limits.Window = false, 3, 20*time.Second
			}),
			with(service("tight", loader.Transparent, "open", tightPort), func(s *loader.Service) {
				s.Limits = loader.Limits{Packets: 100, PacketBurst: 20, Bytes: 5000, ByteBurst: 3000, NewSessions: 6, Window: 10 * time.Second,
					Sessions: 8, Prefix4: 24, Prefix6: 48}
			}),
			with(service("lent", loader.NAT, "nat", lentPort), func(s *loader.Service) {
				s.Limits = loader.Limits{Packets: 20, PacketBurst: 512, Bytes: 20_000, ByteBurst: 100_000, Prefix4: 24, Prefix6: 48}
			}),
			with(service("watch", loader.NAT, "nat", watchPort), func(s *loader.Service) {
				s.Enforce, s.Fragments, s.MaxPacket = false, false, 500
				s.Limits = loader.Limits{Packets: 50, PacketBurst: 20, NewSessions: 2, Window: 10 * time.Second, Sessions: 4, Prefix4: 32, Prefix6: 64}
			}),
			with(service("small", loader.Transparent, "open", smallPort), func(s *loader.Service) { s.MaxPacket, s.Fragments = 300, false }),
			with(service("looser", loader.Local, "", looserPort), func(s *loader.Service) {
				s.EnforceLimits = false
				s.Limits = loader.Limits{Packets: 50, PacketBurst: 20, Bytes: 4000, ByteBurst: 1500, NewSessions: 3, Window: 10 * time.Second,
					Sessions: 2, Prefix4: 32, Prefix6: 64}
			}),
			service("twin", loader.Transparent, "open", twinPort),
			with(service("range", loader.NAT, "range", rangePort), func(s *loader.Service) {
				s.Limits = loader.Limits{Packets: 100, PacketBurst: 30, Prefix4: 32, Prefix6: 64}
			}),
		},
	}
	ranges := &p.Services[len(p.Services)-1]
	ranges.Fronts = append(fronts(rangePort, rangePort+3, 0, []netip.Addr{vip4, vip6}, packet.UDP, packet.TCP),
		fronts(rangePort+10, rangePort+10, 4, []netip.Addr{vip4, vip6}, packet.UDP, packet.TCP)...)
	return p
}

// plain is NAT over UDP and IPv4, and nothing else: a program without all that a configuration may not need.
func plain() *loader.Plan {
	p := everything()
	p.Services = []loader.Service{with(service("nat", loader.NAT, "nat", natPort), func(s *loader.Service) {
		s.Fronts = fronts(natPort, natPort, 0, []netip.Addr{vip4}, packet.UDP)
	})}
	return p
}

// changed is a plan after a change.
func changed(change func(*loader.Plan)) *loader.Plan {
	p := everything()
	change(p)
	return p
}

func each(p *loader.Plan, change func(*loader.Service)) {
	for i := range p.Services {
		change(&p.Services[i])
	}
}

// edge is a kind of edge: the plans that it has had before a sequence begins, the one that it begins with, and those that it
// may be given then. The first of all makes the rings of ports; all that have ever been give services their numbers.
type edge struct {
	sizes   loader.Sizes
	history []*loader.Plan
	plans   []*loader.Plan // plans[0] is what it begins with
}

func sizes(sessions, sources uint32) loader.Sizes {
	return loader.Sizes{Sessions: sessions, Blocks: 1024, Allows: 1024, Prefixes: 1024, Sources: sources, Fragments: 8192, Services: 32, NAT4: 2, NAT6: 1,
		Regulars: 1024, Watched: 256}
}

// edges are the kinds.
func edges() map[string]edge {
	within := with(service("within", loader.Transparent, "open", withinPort), func(s *loader.Service) {
		s.Fronts = fronts(withinPort, withinPort, 0, []netip.Addr{vip4, vip6, nat4, nat6}, packet.UDP, packet.TCP)
	})
	add := func(p *loader.Plan) { p.Services = append(p.Services, within) }
	without := func(p *loader.Plan) {
		p.Services = slices.DeleteFunc(p.Services, func(s loader.Service) bool { return s.Name == "nat" || s.Name == "open" || s.Name == "local" })
	}
	all := []*loader.Plan{
		everything(),
		changed(add),
		changed(without),
		changed(func(p *loader.Plan) { p.Enforce = false }),
		changed(func(p *loader.Plan) { // nothing is limited
			each(p, func(s *loader.Service) { s.Limits, s.MaxPacket = loader.Limits{Prefix4: 32, Prefix6: 64}, 65535 })
		}),
		changed(func(p *loader.Plan) { // everybody is, by other prefixes
			each(p, func(s *loader.Service) {
				s.Limits = loader.Limits{Packets: 200, PacketBurst: 300, NewSessions: 20, Window: 10 * time.Second, Prefix4: 16, Prefix6: 32}
				s.Timeouts = loader.Timeouts{UDP: 5 * time.Second, TCP: 20 * time.Second, Closing: time.Second, Opening: 2 * time.Second}
			})
		}),
		changed(func(p *loader.Plan) { // modes go round
			each(p, func(s *loader.Service) {
				switch s.Forward {
				case loader.NAT:
					s.Forward = loader.Transparent
				case loader.Transparent:
					s.Forward, s.Pool = loader.Local, ""
				default:
					s.Forward, s.Pool = loader.NAT, "nat"
				}
			})
		}),
		changed(func(p *loader.Plan) { // servers move, and one address is on both sides
			p.Pools[0].Servers[0].Addr = netip.MustParseAddr("198.51.100.41")
			p.Pools[0].Table6 = nil
			p.Host = loader.HostBudget{}
		}),
	}
	watched := changed(func(p *loader.Plan) { p.Enforce = false; add(p) })
	strict := changed(func(p *loader.Plan) { // nothing is only watched: a flood from listed sources has a way of its own
		each(p, func(s *loader.Service) { s.Enforce, s.EnforceLimits = true, true })
		add(p)
	})
	kinds := map[string]edge{
		"strict": {sizes(4096, 4096), []*loader.Plan{everything(), strict}, []*loader.Plan{strict, everything()}},
		"all":    {sizes(4096, 4096), []*loader.Plan{changed(add), everything()}, all},
		"full":   {sizes(20, 12), []*loader.Plan{everything(), changed(add)}, all},
		"watch":  {sizes(4096, 4096), []*loader.Plan{everything(), changed(add)}, []*loader.Plan{watched, everything()}},
		"plain":  {sizes(64, 64), nil, []*loader.Plan{plain()}},
	}
	maps.Copy(kinds, strangerEdges())
	maps.Copy(kinds, shakenEdges())
	for name, k := range kinds {
		kinds[name] = k.told()
	}
	return kinds
}

// told is the edge with plans that differ in what is told of packets and timed of sessions, and in what that hangs on: it changes nothing for
// them.
func (k edge) told() edge {
	plans := make([]*loader.Plan, len(k.plans)) // other edges may have the same ones
	for i, of := range k.plans {
		p := *of
		p.Samples, p.Services = loader.SampleLevel(i+1)%(loader.SamplesAll+1), slices.Clone(p.Services)
		p.Doubts = i%4 != 2
		p.Watch = i%2 == 0
		p.Told = p.Samples == loader.SamplesAll // what tells of sessions keeps them off the short cut at first: elsewhere that is to be met
		for j := range p.Services {
			s := &p.Services[j]
			s.WatchGate = s.Gate != "" && i%3 == 1 && j%2 == 1
			s.Sequence = loader.Sequence(j % 4)
			if j%2 == 0 {
				s.Trial = uint8(1 + i%2) // a reload begins another
			}
		}
		plans[i] = &p
	}
	k.plans = plans
	return k
}

// configOf is the model's word for a plan.
func configOf(p *loader.Plan) model.Config {
	tenth := func(n uint64) model.Rate { return model.PerSecond(n, n/10) }
	c := model.Config{Enforce: p.Enforce, Doubts: p.Doubts, Host: tenth(p.Host.PacketsPerSecond), Source: tenth(p.Host.SourcePacketsPerSecond),
		NATFirst: p.NATPorts[0], NATLast: p.NATPorts[1], Inside: p.Inside,
		Rules: rulesOf(p.Rules), Answers: budgetOf(p.Answers.Total, 2), AnswersPrefix: budgetOf(p.Answers.Prefix, 1)}
	for _, a := range p.Host.Always {
		c.Always = append(c.Always, model.ProtoPort(a))
	}
	for i := range p.Services {
		c.Services = append(c.Services, serviceOf(&p.Services[i]))
		c.Services[i].Geo = geoOf(p, p.Services[i].Geo)
	}
	for _, pool := range p.Pools {
		m := model.Pool{Name: pool.Name, Table4: pool.Table4, Table6: pool.Table6}
		for _, s := range pool.Servers {
			m.Servers = append(m.Servers, model.Server{Addr: s.Addr, Port: s.Port, NAT: s.NAT, TCP: (*model.TCPOptions)(s.TCP)})
		}
		c.Pools = append(c.Pools, m)
	}
	return c
}

func serviceOf(s *loader.Service) model.Service {
	l := s.Limits
	m := model.Service{
		Name: s.Name, Mode: model.Mode(s.Forward), Pool: s.Pool, Allowlist: s.Allowlist, Fragments: s.Fragments, Enforce: s.Enforce,
		EnforceLimits: s.EnforceLimits, WatchGate: s.WatchGate, Trial: int(s.Trial), MaxPacket: int(s.MaxPacket), Timeouts: model.Timeouts(s.Timeouts),
		Strangers: strangersOf(s.Strangers), Gate: s.Gate, Params: s.GateParams, Cached: s.Answers,
		SYNProxy: model.SYNProxy(s.SynProxy), ProxyHeader: s.ProxyHeader,
		Limits: model.Limits{
			Packets: model.PerSecond(l.Packets, l.PacketBurst), Bytes: model.PerSecond(l.Bytes, l.ByteBurst),
			News:     model.Rate{Units: uint64(l.NewSessions), Window: l.Window, Burst: uint64(l.NewSessions)},
			Sessions: int(l.Sessions), Prefix4: int(l.Prefix4), Prefix6: int(l.Prefix6),
			Shared: model.Shared{Sessions: int(l.Shared.Sessions), Factor: int(max(l.Shared.Factor, 1))},
		},
		Prefix: wideOf(s.Prefix), Unproven: wideOf(s.Unproven),
	}
	for _, f := range s.Fronts {
		m.Fronts = append(m.Fronts, model.Front(f))
	}
	return m
}

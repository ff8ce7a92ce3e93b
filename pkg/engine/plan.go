// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"parry/loader"
	"parry/pkg/balance"
	"parry/pkg/config"
	"parry/pkg/nexthop"
)

// jumbo is the largest packet that one page holds beside XDP's headroom (256) and the kernel's own tail (320): larger
// ones come in several buffers.
const jumbo = 4096 - 256 - 320 - 18

// router answers where a destination is; nexthop.Watcher does.
type router interface {
	Resolve(dst netip.Addr) (nexthop.Key, netip.Addr, error)
	Links() []nexthop.Link
}

// planOf turns a configuration into what the fast path needs, given where its servers are now. The next hops of the
// servers that can be reached come with it.
func planOf(c *config.Config, r router, ifaces []loader.Interface, log *slog.Logger) (*loader.Plan, []nexthop.Key, error) {
	p := &loader.Plan{
		Enforce: c.Enforce, NATPorts: [2]uint16{c.NAT.Ports.First, c.NAT.Ports.Last},
		Host: loader.HostBudget{
			PacketsPerSecond: c.Host.PacketsPerSecond, SourcePacketsPerSecond: c.Host.SourcePacketsPerSecond,
		},
	}
	for _, a := range c.Host.Always {
		p.Host.Always = append(p.Host.Always, loader.ProtoPort{Proto: protocol(a.Proto), Port: a.Port})
	}
	links := r.Links()
	for _, l := range links {
		if slices.ContainsFunc(ifaces, func(i loader.Interface) bool { return i.Ifindex == l.Ifindex }) && l.MTU > jumbo {
			p.Frags = true
		}
	}
	var keys []nexthop.Key
	for i := range c.Pools {
		pool, hops, inside, err := poolOf(&c.Pools[i], c.NAT.Addresses, r, links, log)
		if err != nil {
			return nil, nil, err
		}
		p.Pools = append(p.Pools, pool)
		keys = append(keys, hops...)
		p.Inside = append(p.Inside, inside...)
	}
	slices.SortFunc(p.Inside, func(a, b netip.Prefix) int { return a.Compare(b) })
	p.Inside = slices.Compact(p.Inside)
	p.Answers = loader.AnswerBudget{Prefix: bytesPerSecond(c.Queries.UnprovenKbps), Total: bytesPerSecond(c.Queries.TotalKbps)}
	kept := cached(c)
	for i := range c.Services {
		p.Services = append(p.Services, serviceOf(&c.Services[i]))
		p.Services[i].Answers = kept[i]
		p.Services[i].Strangers = strangersOf(c, &c.Services[i])
	}
	return p, keys, nil
}

func bytesPerSecond(kbps uint32) uint64 { return uint64(kbps) * 1000 / 8 }

// What a server may send for each byte of a client that is proven weakly. A game that loads its world over UDP takes the most: Luanti sends
// three megabytes within a second and a half, 15 bytes for each of its client's, and 37 while a window is under way (test/e2e plays it; of
// the labelled captures none takes more than a download by QUIC, 37). That times three, for clients that are slow to acknowledge. Where a
// gate tells queries, which are paid for apart, and the game has a challenge of its own before it loads a world, there is room for more:
// RakNet acknowledges a megabyte a second with four kilobytes.
const (
	gainUngated = 128
	gainGated   = 256
)

// strangersOf fills in what follows from other keys. The tiers bear a quarter of the unproven's slots a second (bpf/stage/unproven.h):
// half of that for strangers at first sight, half for those who came again, each shared out over the services.
func strangersOf(c *config.Config, s *config.Service) loader.Strangers {
	share := max(c.Sizes.Unproven/8/uint32(len(c.Services)), 1)
	out := loader.Strangers{
		Packets: s.Strangers.SourcePacketsPerSecond, Sessions: uint64(s.Strangers.SessionsPerSecond),
		Admissions: uint64(s.Strangers.AdmissionsPerSecond), Queries: uint64(s.Queries.SourcePerSecond),
		Unanswered: s.Strangers.UnansweredPackets, Weak: s.Strangers.WeakSessions, WeakPrefix: s.Strangers.WeakPerPrefix,
		WeakGain: s.Strangers.WeakGain,
	}
	if out.Sessions == 0 {
		out.Sessions = uint64(share)
	}
	if out.Admissions == 0 {
		out.Admissions = uint64(share)
	}
	if out.Weak == 0 {
		out.Weak = max(c.Sizes.Sessions/4, 1)
	}
	if out.WeakGain == 0 {
		out.WeakGain = gainUngated
		if s.Gate != "" {
			out.WeakGain = gainGated
		}
	}
	return out
}

func protocol(name string) uint8 {
	if name == "tcp" {
		return loader.ProtoTCP
	}
	return loader.ProtoUDP
}

func protocolName(p uint8) string {
	if p == loader.ProtoTCP {
		return "tcp"
	}
	return "udp"
}

func serviceOf(s *config.Service) loader.Service {
	l := s.Limits.Source
	out := loader.Service{
		Name: s.Name, Pool: s.Pool, Allowlist: s.Access == "allowlist", Enforce: *s.Enforce,
		EnforceLimits: *s.Limits.Enforce, WatchGate: !*s.EnforceGate, MaxPacket: s.Limits.MaxPacket,
		Fragments: s.Fragments == "admit", Gate: s.Gate, SynProxy: synProxyOf(s), ProxyHeader: s.ProxyProtocol == config.ProxyV2, Sequence: sequenceOf(s.Game),
		Limits: loader.Limits{
			Packets: l.PacketsPerSecond, PacketBurst: l.Burst, Bytes: l.BytesPerSecond, ByteBurst: l.BytesBurst,
			NewSessions: l.NewSessions, Window: l.Window, Sessions: l.Sessions, Prefix4: l.IPv4Prefix, Prefix6: l.IPv6Prefix,
			Shared: loader.Shared(l.Shared),
		},
		Prefix: prefixLimits(&s.Limits.Prefix), Unproven: serviceLimits(&s.Limits.Service),
		Timeouts: loader.Timeouts{UDP: s.Timeouts.UDP, TCP: s.Timeouts.TCP, Closing: s.Timeouts.Closing, Opening: s.Timeouts.Opening, Weak: s.Timeouts.Weak, Silent: s.Timeouts.Silent},
	}
	copy(out.GateParams[:], s.GateParams)
	switch s.Forward {
	case config.ForwardNAT:
		out.Forward = loader.NAT
	case config.ForwardTransparent:
		out.Forward = loader.Transparent
	default:
		out.Forward, out.Pool = loader.Local, ""
	}
	lowest := s.Ports().First
	for _, proto := range s.Protocol {
		for _, listen := range s.Listen {
			out.Fronts = append(out.Fronts, loader.Front{
				Addr: listen.Addr, Proto: protocol(proto), First: listen.First, Last: listen.Last, Offset: listen.First - lowest,
			})
		}
	}
	return out
}

func prefixLimits(l *config.PrefixLimits) loader.WideLimits {
	return loader.WideLimits{
		Packets: l.PacketsPerSecond, PacketBurst: l.Burst, Bytes: l.BytesPerSecond, ByteBurst: l.BytesBurst,
		NewSessions: l.NewSessions, Window: l.Window, Enforce: isTrue(l.Enforce), Bits4: l.IPv4, Bits6: l.IPv6,
	}
}

func serviceLimits(l *config.ServiceLimits) loader.WideLimits {
	return loader.WideLimits{
		Packets: l.PacketsPerSecond, PacketBurst: l.Burst, Bytes: l.BytesPerSecond, ByteBurst: l.BytesBurst,
		NewSessions: l.NewSessions, Window: l.Window, Enforce: isTrue(l.Enforce),
	}
}

func synProxyOf(s *config.Service) loader.SynProxy {
	switch s.SynProxy {
	case config.SynProxyAlways:
		return loader.SynProxyAlways
	case config.SynProxyAuto:
		return loader.SynProxyAuto
	}
	return loader.SynProxyOff
}

// poolOf places a pool's servers. One that can't be reached now is still there: its route may come.
func poolOf(c *config.Pool, nat []netip.Addr, r router, links []nexthop.Link, log *slog.Logger) (loader.Pool, []nexthop.Key, []netip.Prefix, error) {
	pool := loader.Pool{Name: c.Name}
	var keys []nexthop.Key
	var inside []netip.Prefix
	for _, s := range c.Servers {
		out := loader.Server{Name: s.Name, Addr: s.Address, Port: s.First, NAT: natFor(nat, s.Address)}
		key, source, err := r.Resolve(s.Address)
		if err != nil {
			log.Warn("a server can't be reached", "pool", c.Name, "server", s.Name, "address", s.Address, "err", err)
		} else {
			keys = append(keys, key)
			inside = append(inside, insideOf(s.Address, key, links))
			if len(out.NAT) == 0 && source.IsValid() {
				out.NAT = []netip.Addr{source}
			}
		}
		pool.Servers = append(pool.Servers, out)
	}
	var err error
	if pool.Table4, err = tableOf(c, true); err == nil {
		pool.Table6, err = tableOf(c, false)
	}
	if err != nil {
		return pool, nil, nil, fmt.Errorf("pool %s: %w", c.Name, err)
	}
	return pool, keys, inside, nil
}

func natFor(nat []netip.Addr, server netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range nat {
		if a.Is4() == server.Is4() {
			out = append(out, a)
		}
	}
	return out
}

// insideOf is the network that a server shares with its neighbours: who is in it would be answered past the edge.
func insideOf(server netip.Addr, key nexthop.Key, links []nexthop.Link) netip.Prefix {
	for _, l := range links {
		if l.Ifindex != key.Ifindex || key.Gateway != server {
			continue
		}
		for _, a := range l.Addrs {
			if a.Contains(server) {
				return a.Masked()
			}
		}
	}
	return netip.PrefixFrom(server, server.BitLen())
}

// tableOf spreads new players over a pool's servers of one family; nil where it has none.
func tableOf(c *config.Pool, v4 bool) ([]uint32, error) {
	var servers []balance.Weighted
	var index []uint32
	for i, s := range c.Servers {
		if s.Address.Is4() == v4 {
			servers = append(servers, balance.Weighted{Name: s.Name, Weight: s.Weight})
			index = append(index, uint32(i))
		}
	}
	if len(servers) == 0 {
		return nil, nil
	}
	table, err := balance.Table(servers, loader.MaglevSize)
	if errors.Is(err, balance.ErrNoServers) {
		return nil, nil // all drain: new players are refused, sessions go on
	}
	if err != nil {
		return nil, err
	}
	for i := range table {
		table[i] = index[table[i]]
	}
	return table, nil
}

// sizesOf sizes the state maps. Spare NAT addresses let a reload add some.
func sizesOf(c *config.Config) loader.Sizes {
	v4, v6 := uint32(4), uint32(0)
	for _, p := range c.Pools {
		for _, s := range p.Servers {
			if !s.Address.Is4() {
				v6 = 2
			}
		}
	}
	var have4, have6 uint32
	for _, a := range c.NAT.Addresses {
		if a.Is4() {
			have4++
		} else {
			have6++
		}
	}
	services := uint32(256)
	for services < uint32(2*len(c.Services)) {
		services *= 2
	}
	return loader.Sizes{
		Sessions: c.Sizes.Sessions, Blocks: c.Sizes.Blocks, Allows: c.Sizes.Allows, Prefixes: c.Sizes.Prefixes, Sources: c.Sizes.Sources,
		Unproven: c.Sizes.Unproven, Greylist: c.Sizes.Greylist, Regulars: c.Sizes.Regulars, Samples: c.Sizes.Samples, Watched: c.Sizes.Watched,
		Fragments: c.Sizes.Fragments, Services: services, NAT4: max(v4, have4), NAT6: max(v6, have6, 1),
	}
}

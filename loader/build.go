// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

const xdpHasFrags = 1 << 5 // BPF_F_XDP_HAS_FRAGS

var generationMaps = []string{
	bpfMapService, bpfMapFront4, bpfMapFront6, bpfMapFrontPort, bpfMapOwn4, bpfMapOwn6, bpfMapNatPick, bpfMapPoolTable,
	bpfMapServer, bpfMapOrigin4, bpfMapOrigin6, bpfMapInside4, bpfMapInside6, bpfMapGeo4, bpfMapGeo6, bpfMapStages, bpfMapGates, bpfMapRules, bpfMapRuleBox, bpfMapGateAnswerAt, bpfMapGateAnswer,
}

// builder turns a plan into the contents of the generation's maps.
type builder struct {
	plan     *Plan
	nat      *natPlan
	services []bpfService
	servers  []bpfServer
	tables   []uint32
	own      map[netip.Addr]struct{}
	fronts   map[frontKey]bpfFront
	origins  map[frontKey]bpfOrigin
	cells    []AnswerCell // whose answers are cached: gateKinds cells of gate_answer_at each
}

type frontKey struct {
	addr  netip.Addr
	port  uint16
	proto uint8
}

// compare puts the lowest address first, and UDP before TCP.
func (k frontKey) compare(o frontKey) int {
	return cmp.Or(k.addr.Compare(o.addr), cmp.Compare(k.port, o.port), cmp.Compare(o.proto, k.proto))
}

func (k frontKey) v4() bpfFrontKey4 {
	return bpfFrontKey4{Addr: be32(k.addr), Port: be16(k.port), Proto: k.proto}
}

func (k frontKey) v6() bpfFrontKey6 {
	return bpfFrontKey6{Addr: addr16(k.addr), Port: be16(k.port), Proto: k.proto}
}

func newBuilder(p *Plan, np *natPlan, n *numbering, sizes Sizes) (*builder, error) {
	b := &builder{plan: p, nat: np, own: hostAddrs(p, np), fronts: map[frontKey]bpfFront{}, origins: map[frontKey]bpfOrigin{}}
	b.services = make([]bpfService, len(n.names))
	for i, old := range n.old {
		b.services[i] = old
		b.services[i].Retired = flag(i > 0)
		b.services[i].Table4, b.services[i].Table6 = noServer, noServer
		b.services[i].Gate, b.services[i].Netchan, b.services[i].Geo = 0, 0, 0 // their numbers were another generation's
	}
	tables, err := b.pools()
	if err != nil {
		return nil, err
	}
	for i := range p.Services {
		s := &p.Services[i]
		number := n.byName[s.Name]
		ever := b.services[number].Ever
		b.services[number] = serviceOf(s, tables[s.Pool])
		b.services[number].Gate, b.services[number].Netchan = b.gate(s.Gate)
		b.services[number].GeoDefault = p.Geo.refuses(s.Geo)
		b.services[number].Ever |= ever
		b.addFronts(s, number)
	}
	for i := range p.Services {
		b.addOrigins(&p.Services[i], n.byName[p.Services[i].Name])
		b.addAnswers(&p.Services[i], n.byName[p.Services[i].Name])
	}
	return b, nil
}

// pools lays servers and tables end to end. Returns where each pool's tables begin.
func (b *builder) pools() (map[string][2]uint32, error) {
	at := map[string][2]uint32{}
	for _, pool := range b.plan.Pools {
		base := uint32(len(b.servers))
		for _, s := range pool.Servers {
			span := b.nat.spans[fmt.Sprint(s.NAT)]
			b.servers = append(b.servers, bpfServer{
				Addr: addr16(s.Addr), Port: be16(s.Port), NatFirst: span[0], NatCount: span[1], Answers: noServer,
			})
			s.TCP.put(&b.servers[len(b.servers)-1])
		}
		var first [2]uint32
		for i, table := range [][]uint32{pool.Table4, pool.Table6} {
			first[i] = noServer
			if table == nil {
				continue
			}
			if len(table) != maglevSize {
				return nil, fmt.Errorf("pool %s: a table of %d cells, not %d", pool.Name, len(table), maglevSize)
			}
			first[i] = uint32(len(b.tables))
			for _, s := range table {
				if s != noServer {
					s += base
				}
				b.tables = append(b.tables, s)
			}
		}
		at[pool.Name] = first
	}
	return at, nil
}

func serviceOf(s *Service, tables [2]uint32) bpfService {
	l := s.Limits
	out := bpfService{
		Packets:        rateOf(l.Packets, 1e9, l.PacketBurst),
		Bytes:          rateOf(l.Bytes, 1e9, l.ByteBurst),
		Sessions:       rateOf(uint64(l.NewSessions), l.Window, uint64(l.NewSessions)),
		PacketBatch:    batchOf(l.Packets, l.PacketBurst, loanPackets),
		ByteBatch:      batchOf(l.Bytes, l.ByteBurst, loanBytes),
		MaxSessions:    l.Sessions,
		MaxPacket:      s.MaxPacket,
		TimeoutUdp:     ticks(s.Timeouts.UDP),
		TimeoutTcp:     ticks(s.Timeouts.TCP),
		TimeoutClosing: ticks(s.Timeouts.Closing),
		TimeoutOpening: ticks(s.Timeouts.Opening),
		Table4:         tables[0],
		Table6:         tables[1],
		Forward:        uint8(s.Forward),
		Allowlist:      flag(s.Allowlist),
		Enforce:        flag(s.Enforce),
		EnforceLimits:  flag(s.EnforceLimits),
		Prefix4:        l.Prefix4,
		Prefix6:        min(l.Prefix6, 64),
		Fragments:      flag(s.Fragments),
		SynProxy:       uint8(s.SynProxy),
		ProxyHeader:    flag(s.ProxyHeader),
		WatchGate:      flag(s.WatchGate),
		Trial:          s.Trial,
		Sequence:       uint8(s.Sequence),
		Answers:        noServer,
	}
	if s.Forward == Local { // neither is about a server on this host
		out.SynProxy, out.ProxyHeader = 0, 0
	}
	s.Strangers.put(&out, s.Timeouts)
	s.putWide(&out)
	out.GateParams = s.GateParams
	if s.Pool == "" {
		out.Table4, out.Table6 = noServer, noServer
	}
	copy(out.Name[:len(out.Name)-1], s.Name)
	out.Ever = everOf(s)
	return out
}

func everOf(s *Service) uint8 {
	var ever uint8
	for _, f := range s.Fronts {
		if f.Addr.Is4() {
			ever |= everIPv4
		} else {
			ever |= everIPv6
		}
	}
	switch s.Forward {
	case Transparent:
		ever |= everTransparent
	case Local:
		ever |= everLocal
	}
	if s.SynProxy != SynProxyOff || s.ProxyHeader {
		ever |= everProxied
	}
	return ever
}

func (b *builder) addFronts(s *Service, number uint16) {
	for _, f := range s.Fronts {
		for p := uint32(f.First); p <= uint32(f.Last); p++ {
			k := frontKey{f.Addr, uint16(p), f.Proto}
			b.fronts[k] = bpfFront{Service: number, Offset: f.Offset + uint16(p) - f.First}
		}
	}
}

// frontPorts are IPv4's fronts by their port in wire order; of a port on several addresses, those of the lowest, and where
// each protocol is another service's, UDP's.
func (b *builder) frontPorts() map[uint16]bpfFrontPort {
	ports := map[uint16]bpfFrontPort{}
	for _, k := range slices.SortedFunc(maps.Keys(b.fronts), frontKey.compare) {
		v, port := b.fronts[k], be16(k.port)
		f, taken := ports[port]
		switch {
		case !k.addr.Is4():
		case !taken:
			ports[port] = bpfFrontPort{Addr: be32(k.addr), Service: v.Service, Offset: v.Offset, Proto: [2]uint8{k.proto}, Gated: flag(b.services[v.Service].Gate != 0), Proxied: flag(b.services[v.Service].SynProxy != 0)}
		case f.Addr == be32(k.addr) && f.Service == v.Service && f.Offset == v.Offset:
			f.Proto[1] = k.proto
			ports[port] = f
		}
	}
	return ports
}

// addOrigins names the service that a server's own first word leaves as: the first one that leads to it.
func (b *builder) addOrigins(s *Service, number uint16) {
	if s.Forward == Local {
		return
	}
	pool := slices.IndexFunc(b.plan.Pools, func(p Pool) bool { return p.Name == s.Pool })
	if pool < 0 {
		return
	}
	for _, srv := range b.plan.Pools[pool].Servers {
		for _, f := range s.Fronts {
			for p := uint32(f.First); f.Addr.Is4() == srv.Addr.Is4() && p <= uint32(f.Last); p++ {
				k := frontKey{srv.Addr, srv.Port + f.Offset + uint16(p) - f.First, f.Proto}
				if _, ok := b.origins[k]; !ok {
					b.origins[k] = bpfOrigin{Vip: addr16(f.Addr), Port: be16(uint16(p)), Service: number}
				}
			}
		}
	}
}

// ownBits says of most addresses that none of the edge's is it (own_bit of bpf/lib/env.h).
func (b *builder) ownBits() (bits [64]uint64) {
	for a := range b.own {
		if a.Is4() {
			i := be32(a) * 0x9e3779b1 >> 20
			bits[i>>6] |= 1 << (i & 63)
		}
	}
	return bits
}

// local tells whether some service is local, or was: its sessions play on, and their replies are to be seen.
func (b *builder) local() bool {
	return slices.ContainsFunc(b.services, func(s bpfService) bool { return s.Ever&everLocal != 0 })
}

// proxied tells whether some service's TCP sessions may be behind the SYN proxy, or once were.
func (b *builder) proxied() bool {
	return slices.ContainsFunc(b.services, func(s bpfService) bool { return s.Ever&everProxied != 0 })
}

// families counts keys by address family.
func families[V any](all map[frontKey]V) (v4, v6 int) {
	for k := range all {
		if k.addr.Is4() {
			v4++
		}
	}
	return v4, len(all) - v4
}

// sizes of the generation's maps: the hashes have room for what is in them.
func (b *builder) sizes() map[string]int {
	front4, front6 := families(b.fronts)
	origin4, origin6 := families(b.origins)
	return map[string]int{
		bpfMapService: len(b.services), bpfMapRules: 2 * len(b.services), bpfMapFront4: front4, bpfMapFront6: front6, bpfMapOwn4: len(b.own), bpfMapOwn6: len(b.own),
		bpfMapNatPick: len(b.nat.pick), bpfMapPoolTable: len(b.tables), bpfMapServer: len(b.servers),
		bpfMapOrigin4: origin4, bpfMapOrigin6: origin6,
		bpfMapInside4: max(len(b.plan.Inside), 1), bpfMapInside6: max(len(b.plan.Inside), 1),
		bpfMapGateAnswerAt: gateKinds * len(b.cells), bpfMapGateAnswer: 2 * gateKinds * len(b.cells),
	}
}

func (b *builder) cfg(c clock) bpfCfg {
	p := b.plan
	cfg := bpfCfg{
		JiffyNs: c.jiffyNs, JiffyBase: c.base, Enforce: flag(p.Enforce), Frags: flag(p.Frags),
		Host:       rateOf(p.Host.PacketsPerSecond, 1e9, p.Host.PacketsPerSecond/10),
		HostSource: rateOf(p.Host.SourcePacketsPerSecond, 1e9, p.Host.SourcePacketsPerSecond/10),
		HostAlways: rateOf(alwaysPerSecond, 1e9, alwaysPerSecond/10),
		HostLink:   rateOf(linkPerSecond, 1e9, linkPerSecond/10),
		Icmp:       rateOf(icmpPerSecond, 1e9, icmpPerSecond/10),
	}
	for i, a := range p.Host.Always[:min(len(p.Host.Always), len(cfg.Always))] {
		cfg.Always[i].Port, cfg.Always[i].Proto = be16(a.Port), a.Proto
	}
	cfg.Local, cfg.Proxied = flag(b.local()), flag(b.proxied())
	// A session may be of a service that went, or that was another then: what has ever been counts, not what the plan
	// says.
	for _, s := range b.services {
		cfg.Ipv4 |= flag(s.Ever&everIPv4 != 0)
		cfg.Ipv6 |= flag(s.Ever&everIPv6 != 0)
		cfg.Transparent |= flag(s.Ever&everTransparent != 0)
		named := s.Name[0] != 0
		cfg.Monitor |= flag(named && (s.Enforce == 0 || s.WatchGate != 0))
		cfg.Books |= flag(named && (s.Enforce == 0 || s.EnforceLimits == 0 || s.WatchGate != 0 || s.Trial != 0 || s.watchesWide()))
		cfg.Trial |= flag(s.Trial != 0)
		cfg.Limits |= flag(s.Packets.Cost != 0 || s.Bytes.Cost != 0)
		cfg.Sizes |= flag(s.MaxPacket != 0 && s.MaxPacket < 65535)
		cfg.wide(&s)
	}
	cfg.Gates = flag(len(p.Gates) > 0)
	cfg.Samples = uint8(p.Samples)
	cfg.Told = flag(p.Told && p.Samples != SamplesNone)
	cfg.Doubts = flag(p.Doubts)
	cfg.Watch = flag(p.Watch)
	cfg.Books |= flag(!p.Enforce)
	cfg.AnswersPrefix = rateOf(p.Answers.Prefix, time.Second, max(p.Answers.Prefix/4, answerBurst))
	cfg.Answers = rateOf((p.Answers.Total+1)/2, time.Second, max(p.Answers.Total/8, answerBurst)) // each of two: those who came again have theirs
	cfg.Nat = flag(b.nat.ports != [len(b.nat.ports)]uint64{})
	return cfg
}

// Budgets that are not configured: enough for any host, little beside a core's few million packets a second.
const (
	alwaysPerSecond = 100_000 // ports of host.always
	linkPerSecond   = 10_000  // ARP, neighbour discovery, non-IP
	icmpPerSecond   = 1_000   // translated and own ICMP errors
)

func (b *builder) fill(c *ebpf.Collection) error {
	w := writer{maps: c.Maps}
	for i, s := range b.services {
		w.put(bpfMapService, uint32(i), s)
	}
	for k, v := range b.fronts {
		w.family(bpfMapFront4, bpfMapFront6, k, v)
	}
	for port, v := range b.frontPorts() {
		w.put(bpfMapFrontPort, uint32(port), v)
	}
	for k, v := range b.origins {
		w.family(bpfMapOrigin4, bpfMapOrigin6, k, v)
	}
	for a := range b.own {
		if a.Is4() {
			w.put(bpfMapOwn4, be32(a), uint32(1))
		} else {
			w.put(bpfMapOwn6, bpfIn6{Addr: addr16(a)}, uint32(1))
		}
	}
	for _, in := range b.plan.Inside {
		if in.Addr().Is4() {
			w.put(bpfMapInside4, bpfInsideKey4{Prefixlen: uint32(in.Bits()), Addr: be32(in.Addr())}, uint32(1))
		} else {
			w.put(bpfMapInside6, bpfInsideKey6{Prefixlen: uint32(in.Bits()), Addr: addr16(in.Addr())}, uint32(1))
		}
	}
	for i, s := range b.servers {
		w.put(bpfMapServer, uint32(i), s)
	}
	for i, v := range b.nat.pick {
		w.put(bpfMapNatPick, uint32(i), v)
	}
	w.array(bpfMapPoolTable, b.tables)
	w.array(bpfMapGateAnswerAt, b.noAnswers())
	return w.err
}

// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"parry/loader"
)

const (
	tableSize = 262144 // of sessions and sources: the default
	listSize  = 1 << 20
	loopback  = 1 // test runs come in by it: what leaves by it is a TX
	natFirst  = 2000
	natLast   = 65535
	gamePort  = 27960
)

// edge is a fast path in the bench's namespace, attached to nothing.
type edge struct {
	*loader.Edge
	b       *bench
	watch   bool     // sessions may be watched
	wide    bool     // its services have all limits and rules that there are
	reasons []string // that it drops packets for, and no others
	proxied bool     // its TCP is behind the SYN proxy
}

// sizes are the defaults, but for tables that a case doesn't look into.
func sizes() loader.Sizes {
	return loader.Sizes{Sessions: tableSize, Blocks: 1024, Allows: 1024, Prefixes: 1024, Sources: tableSize, Fragments: 8192, Services: 64, NAT4: 4, NAT6: 2}
}

// openEdge makes a fast path without sessions. The bench closes it.
func (b *bench) openEdge(s loader.Sizes) (*edge, error) {
	e := &edge{b: b}
	if err := e.open(s); err != nil {
		return nil, err
	}
	b.closers = append(b.closers, e.Close)
	b.edges = append(b.edges, e)
	return e, nil
}

func (e *edge) open(s loader.Sizes) error {
	opened, err := loader.Open(loader.Options{Log: slog.New(slog.DiscardHandler), Sizes: s})
	if err != nil {
		return err
	}
	e.Edge = opened
	err = e.SetLink(loader.LinkInfo{Ifindex: e.b.out.Index, Phys: loopback, MTU: 1500, MAC: [6]byte(e.b.out.MAC)})
	if err != nil {
		return errors.Join(err, e.Close())
	}
	return nil
}

// Close may be called again.
func (e *edge) Close() error {
	if e.Edge == nil {
		return nil
	}
	open := e.Edge
	e.Edge = nil
	return open.Close()
}

func (e *edge) use(p *loader.Plan) error {
	if e.wide {
		widen(p)
	}
	if p.Watch = e.watch; e.watch {
		for i := range p.Services {
			p.Services[i].Sequence = loader.SequenceQuake3
		}
	}
	g, err := e.Prepare(p)
	if err != nil {
		return err
	}
	return e.Use(g)
}

// leaveBy has all that is forwarded leave by this interface.
func (e *edge) leaveBy(ifindex int) error {
	hops, err := e.Hops()
	if err != nil {
		return err
	}
	for _, h := range hops {
		if h.Phys == ifindex {
			continue
		}
		h.Phys = ifindex
		if _, err := e.SetHop(h); err != nil {
			return err
		}
	}
	return e.SetLink(loader.LinkInfo{Ifindex: e.b.out.Index, Phys: ifindex, MTU: 1500, MAC: [6]byte(e.b.out.MAC)})
}

// check fails if something else was measured than was meant: packets that were dropped on the way.
func (e *edge) check() error {
	all, err := e.Counters()
	if err != nil {
		return err
	}
	for service, n := range all {
		for reason, c := range n.Reasons {
			if c.Packets > 0 && !slices.Contains(e.reasons, reason) {
				return fmt.Errorf("%d packets of service %d were dropped for %s: what was measured is not what was meant", c.Packets, service, reason)
			}
		}
	}
	return nil
}

// send has the fast path handle one packet.
func (e *edge) send(frame []byte, want uint32) error {
	r, err := e.Process(frame)
	if err == nil && r.Code != want {
		err = fmt.Errorf("make a session: XDP code %d, not %d; reason %q", r.Code, want, r.Reason)
	}
	return err
}

// limits are on, and no case reaches them.
func limits() loader.Limits {
	return loader.Limits{
		Packets: 100_000_000, PacketBurst: 8_000_000, Bytes: 10_000_000_000, ByteBurst: 1_000_000_000,
		NewSessions: 1_000_000_000, Window: time.Second, Sessions: 1 << 30, Prefix4: 32, Prefix6: 64,
	}
}

// widen adds limits of more than one source, shared addresses and a rule about places, none of which a case reaches.
func widen(p *loader.Plan) {
	l := limits()
	wide := loader.WideLimits{Packets: l.Packets, PacketBurst: l.PacketBurst, Bytes: l.Bytes, ByteBurst: l.ByteBurst, NewSessions: l.NewSessions, Window: l.Window,
		Enforce: true, Bits4: 24, Bits6: 48}
	p.Geo = &loader.GeoTable{Entries: []loader.GeoEntry{{Prefix: netip.MustParsePrefix("11.0.0.0/8"), Mask: 1}}}
	for i := range p.Services {
		s := &p.Services[i]
		s.Prefix, s.Unproven, s.Limits.Shared, s.Geo = wide, wide, loader.Shared{Sessions: 8, Factor: 4}, 1
	}
}

// service is one of a plan, for UDP and TCP.
func service(vip netip.AddrPort, how loader.Forward, pool string) loader.Service {
	s := loader.Service{
		Name: vip.Addr().String(), Forward: how, Pool: pool, Enforce: true, EnforceLimits: true, MaxPacket: 65535, Limits: limits(),
		Timeouts: loader.Timeouts{UDP: time.Hour, TCP: time.Hour, Closing: time.Hour, Opening: time.Hour},
	}
	for _, proto := range []uint8{loader.ProtoUDP, loader.ProtoTCP} {
		s.Fronts = append(s.Fronts, loader.Front{Addr: vip.Addr(), Proto: proto, First: vip.Port(), Last: vip.Port()})
	}
	return s
}

func newPlan() *loader.Plan {
	return &loader.Plan{Enforce: true, NATPorts: [2]uint16{natFirst, natLast}, Samples: loader.SamplesAlways, Told: true}
}

// lead adds a service that leads to one server.
func lead(p *loader.Plan, how loader.Forward, vip, server netip.AddrPort, nat ...netip.Addr) {
	pool := loader.Pool{Name: vip.Addr().String(), Servers: []loader.Server{{Name: "s", Addr: server.Addr(), Port: server.Port(), NAT: nat}}}
	table := make([]uint32, loader.MaglevSize)
	if server.Addr().Is4() {
		pool.Table4 = table
	} else {
		pool.Table6 = table
	}
	p.Pools = append(p.Pools, pool)
	p.Services = append(p.Services, service(vip, how, pool.Name))
}

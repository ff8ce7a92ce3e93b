// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"net/netip"
	"time"

	"parry/loader"
	"parry/test/model"
	"parry/test/packet"
)

// Limits of more than one source, shared addresses, and rules about where players are.

func wideOf(l loader.WideLimits) model.Wide {
	return model.Wide{
		Packets: model.PerSecond(l.Packets, l.PacketBurst), Bytes: model.PerSecond(l.Bytes, l.ByteBurst),
		News:    model.Rate{Units: uint64(l.NewSessions), Window: l.Window, Burst: uint64(l.NewSessions)},
		Enforce: l.Enforce, Bits4: int(l.Bits4), Bits6: int(l.Bits6),
	}
}

// geoOf is a rule of a plan, by its number; 0 = none.
func geoOf(p *loader.Plan, rule uint8) *model.Geo {
	if rule == 0 || p.Geo == nil {
		return nil
	}
	g := &model.Geo{Refuses: p.Geo.Default>>(rule-1)&1 != 0}
	for _, e := range p.Geo.Entries {
		if e.Mask>>(rule-1)&1 != 0 {
			g.Otherwise = append(g.Otherwise, e.Prefix)
		}
	}
	return g
}

// widen gives services limits of more than one source, each its own mixture, and rules about where their clients are.
func widen(p *loader.Plan) {
	p.Geo = &loader.GeoTable{Default: 1 << 1, Entries: []loader.GeoEntry{
		{Prefix: netip.MustParsePrefix("192.0.2.0/26"), Mask: 1 << 1},
		{Prefix: netip.MustParsePrefix("192.0.9.0/24"), Mask: 1<<0 | 1<<1 | 1<<2},
		{Prefix: netip.MustParsePrefix("198.18.0.1/32"), Mask: 1<<0 | 1<<1},
		{Prefix: netip.MustParsePrefix("2001:db8:c::/64"), Mask: 1 << 1},
		{Prefix: netip.MustParsePrefix("2001:db9::/32"), Mask: 1<<0 | 1<<2},
	}}
	for i := range p.Services {
		s := &p.Services[i]
		prefix, all := &s.Prefix, &s.Unproven
		*prefix = loader.WideLimits{Enforce: true, Bits4: 24, Bits6: 48}
		*all = loader.WideLimits{Enforce: true}
		switch i % 7 {
		case 0:
			prefix.Packets, prefix.PacketBurst = 60, 24
		case 1:
			prefix.Bytes, prefix.ByteBurst, prefix.Bits4, prefix.Bits6 = 4000, 6000, 16, 32
			s.Limits.Packets, s.Limits.PacketBurst = 200, 600
			if s.Name == "open" { // a loan is for two packets (neighbours)
				*prefix = loader.WideLimits{Packets: 20, PacketBurst: 4096, Enforce: true, Bits4: 24, Bits6: 48}
				s.Limits.Packets = 0
			}
			s.Limits.Shared = loader.Shared{Sessions: 1, Factor: 3}
		case 2:
			prefix.NewSessions, prefix.Window = 5, 10*time.Second
			all.NewSessions, all.Window = 4, 5*time.Second
			s.Limits.Packets, s.Limits.PacketBurst = 20, 600
		case 3:
			all.Packets, all.PacketBurst, all.Bytes, all.ByteBurst = 40, 12, 8000, 3000
			prefix.NewSessions, prefix.Window = 12, 10*time.Second
			s.Limits.Packets, s.Limits.PacketBurst, s.Limits.NewSessions, s.Limits.Window, s.Limits.Sessions = 30, 10, 4, 10*time.Second, 4
			s.Limits.Shared = loader.Shared{Sessions: 1, Factor: 2}
		case 4:
			prefix.Packets, prefix.PacketBurst, prefix.Bytes, prefix.ByteBurst = 100, 40, 3000, 4000
			s.Limits.Packets, s.Limits.PacketBurst = 80, 600
		case 5:
			prefix.Packets, prefix.PacketBurst, prefix.Enforce = 40, 10, false
			all.Packets, all.PacketBurst, all.Enforce = 20, 5, false
			s.Limits.Packets, s.Limits.PacketBurst = 30, 600
		case 6:
			prefix.Packets, prefix.PacketBurst, prefix.NewSessions, prefix.Window = 200, 100, 3, 20*time.Second
			s.EnforceLimits, s.Limits.Packets, s.Limits.PacketBurst = false, 50, 15
		}
		if i%5 < 3 && s.Name != "open" {
			s.Geo = uint8(1 + i%5)
		}
	}
}

// wideEdge is the kind of edge whose services have them.
func wideEdge(sizes loader.Sizes) edge {
	wide, strict := guarded(widen), guarded(func(p *loader.Plan) {
		widen(p)
		each(p, func(s *loader.Service) { s.Enforce, s.Prefix.Enforce = true, true })
	})
	turned := guarded(func(p *loader.Plan) { // by other prefixes, and others
		widen(p)
		n := len(p.Services)
		for i := range n / 2 {
			a, b := &p.Services[i], &p.Services[n-1-i]
			a.Prefix, b.Prefix, a.Unproven, b.Unproven, a.Geo, b.Geo = b.Prefix, a.Prefix, b.Unproven, a.Unproven, b.Geo, a.Geo
		}
	})
	return edge{sizes, []*loader.Plan{strict}, []*loader.Plan{strict, wide, turned, guarded(func(*loader.Plan) {})}}
}

// neighbours are proven players of one prefix at its limit, each with what it last borrowed, for about as long as that lasts.
func (d draw) neighbours() []step {
	if d.w.kind != "wide" {
		return nil
	}
	a := d.player()
	var steps []step
	var all [][]byte
	for n := range uint16(3) {
		from, server := at(a, 41010+n), netip.MustParseAddrPort("198.51.100.21:27000")
		if a.Is6() {
			server = netip.MustParseAddrPort("[2001:db8:5::21]:27000")
		}
		up := packet.NewUDP(from, at(vip(a), openPort), "go").Bytes()
		all = append(all, up)
		steps = append(steps, d.frames(up, packet.NewUDP(server, from, "on").Bytes(), up)...)
	}
	steps = append(steps, step{op: "flood", n: 3000 + d.IntN(120), frame: all[0]})
	for range 8 {
		steps = append(steps, step{op: "pass", pass: time.Duration(1950+d.IntN(180)) * time.Millisecond}, step{op: "flood", n: 36 + d.IntN(12), frame: all[0]})
		for range 1 + d.IntN(4) {
			steps = append(steps, d.frames(pick(d, all[1:]))...)
		}
	}
	return steps
}

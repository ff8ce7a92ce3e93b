// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"testing"
	"time"

	"parry/test/packet"
)

// small is an edge with a service of each mode.
func small() *Edge {
	e := New(Sizes{Sessions: 64, Sources: 64, Cells: 64})
	v4, v6 := netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::10")
	s4, s6 := netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("2001:db8:5::11")
	c := Config{Enforce: true, Host: PerSecond(100, 10), NATFirst: 2000, NATLast: 2009, Pools: []Pool{{Name: "p", Table4: []uint32{0}, Table6: []uint32{1},
		Servers: []Server{{s4, 27000, []netip.Addr{v4}, nil}, {s6, 27000, []netip.Addr{v6}, nil}}}}}
	for i, mode := range []Mode{NAT, Transparent, Local} {
		s := Service{Name: string(rune('a' + i)), Mode: mode, Pool: "p", Enforce: true, Fragments: true, MaxPacket: 65535,
			Limits: Limits{Prefix4: 32, Prefix6: 64}, Timeouts: Timeouts{UDP: time.Minute, TCP: time.Hour, Closing: time.Second, Opening: time.Second}}
		for _, a := range []netip.Addr{v4, v6} {
			for _, proto := range []uint8{udp, tcp} {
				s.Fronts = append(s.Fronts, Front{Addr: a, Proto: proto, First: 27960 + uint16(i), Last: 27960 + uint16(i)})
			}
		}
		c.Services = append(c.Services, s)
	}
	e.Configure(c)
	e.Now = 1e15
	e.SetLink(ingress, Link{Phys: ingress, MTU: 1500})
	e.Route = Route{HopKey: HopKey{ingress, v4}, Dst: MAC{2}, Src: MAC{2, 1}}
	return e
}

// Whatever comes in, and after it again: a verdict with a reason or a frame, and what leaves of a right packet is right.
func FuzzReceive(f *testing.F) {
	c4, c6 := netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("[2001:db8:c::1]:40000")
	for port := uint16(27959); port < 27963; port++ {
		for _, c := range []netip.AddrPort{c4, c6} {
			v := netip.AddrPortFrom(netip.MustParseAddr("203.0.113.10"), port)
			if c.Addr().Is6() {
				v = netip.AddrPortFrom(netip.MustParseAddr("2001:db8::10"), port)
			}
			f.Add(packet.NewUDP(c, v, "hello").Bytes())
			f.Add(packet.NewTCP(c, v, packet.SYN, "").Bytes())
			f.Add(packet.NewUDP(c, v, "a datagram in two parts").Fragments(1, 16)[0])
			f.Add(packet.NewICMP(c.Addr(), v.Addr(), 3, 4, 1400, packet.NewUDP(v, c, "quoted").L3()).Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		e := small()
		before := packet.Check(frame)
		for range 2 {
			o := e.Receive(frame)
			switch o.Verdict {
			case Pass:
				if o.Reason != None {
					t.Errorf("passes for %s", o.Reason)
				}
			case TX, Redirect:
				if err := packet.Check(o.Out); before == nil && err != nil {
					t.Errorf("what leaves: %v", err)
				}
			case Drop, Abort:
				if o.Reason == None || o.Out != nil {
					t.Errorf("%+v", o)
				}
			default:
				t.Errorf("%+v", o)
			}
			e.Send(frame, 2)
			e.Now += 1e9
		}
	})
}

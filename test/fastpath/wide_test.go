// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

const (
	widePort = 27990 + iota // limits of a prefix, one kind each
	wideBytesPort
	wideNewsPort
	allPort // limits of all who are not proven
	allBytesPort
	allNewsPort
	geoPort
)

// widePlan has a transparent service for each limit of more than one source, and one with a rule about where players are.
func widePlan() *loader.Plan {
	p := basePlan()
	p.Geo = &loader.GeoTable{Entries: []loader.GeoEntry{
		{Prefix: netip.MustParsePrefix("192.0.2.0/26"), Mask: 1}, {Prefix: netip.MustParsePrefix("2001:db8:c::/64"), Mask: 1},
	}}
	prefix := func(l loader.WideLimits) func(*loader.Service) {
		return func(s *loader.Service) { l.Enforce, l.Bits4, l.Bits6 = true, 24, 48; s.Prefix = l }
	}
	all := func(l loader.WideLimits) func(*loader.Service) {
		return func(s *loader.Service) { l.Enforce = true; s.Unproven = l }
	}
	for i, x := range []struct {
		name   string
		change func(*loader.Service)
	}{
		{"wide", prefix(loader.WideLimits{Packets: 100, PacketBurst: 40})},
		{"wide-bytes", prefix(loader.WideLimits{Bytes: 10_000, ByteBurst: 4000})},
		{"wide-news", prefix(loader.WideLimits{NewSessions: 10, Window: time.Minute})},
		{"all", all(loader.WideLimits{Packets: 100, PacketBurst: 20})},
		{"all-bytes", all(loader.WideLimits{Bytes: 10_000, ByteBurst: 2000})},
		{"all-news", all(loader.WideLimits{NewSessions: 5, Window: time.Minute})},
		{"places", func(s *loader.Service) { s.Geo = 1 }},
	} {
		s := service(x.name, loader.Transparent, "open", uint16(widePort+i))
		x.change(&s)
		p.Services = append(p.Services, s)
	}
	return p
}

// neighbour is somebody in the /24 or /48 of a player.
func neighbour(of netip.AddrPort, n int) netip.AddrPort {
	b := of.Addr().AsSlice()
	if len(b) == 4 {
		b[3] = byte(100 + n)
	} else {
		b[7] = byte(100 + n)
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, of.Port())
}

// wideGroup has a row for each limit, with one packet of a stranger that is too much.
func wideGroup(plan func() *loader.Plan, would string) group {
	g := group{name: "TestWide", plan: plan}
	add := func(name, reason, service string, in packet.Packet, set func(*testing.T, *world)) {
		want := outcome{verdict: "drop", reason: reason, service: service}
		if would != "" {
			want = outcome{verdict: "tx", shadow: reason, service: service}
		}
		g.rows = append(g.rows, row{name: name, set: set, in: is(in.Bytes()), want: want})
	}
	crowd := func(of netip.AddrPort, port uint16, n, length int) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for i := range n {
				w.begin(t, sized(hello(neighbour(of, i), port), length))
			}
		}
	}
	for _, c := range []netip.AddrPort{player4, player6} {
		v := c.Addr().String()
		add(v+" half of a prefix's packets", "prefix_packets", "wide", hello(c, widePort), crowd(c, widePort, 20, 0))
		add(v+" half of a prefix's bytes", "prefix_bytes", "wide-bytes", sized(hello(c, wideBytesPort), 500), crowd(c, wideBytesPort, 4, 500))
		add(v+" half of a prefix's sessions", "prefix_sessions", "wide-news", hello(c, wideNewsPort), crowd(c, wideNewsPort, 5, 0))
		add(v+" packets of the unproven", "service_packets", "all", hello(c, allPort), crowd(other4, allPort, 20, 0))
		add(v+" packets of the unproven, in a session", "service_packets", "all", hello(c, allPort), func(t *testing.T, w *world) {
			w.begin(t, hello(c, allPort))
			crowd(other4, allPort, 19, 0)(t, w)
		})
		add(v+" bytes of the unproven", "service_bytes", "all-bytes", sized(hello(c, allBytesPort), 1000), crowd(other4, allBytesPort, 2, 1000))
		add(v+" new sessions of the unproven", "service_sessions", "all-news", hello(c, allNewsPort), crowd(other4, allNewsPort, 5, 0))
		add(v+" from elsewhere", "geo", "places", hello(c, geoPort), nil)
	}
	return g
}

// sized is a packet of so many bytes from the IP header on; 0 = as it is.
func sized(p packet.Packet, length int) packet.Packet {
	if length == 0 {
		return p
	}
	return p.With(func(p *packet.Packet) { p.Payload = make([]byte, length-p.Len()+len(p.Payload)) })
}

func TestWide(t *testing.T) { wideGroup(widePlan, "").run(t) }

func TestMonitorWide(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*loader.Plan){
		"everywhere": func(p *loader.Plan) { p.Enforce = false },
		"on the service": func(p *loader.Plan) {
			for i := range p.Services {
				p.Services[i].Enforce = false
			}
		},
		"limits alone": func(p *loader.Plan) {
			for i := range p.Services {
				s := &p.Services[i]
				s.Prefix.Enforce, s.Unproven.Enforce = false, false
				s.Enforce = s.Geo == 0
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			wideGroup(func() *loader.Plan { p := widePlan(); change(p); return p }, "would").run(t)
		})
	}
}

// Strangers of a player's prefix flood, and then neighbours who are proven: what the player has begun before is not harmed, and
// once it has lasted it is not harmed by those either.
func TestNeighboursDontHarmWhoPlays(t *testing.T) {
	t.Parallel()
	for _, c := range []netip.AddrPort{player4, player6} {
		t.Run(c.Addr().String(), func(t *testing.T) {
			w := newWorld(t, with(basePlan(), "open", func(s *loader.Service) {
				s.Prefix = loader.WideLimits{Packets: 200, PacketBurst: 400, Enforce: true, Bits4: 24, Bits6: 48}
			}))
			up := hello(c, openPort)
			s := w.prove(t, up)
			flood := func(first func(int) packet.Packet) (refused, harmed int) {
				for step := range 200 { // ten seconds: twenty of a player's packets a second, and ten times as many of theirs as there is room for
					for n := range 100 {
						if r := w.quietly(t, first(step*100+n).Bytes()); r.Reason == "prefix_packets" {
							refused++
						}
					}
					if r := w.quietly(t, up.Bytes()); r.Verdict != "tx" {
						harmed++
					}
					w.quietly(t, reply(s, "go on").Bytes())
					w.pass(t, 50*time.Millisecond)
				}
				return refused, harmed
			}
			strangers := func(n int) packet.Packet { return hello(port(neighbour(c, n%50), 1+n/50%4), openPort) }
			if refused, harmed := flood(strangers); refused < 15_000 || harmed > 0 {
				t.Errorf("strangers: %d refused, the player missed %d of 200", refused, harmed)
			}
			w.pass(t, 3*time.Second)
			for n := range 50 {
				w.prove(t, hello(neighbour(c, n), openPort))
				w.pass(t, 100*time.Millisecond)
			}
			for range 30 { // and then it has lasted
				w.quietly(t, up.Bytes(), reply(s, "go on").Bytes())
				w.pass(t, 2*time.Second)
			}
			for n := range 50 { // they are not proven for so long yet
				w.kill(t, w.session(t, neighbour(c, n)))
			}
			w.pass(t, 2*time.Second)
			w.sweep(t)
			for n := range 50 {
				w.prove(t, hello(neighbour(c, n), openPort))
				w.pass(t, 100*time.Millisecond)
			}
			if refused, harmed := flood(func(n int) packet.Packet { return hello(neighbour(c, n%50), openPort) }); refused < 15_000 || harmed > 0 {
				t.Errorf("neighbours who are proven: %d refused, the player missed %d of 200", refused, harmed)
			}
		})
	}
}

// What passes of a prefix in ten seconds is its share of the burst and rate × 10 s, within 2 %, by however many sources and flows; more
// than that by what flows have borrowed before, a 2048th of the burst each.
func TestPrefixIsExact(t *testing.T) {
	t.Parallel()
	const rate, burst = 1000, 2000
	for _, x := range []struct {
		name     string
		limits   loader.WideLimits
		source   loader.Limits
		sources  int
		flows    int // of each
		proven   bool
		want     int
		borrowed int // of tokens, before
	}{
		{"proven", loader.WideLimits{Packets: rate, PacketBurst: burst}, loader.Limits{}, 10, 1, true, rate*10 + burst*3/4, 0},
		{"proven, many flows", loader.WideLimits{Packets: rate, PacketBurst: burst}, loader.Limits{}, 8, 8, true, rate*10 + burst*3/4, 0},
		{"sources are limited, too", loader.WideLimits{Packets: rate, PacketBurst: burst}, loader.Limits{Packets: 300, PacketBurst: 600}, 10, 2, true, rate*10 + burst*3/4, 0},
		{"bytes", loader.WideLimits{Bytes: 100 * rate, ByteBurst: 100 * burst}, loader.Limits{}, 10, 2, true, rate*10 + burst*3/4, 0},
		{"the unproven", loader.WideLimits{Packets: rate, PacketBurst: burst}, loader.Limits{}, 10, 4, false, rate*10 + burst/2, 0},
		{"200 flows, what was borrowed before included", loader.WideLimits{Packets: rate, PacketBurst: 20_480}, loader.Limits{}, 10, 20, true, rate*10 + 20_480*3/4, 10 * 20 * 10},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.limits.Enforce, x.limits.Bits4, x.limits.Bits6 = true, 24, 48
			x.source.Prefix4, x.source.Prefix6 = 32, 64
			w := newWorld(t, with(basePlan(), "open", func(s *loader.Service) { s.Prefix, s.Limits = x.limits, x.source }))
			var flows []packet.Packet
			for n := range x.sources * x.flows {
				f := sized(hello(port(neighbour(player4, n%x.sources), n/x.sources), openPort), 100)
				if x.proven {
					w.prove(t, f)
					if n%10 == 9 {
						w.pass(t, 100*time.Millisecond)
					}
				} else {
					w.begin(t, f)
				}
				flows = append(flows, f)
			}
			if x.borrowed == 0 {
				w.pass(t, 10*time.Second) // what they have borrowed goes back, and the bucket is full
			} else {
				for _, f := range flows { // each has a loan that it has only begun to spend, and the bucket fills up meanwhile
					w.quietly(t, f.Bytes())
				}
				w.pass(t, 1900*time.Millisecond)
			}
			got := w.offer(t, flows, 5*time.Millisecond, 10*time.Second)
			if x.borrowed == 0 {
				within(t, "packets that passed", got, x.want, 2)
			} else if most := x.want + x.borrowed; got <= x.want*98/100 || got > most*102/100 {
				t.Errorf("%d packets passed: more than %d and what was borrowed before, %d", got, x.want, x.borrowed)
			}
		})
	}
}

// Whoever is proven is never refused by what a service takes from all who are not.
func TestLimitsOfTheUnprovenSpareThePlayers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, widePlan())
	up := hello(player4, allPort)
	s := w.prove(t, up)
	for n := range 60 {
		w.quietly(t, hello(neighbour(other4, n), allPort).Bytes())
	}
	w.send(t, hello(neighbour(other4, 200), allPort).Bytes(), outcome{verdict: "drop", reason: "service_packets", service: "all"}, nil)
	if n := w.spend(t, up, 500); n != 500 {
		t.Errorf("%d of a player's 500 packets passed", n)
	}
	// His session ends and begins again: he is not proven then, but he was.
	w.kill(t, w.session(t, neighbour(other4, 0)))
	w.pass(t, 61*time.Second)
	w.sweep(t)
	for n := range 60 {
		w.quietly(t, hello(neighbour(other4, n), allPort).Bytes())
	}
	w.send(t, up.Bytes(), outcome{verdict: "tx", service: "all"}, nil)
	if got := w.session(t, player4).State; got != loader.Unproven {
		t.Errorf("his session is %s", got)
	}
	_ = s
}

// A source many of whose sessions have lasted has wider limits: packets, bytes, new sessions and how many there may be.
func TestSharedAddresses(t *testing.T) {
	t.Parallel()
	plan := func(shared loader.Shared) *loader.Plan {
		return with(basePlan(), "open", func(s *loader.Service) {
			s.Limits = loader.Limits{Packets: 100, PacketBurst: 100, NewSessions: 6, Window: 10 * time.Second, Sessions: 6, Prefix4: 32, Prefix6: 64, Shared: shared}
		})
	}
	for _, x := range []struct {
		name    string
		last    int // how many of its sessions do
		flood   int // packets that pass at once
		factors int
	}{{"too few have lasted", 2, 100, 1}, {"enough", 3, 300, 3}} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t, plan(loader.Shared{Sessions: 3, Factor: 3}))
			var sessions []loader.Session
			for n := range x.last {
				sessions = append(sessions, w.prove(t, hello(port(player4, n), openPort)))
			}
			if n := w.news(t, 100); n != 6-x.last {
				t.Errorf("before they have lasted %d more sessions begin", n)
			}
			for range 25 {
				for n, s := range sessions {
					w.quietly(t, hello(port(player4, n), openPort).Bytes(), reply(s, "go on").Bytes())
				}
				w.pass(t, 1300*time.Millisecond)
			}
			for n := range sessions { // what they borrowed goes back
				w.quietly(t, hello(port(player4, n), openPort).Bytes())
			}
			w.sweep(t)
			w.pass(t, 1100*time.Millisecond)
			w.sweep(t)
			w.pass(t, 2500*time.Millisecond)
			got := w.spend(t, hello(player4, openPort), 1000)
			within(t, "packets at once", got, x.flood, 2)
			w.pass(t, 60*time.Second/20)
			if u, _, err := w.edge.SourceUse(player4.Addr(), w.number(t, "open")); err != nil || int(u.Lasting) != x.last || int(u.Factor) != x.factors {
				t.Errorf("its use is told as %+v, %v", u, err)
			}
			if n := w.news(t, 200); n != 6*x.factors-x.last {
				t.Errorf("%d more sessions begin, not %d", n, 6*x.factors-x.last)
			}
			for _, s := range w.sessions(t) {
				w.kill(t, s)
			}
			w.pass(t, 1100*time.Millisecond)
			w.sweep(t)
			w.pass(t, 15*time.Second)
			if n := w.news(t, 300); n != 6 {
				t.Errorf("when they are gone, %d sessions begin", n)
			}
		})
	}
}

// What people are told of a limit is what the fast path has used of it.
func TestWideUse(t *testing.T) {
	t.Parallel()
	for _, c := range []netip.AddrPort{player4, player6} {
		w := newWorld(t, widePlan())
		for n := range 10 {
			w.begin(t, hello(neighbour(c, n), widePort))
			w.begin(t, hello(port(neighbour(c, n), 1), allPort))
		}
		prefix, err := w.edge.WideUse(c.Addr(), w.number(t, "wide"))
		must(t, err)
		all, err := w.edge.WideUse(c.Addr(), w.number(t, "all"))
		must(t, err)
		if prefix.Packets != 0.25 || !prefix.Prefix.Contains(c.Addr()) || all.AllPackets != 0.5 || all.Packets != 0 {
			t.Errorf("%s: %+v, %+v", c.Addr(), prefix, all)
		}
	}
}

func (w *world) number(t *testing.T, name string) uint16 {
	t.Helper()
	return uint16(slices.Index(w.edge.ServiceNames(), name))
}

// news is how many new sessions of a player begin, of many attempts.
func (w *world) news(t *testing.T, first int) (n int) {
	t.Helper()
	for i := range 30 {
		if w.quietly(t, hello(port(player4, first+i), openPort).Bytes()).Verdict == "tx" {
			n++
		}
	}
	return n
}

// A session whose client is somewhere else by the files' new word ends at its next check, with the server's packets too; an allow entry
// outweighs a rule, and a rule only watched drops nothing.
func TestPlaces(t *testing.T) {
	t.Parallel()
	outside := netip.MustParseAddrPort("192.0.2.200:40000") // not in the /26
	w := newWorld(t, widePlan())
	s := w.prove(t, hello(outside, geoPort))
	moved := widePlan()
	moved.Geo.Entries = append(moved.Geo.Entries, loader.GeoEntry{Prefix: netip.MustParsePrefix("192.0.2.192/26"), Mask: 1})
	w.load(t, moved)
	must(t, w.edge.Lists().Bump())
	w.send(t, hello(outside, geoPort).Bytes(), outcome{verdict: "drop", reason: "geo", service: "places"}, nil)
	w.send(t, reply(s, "you").Bytes(), outcome{verdict: "drop", reason: "geo", service: "places", down: true}, nil)
	w.list(t, allow(outside.Addr().String()+"/32"))
	w.send(t, hello(outside, geoPort).Bytes(), outcome{verdict: "tx", service: "places"}, nil)

	only := widePlan() // the rest of the world is refused, who is listed comes in
	only.Geo.Default = 1
	w.load(t, only)
	for a, want := range map[netip.AddrPort]string{player4: "", player6: "", other4: "geo", other6: "geo"} {
		got := w.quietly(t, hello(a, geoPort).Bytes())
		if got.Reason != want {
			t.Errorf("%s: %s %s", a, got.Verdict, got.Reason)
		}
	}
	if r := w.quietly(t, hello(other4, openPort).Bytes()); r.Verdict != "tx" {
		t.Errorf("a service without a rule: %s %s", r.Verdict, r.Reason)
	}
}

// A table's maps are taken over by the next generation: half a million prefixes are written once.
func TestPlacesAreTakenOver(t *testing.T) {
	t.Parallel()
	plan := widePlan()
	for i := range 20_000 {
		plan.Geo.Entries = append(plan.Geo.Entries, loader.GeoEntry{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 0}), 24), Mask: 1})
	}
	w := newWorld(t, plan)
	again := widePlan()
	again.Geo = plan.Geo
	began := time.Now()
	w.load(t, again)
	t.Log("loaded again in", time.Since(began))
	for _, a := range []string{"11.0.0.1", "11.78.31.1"} {
		r := w.quietly(t, hello(netip.MustParseAddrPort(a+":4000"), geoPort).Bytes())
		if r.Reason != "geo" {
			t.Error(fmt.Sprint(a, ": ", r.Verdict, " ", r.Reason))
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"net/netip"
	"time"

	"parry/pkg/api"
	"parry/pkg/attack"
	"parry/pkg/event"
)

// Epoch is the fixed moment that World lives in.
func Epoch() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) }

// World is a small edge at Epoch: three services (one of them local, its answers unseen), two interfaces (one
// unprotected), two servers and three sessions.
func World() *Edge {
	e := &Edge{Captured: 5, things: things(), Now: status(), Servicing: servers(), gates: gates(), rules: rules(), Attacked: attacks(), Log: events()}
	e.Play(sessions()...)
	return e
}

func status() api.Status {
	return api.Status{
		Version: "v0.1.0", Node: "fra-1", Enforce: true, UptimeMS: 93_784_000, Time: Epoch(),
		Interfaces: []api.Interface{
			{Name: "eth0", Mode: "native", Protected: true},
			{Name: "eth1", Mode: "generic", Detail: "the interface is gone"},
		},
		Services: []api.Service{
			{
				Name: "arena", Listen: []string{"203.0.113.10:27960"}, Protocol: []string{"udp"}, Game: "quake3", Class: "fps",
				Forward: "nat", Enforce: true, State: "attack", GateState: "attack", Since: new(Epoch().Add(-130 * time.Second)),
				Reason: "41,000 new strangers/s, usual 12/s", Usual: 12.5, Sessions: 2,
				Strangers: map[string]uint64{"seen": 5_330_000, "greylisted": 5_329_000, "returned": 950, "admitted": 1000}, Packets: 1_500_000, Bytes: 250_000_000,
				Up: &api.Traffic{Packets: 1_000_000, Bytes: 90_000_000}, Down: &api.Traffic{Packets: 500_000, Bytes: 160_000_000},
				Drops: map[string]uint64{"rate_src": 1234567, "denied": 89}, WouldDrop: map[string]uint64{},
				Answers: []api.Answer{
					{Kind: "info", Server: "eu-1", Address: netip.MustParseAddrPort("10.0.1.11:27960"), AgeMS: new(int64(740)), Fresh: true},
					{Kind: "status", Server: "eu-1", Address: netip.MustParseAddrPort("10.0.1.11:27960"), Errors: 3, Detail: "no reply"},
				},
			},
			{
				Name: "craft", Listen: []string{"203.0.113.10:25565", "[2001:db8::10]:25565"}, Protocol: []string{"tcp"},
				Game: "minecraft_java", Class: "mmorpg", Forward: "transparent", State: "normal", GateState: "normal", Sessions: 1,
				Packets: 3000, Bytes: 400_000,
				Up: &api.Traffic{Packets: 1000, Bytes: 100_000}, Down: &api.Traffic{Packets: 2000, Bytes: 300_000},
				Drops: map[string]uint64{}, WouldDrop: map[string]uint64{"new_sessions": 12}, Answers: []api.Answer{},
			},
			{
				Name: "shield", Listen: []string{"203.0.113.10:64738"}, Protocol: []string{"udp", "tcp"},
				Game: "mumble", Class: "mmorpg", Forward: "local", Enforce: true, State: "normal", GateState: "normal",
				Packets: 10, Bytes: 1000, Up: &api.Traffic{Packets: 10, Bytes: 1000},
				Drops: map[string]uint64{}, WouldDrop: map[string]uint64{}, Answers: []api.Answer{},
			},
		},
		Drops:     map[string]uint64{"rate_src": 1234567, "denied": 89, "bad_ihl": 2},
		WouldDrop: map[string]uint64{"new_sessions": 12},
		Host:      api.Traffic{Packets: 4242, Bytes: 512_000},
		Tables: []api.Table{
			{Name: "sessions", Entries: 3, Capacity: 262144},
			{Name: "blocks", Entries: 943718, Capacity: 1048576},
		},
		Promoted: []api.ShadowThing{{What: "shield/gate", State: api.ShadowTrial, Since: new(Epoch().Add(-time.Minute)), Until: new(Epoch().Add(9 * time.Minute)), MaxPlayers: 3, Hit: 1}},
		Samples: api.Samples{Taken: 1200, Lost: 7, PassedOver: 30, Captures: 1, Kinds: map[string]api.SampleKind{
			"capture": {Taken: 1000, Lost: 7}, "drop": {Taken: 120, PassedOver: 30}, "first": {Taken: 70}, "turn": {Taken: 10},
		}},
		Strangers: api.Strangers{GreylistFill: 0.61, SketchLoad: 0.12, Unproven: 1, UnprovenSlots: 32768},
	}
}

// attacks are one that goes on, and one of the day before.
func attacks() []attack.Record {
	began, before := Epoch().Add(-130*time.Second), Epoch().Add(-24*time.Hour)
	return []attack.Record{
		{
			ID: "arena-20260131T115750Z", Service: "arena", Start: began, Kinds: []string{"random-source udp", "fragments"},
			PeakPPS: 41_250, PeakBPS: 21_120_000, Sources: new(uint64(131_000)), SourcesHow: "as the greylist held them", LinkShare: new(0.0021),
			PlayersLost: new(uint64(0)), Reason: "41,000 new strangers/s, usual 12/s", Last: Epoch(), Usual: 12.5,
			Strangers: 5_330_000, Greylisted: 5_329_000, Returned: 950, Admitted: 1000, Proven: 21,
			Drops: map[string]uint64{"greylisted": 5_329_000, "fragment_refused": 800_000}, WouldDrop: map[string]uint64{},
			Measures: []attack.Measure{{Name: "greylist: a stranger has to come twice", Packets: 5_329_000}, {Name: "no fragments from strangers", Packets: 800_000}},
			Timeline: []attack.Moment{
				{Time: began, Text: "attack: 41,000 new strangers/s, usual 12/s"}, {Time: began.Add(40 * time.Second), Text: "also fragments"},
			},
		},
		{
			ID: "craft-20260130T120000Z", Service: "craft", Start: before, End: new(before.Add(95 * time.Second)), Kinds: []string{"random-source tcp"},
			PeakPPS: 1200, PeakBPS: 600_000, Reason: "1,200 new strangers/s, usual 3/s", Last: before.Add(95 * time.Second), Usual: 3,
			Strangers: 100_000, Admitted: 90_000, Drops: map[string]uint64{}, WouldDrop: map[string]uint64{"stranger_rate": 10_000},
			Measures: []attack.Measure{{Name: "limit on a stranger's packets", Packets: 10_000}},
			Timeline: []attack.Moment{{Time: before, Text: "attack: 1,200 new strangers/s, usual 3/s"}},
		},
	}
}

// events are what the daemon has told since it started, two minutes and a half ago.
func events() *event.Log {
	at := Epoch().Add(-150 * time.Second)
	l := event.New(16, func() time.Time { at = at.Add(10 * time.Second); return at })
	for _, e := range []event.Event{
		{Type: event.DaemonStart, Text: "parry v0.1.0 runs on fra-1", Data: map[string]any{"version": "v0.1.0"}},
		{Type: event.AttackState, Service: "arena", Text: "arena: attack: 41,000 new strangers/s, usual 12/s", Data: map[string]any{"state": "attack"}},
		{Type: event.AttackStart, Service: "arena", Text: "arena is under attack: 41,000 new strangers/s, usual 12/s"},
		{Type: event.InterfaceUnprotected, Text: "eth1 is unprotected: the interface is gone"},
		{Type: event.BlockAdd, Text: "blocked 203.0.113.7: griefing"},
	} {
		l.Publish(e)
	}
	return l
}

func servers() []api.Server {
	return []api.Server{
		{
			Name: "eu-1", Pool: "arena-eu", Address: "10.0.1.11:27960", Region: "eu-west", State: "up",
			LatencyMS: new(1.25), Players: new(int64(24)), Capacity: new(int64(64)), Load: new(0.31), Sessions: 2, Score: new(0.92),
		},
		{
			Name: "mc-1", Pool: "craft", Address: "10.0.1.21:25565", State: "down", Sessions: 1,
			TCP: &api.ServerTCP{Known: true, MSS: new(uint16(1460)), WindowScale: new(uint8(7)), SACK: new(true), Timestamps: new(true), AgeMS: new(int64(4200))},
		},
	}
}

func sessions() []api.Session {
	return []api.Session{
		{
			ID: "4-1", Service: "arena", Protocol: "udp",
			Client: netip.MustParseAddrPort("198.51.100.7:40001"), Edge: netip.MustParseAddrPort("203.0.113.10:27960"),
			NAT: new(netip.MustParseAddrPort("10.0.0.1:1024")), Server: netip.MustParseAddrPort("10.0.1.11:27960"), ServerName: "eu-1",
			State: api.Proven, Proof: "strong", AgeMS: 754_000, IdleMS: 12, Game: "quake3", Player: new("Sarge"),
			Named: &api.Named{Game: "quake3", Confidence: 0.97, Reason: "Quake III: a client asks for a challenge"},
			Up:    timed(),
			Down:  &api.Direction{Packets: 15080, Bytes: 4_826_000},
		},
		{
			ID: "4-2", Service: "arena", Protocol: "udp",
			Client: netip.MustParseAddrPort("198.51.100.8:40002"), Edge: netip.MustParseAddrPort("203.0.113.10:27960"),
			NAT: new(netip.MustParseAddrPort("10.0.0.1:1025")), Server: netip.MustParseAddrPort("10.0.1.11:27960"), ServerName: "eu-1",
			State: api.Unproven, Proof: "none", AgeMS: 900, IdleMS: 900, Game: "quake3",
			Up: &api.Direction{Packets: 1, Bytes: 60}, Down: &api.Direction{},
		},
		{
			ID: "6-1", Service: "craft", Protocol: "tcp",
			Client: netip.MustParseAddrPort("[2001:db8:5::1]:50000"), Edge: netip.MustParseAddrPort("[2001:db8::10]:25565"),
			Server: netip.MustParseAddrPort("[fd00::21]:25565"), ServerName: "mc-1",
			State: api.Closing, Proof: "strong", AgeMS: 3_600_000, IdleMS: 1500, Game: "minecraft_java",
			Up: &api.Direction{Packets: 1000, Bytes: 100_000}, Down: &api.Direction{Packets: 2000, Bytes: 300_000},
		},
	}
}

// timed is a direction of a session that is watched.
func timed() *api.Direction {
	return &api.Direction{
		Packets: 94250, Bytes: 8_482_500, JitterMS: new(0.84), Loss: new(0.0012), LongestGapMS: new(212.5), Reordered: new(uint64(3)), Duplicates: new(uint64(1)),
		Timing: &api.Timing{
			WatchedMS: 752_000, Packets: 94_100, Bursts: 12, LongestBurst: 5, Numbers: new(uint32(94_101)), Lost: new(uint32(113)), RecentGapMS: 31.5,
			RecentLoss: new(0.0), Drops: map[string]uint32{"rate_packets": 2},
			Sizes:      []api.Class{{Below: new(64.0), Packets: 90_000}, {Below: new(128.0), Packets: 4000}, {Below: new(256.0)}, {Packets: 100}},
			SpacingsMS: []api.Class{{Below: new(0.131072)}, {Below: new(8.388608), Packets: 93_000}, {Below: new(16.777216), Packets: 1099}},
		},
	}
}

func gates() []api.Gate {
	return []api.Gate{
		{
			Name: "quake3", ABI: 1, Proof: "netchan", About: "Quake III: connectionless words", Source: api.GateBuiltIn, Services: []string{"arena"},
			State: api.GateLoaded, Instructions: 312,
		},
		{Name: "wireguard", ABI: 1, Proof: "none", About: "WireGuard: handshake initiation", Source: api.GateBuiltIn, Services: []string{}, State: api.GateUnused, Instructions: 40},
		{Name: "old", Source: api.GateOperator, Services: []string{}, State: api.GateRefused, Detail: "gate old: it was built for gate ABI 0, this parry speaks 1"},
	}
}

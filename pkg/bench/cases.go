// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"

	"github.com/cilium/ebpf"

	"parry/loader"
)

// Names of floors that have one for all.
const (
	floorEmpty   = "empty"
	floorEmptyTC = "empty_tc"
)

// Target is what a case may cost, as a multiple of something measured in the same rounds.
type Target struct {
	Of    string  `json:"of"`    // floor or case
	Limit float64 `json:"limit"` // times
	Aim   bool    `json:"aim"`   // hoped for; missing it fails nothing
	Ratio float64 `json:"ratio"` // measured: median over the rounds
	OK    bool    `json:"ok"`
}

// Case is one way that a packet can take.
type Case struct {
	Name    string
	What    string // in a few words
	Floor   string
	Targets []Target
}

func atMost(limit float64, of string) Target { return Target{Of: of, Limit: limit} }
func aim(limit float64, of string) Target    { return Target{Of: of, Limit: limit, Aim: true} }

// Cases are all that can be measured, in the order of measuring.
func Cases() []Case {
	const tx, redirect = "established_udp4", "established_udp4_redirect"
	both := func(name, what, floor string, targets func(send string) []Target) []Case {
		return []Case{
			{name, what + ", XDP_TX", floor, targets("")},
			{name + "_redirect", what + ", redirect to another interface", floor + "_redirect", targets("_redirect")},
		}
	}
	none := func(string) []Target { return nil }
	all := both(tx, "established UDP IPv4 NAT: limits, accounting, policy epoch, next hop", "nat_floor4", func(send string) []Target {
		return []Target{atMost(1.15, "nat_floor4"+send), aim(4.5, floorEmpty)}
	})
	for _, n := range []string{"_10k", "_100k"} {
		all = append(all, both(tx+n, "the same, a random one of "+n[1:]+" flows", "nat_floor4"+n, func(send string) []Target {
			return []Target{atMost(1.25, "nat_floor4"+n+send)}
		})...)
	}
	all = append(all,
		Case{tx + "_bumped", "the first with 25 policy bumps a second", "nat_floor4", []Target{atMost(1.05, tx)}},
		Case{tx + "_10k_bumped", "10k flows with 25 policy bumps a second", "nat_floor4_10k", []Target{aim(1.05, tx+"_10k")}},
		Case{tx + "_100k_bumped", "100k flows with 25 policy bumps a second", "nat_floor4_100k", []Target{aim(1.05, tx+"_100k")}})
	all = append(all, both(tx+"_down", "server to client through its NAT slot", "nat_floor4_down", none)...)
	all = append(all, both(tx+"_transparent", "established UDP IPv4, transparent", "nat_floor4_transparent", none)...)
	all = append(all, both("established_tcp4", "established TCP IPv4 NAT", "nat_floor4_tcp", func(send string) []Target {
		return []Target{atMost(1.1, tx+send)}
	})...)
	all = append(all, both("established_udp6", "established UDP IPv6 NAT", "nat_floor6", func(send string) []Target {
		return []Target{atMost(1.35, tx+send)}
	})...)
	return append(all, onceCases()...)
}

// onceCases are those of packets that are not forwarded, or whose sending is not what is looked at.
func onceCases() []Case {
	const known = "new_session_known_source"
	return []Case{
		{"blocked_host", "a listed address, counted and dropped: always the same", floorEmpty, []Target{atMost(4, floorEmpty)}},
		{"blocked_host_100k", "a random one of 100,000 listed addresses", floorEmpty, []Target{atMost(14, floorEmpty)}},
		{"blocked_host_1m", "a random one of 1,000,000 listed addresses", floorEmpty, []Target{atMost(36, floorEmpty)}},
		{"blocked_prefix", "in a random one of 4,000 listed prefixes", floorEmpty, []Target{atMost(5, floorEmpty)}},
		{"local_pass", "checked and passed to a server on this host", floorEmpty, []Target{atMost(4.5, floorEmpty)}},
		{"local_reply", "that server's reply, counted at TC egress", floorEmptyTC, nil},
		{known, "new session, NAT: lists, limits, server, port, two routes", floorEmpty, []Target{atMost(55, floorEmpty)}},
		{"new_session_unknown_source", "the same by a source that was never here", floorEmpty, []Target{atMost(75, floorEmpty)}},
		{"new_session_ports_taken", "the first with 90 % of NAT's ports taken", floorEmpty, []Target{atMost(55, floorEmpty), atMost(1.25, known)}},
	}
}

// makers are how each probe comes to be.
func (b *bench) makers() map[string]func() (*probe, error) {
	m := map[string]func() (*probe, error){
		floorEmpty: func() (*probe, error) {
			return &probe{program: b.floor.Empty, frames: natPair4().frames(loader.ProtoUDP, pair.up), want: loader.XDPDrop}, nil
		},
		floorEmptyTC: func() (*probe, error) {
			return &probe{program: b.floor.EmptyTc, frames: [][]byte{localTuple().back().frame(0)}, want: loader.TCNext}, nil
		},
	}
	b.pairMakers(m)
	b.crowdMakers(m)
	b.listMakers(m)
	b.localMakers(m)
	b.beginMakers(m)
	return m
}

// forwarded is a case whose packets are forwarded: measured by XDP_TX and by redirect, and so is its floor.
type forwarded struct {
	name, floor string
	open        func() (*edge, error)
	driver      func() (*driver, error)
	frames      [][]byte
	warm, long  int // see probe
}

// pairMakers: hot sessions, and their floors.
func (b *bench) pairMakers(m map[string]func() (*probe, error)) {
	x4, x6 := natPair4(), natPair6()
	for _, f := range []forwarded{
		{name: "established_udp4", floor: "nat_floor4", open: b.nat, frames: x4.frames(loader.ProtoUDP, pair.up)},
		{name: "established_udp4_down", floor: "nat_floor4_down", open: b.nat, frames: x4.frames(loader.ProtoUDP, pair.down)},
		{name: "established_udp4_transparent", floor: "nat_floor4_transparent", open: b.through, frames: throughPair().frames(loader.ProtoUDP, pair.up)},
		{name: "established_tcp4", floor: "nat_floor4_tcp", open: b.nat, frames: x4.frames(loader.ProtoTCP, pair.up)},
		{name: "established_udp6", floor: "nat_floor6", open: b.nat, frames: x6.frames(loader.ProtoUDP, pair.up)},
	} {
		f.driver = b.again4
		if f.is6() {
			f.driver = b.again6
		}
		f.add(b, m)
	}
	m["established_udp4_bumped"] = b.bumped(m["established_udp4"], b.nat)
}

// crowdMakers: one of many sessions for each packet. What passed since the last sample must not count: loans that
// lapsed, checks that are due, all at once. A sample begins when each flow has had some packets, and is longer than a
// loan lasts (100 ms).
func (b *bench) crowdMakers(m map[string]func() (*probe, error)) {
	for _, row := range []struct {
		name string
		n    uint32
	}{{"_10k", crowd / 10}, {"_100k", crowd}} {
		f := forwarded{
			name: "established_udp4" + row.name, floor: "nat_floor4" + row.name, open: b.crowd,
			driver: b.random(row.name[1:]+"_flows", row.n), frames: [][]byte{strangerTo(crowdVIP())}, warm: 8, long: 8,
		}
		f.add(b, m)
		m[f.name+"_bumped"] = b.bumped(m[f.name], b.crowd)
	}
}

func (f *forwarded) is6() bool { return f.frames[0][12] == 0x86 }

func (f *forwarded) add(b *bench, m map[string]func() (*probe, error)) {
	tx, redirect := b.floor.Nat4, b.floor.Nat4Redirect
	if f.is6() {
		tx, redirect = b.floor.Nat6, b.floor.Nat6Redirect
	}
	f.addOne(b, m, "", tx, loader.XDPTX, loopback)
	f.addOne(b, m, "_redirect", redirect, loader.XDPRedirect, b.out.Index)
}

// addOne adds the case and its floor by one way to send, which returns the code want.
func (f *forwarded) addOne(b *bench, m map[string]func() (*probe, error), send string, floor *ebpf.Program, want uint32, out int) {
	frames, warm, long := f.frames, f.warm, f.long
	open, drive := f.open, f.driver
	m[f.name+send] = func() (*probe, error) {
		e, err := open()
		if err != nil {
			return nil, err
		}
		d, err := drive()
		in, _ := e.Programs()
		return &probe{driver: d, program: in, frames: frames, want: want, warm: warm, long: long,
			before: func() error { return e.leaveBy(out) }}, err
	}
	m[f.floor+send] = func() (*probe, error) {
		_, err := open() // fills the floors, too
		d, failed := drive()
		return &probe{driver: d, program: floor, frames: frames, want: want, warm: warm / 4, long: long / 4}, errors.Join(err, failed)
	}
}

// bumped is another probe with the policy epoch moving.
func (b *bench) bumped(of func() (*probe, error), open func() (*edge, error)) func() (*probe, error) {
	return func() (*probe, error) {
		p, err := of()
		if err != nil {
			return nil, err
		}
		e, err := open()
		if err != nil {
			return nil, err
		}
		p.bump = e.Lists().Bump
		return p, nil
	}
}

// listMakers: sources that are listed.
func (b *bench) listMakers(m map[string]func() (*probe, error)) {
	m["blocked_host"] = func() (*probe, error) {
		e, err := b.openLists(1, wholeAddress)
		if err != nil {
			return nil, err
		}
		in, _ := e.Programs()
		return &probe{program: in, frames: [][]byte{strangerTo(crowdVIP())}, want: loader.XDPDrop}, b.hold(in)
	}
	for _, row := range []struct {
		name string
		n    int
		bits func(int) int
	}{{"blocked_host_100k", manyHosts, wholeAddress}, {"blocked_host_1m", mostHosts, wholeAddress}, {"blocked_prefix", manyNets, netBits}} {
		m[row.name] = func() (*probe, error) {
			e, err := b.openLists(row.n, row.bits)
			if err != nil {
				return nil, err
			}
			d, err := b.random(row.name, uint32(row.n))()
			in, _ := e.Programs()
			return &probe{driver: d, program: in, frames: [][]byte{strangerTo(crowdVIP())}, want: loader.XDPDrop, warm: 3, long: 3}, err
		}
	}
}

// localMakers: a server on this host.
func (b *bench) localMakers(m map[string]func() (*probe, error)) {
	m["local_pass"] = func() (*probe, error) {
		e, err := b.local()
		if err != nil {
			return nil, err
		}
		in, _ := e.Programs()
		return &probe{program: in, frames: [][]byte{localTuple().frame(0)}, want: loader.XDPPass}, b.hold(in)
	}
	m["local_reply"] = func() (*probe, error) {
		e, err := b.local()
		if err != nil {
			return nil, err
		}
		_, out := e.Programs()
		return &probe{program: out, frames: [][]byte{localTuple().back().frame(0)}, want: loader.TCNext}, nil
	}
}

// beginMakers: sessions that begin.
func (b *bench) beginMakers(m map[string]func() (*probe, error)) {
	for _, row := range []struct {
		name           string
		sources, taken uint32
	}{
		{"new_session_known_source", knownOnes, knownOnes},
		{"new_session_unknown_source", 1 << 28, 0},
		{"new_session_ports_taken", knownOnes, beginsTaken},
	} {
		m[row.name] = func() (*probe, error) {
			x, err := b.openBeginning(row.name, row.sources, row.taken)
			if err != nil {
				return nil, err
			}
			p := &probe{driver: x.driver, frames: [][]byte{strangerTo(crowdVIP())}, want: loader.XDPTX, fixed: begins}
			p.before = func() error { return x.anew(p) }
			return p, nil
		}
	}
}

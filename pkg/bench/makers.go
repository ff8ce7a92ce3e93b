// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"

	"github.com/cilium/ebpf"

	"parry/loader"
)

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
	b.watchMakers(m)
	b.crowdMakers(m)
	b.listMakers(m)
	b.localMakers(m)
	b.beginMakers(m)
	b.floodMakers(m)
	b.answerMakers(m)
	b.synMakers(m)
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
		{name: "established_proxied", floor: "nat_floor4_tcp", open: b.proxied, frames: x4.frames(loader.ProtoTCP, pair.up)}, // whose floor is the next one's
		{name: "established_tcp4", floor: "nat_floor4_tcp", open: b.nat, frames: x4.frames(loader.ProtoTCP, pair.up)},
		{name: "established_udp6", floor: "nat_floor6", open: b.nat, frames: x6.frames(loader.ProtoUDP, pair.up)},
	} {
		f.driver = b.again4
		if f.is6() {
			f.driver = b.again6
		}
		f.add(b, m)
	}
	m["established_udp4_wide"] = func() (*probe, error) {
		e, err := b.openWide()
		if err != nil {
			return nil, err
		}
		d, err := b.again4()
		in, _ := e.Programs()
		return &probe{driver: d, program: in, frames: x4.frames(loader.ProtoUDP, pair.up), want: loader.XDPTX,
			before: func() error { return e.leaveBy(loopback) }}, err
	}
	m["rules_established"] = b.openRuledSessions
	m["established_udp4_bumped"] = b.bumped(m["established_udp4"], b.nat)
}

// crowdMakers: one of many sessions for each packet. What passed since the last sample must not count: loans that
// lapsed, checks that are due, all at once. A sample begins when each flow has had some packets. Both fall due again after two
// seconds, for one packet in eighty of a flow at this rate: they are left out, a hundredth or three of the cost.
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
		warm int // until each source has had packets, as in a flood that lasts: denials are noted for two seconds
	}{{"blocked_host_100k", manyHosts, wholeAddress, 8}, {"blocked_host_1m", mostHosts, wholeAddress, 60}, {"blocked_prefix", manyNets, netBits, 3}} {
		m[row.name] = func() (*probe, error) {
			e, err := b.openLists(row.n, row.bits)
			if err != nil {
				return nil, err
			}
			d, err := b.random(row.name, uint32(row.n))()
			in, _ := e.Programs()
			return &probe{driver: d, program: in, frames: [][]byte{strangerTo(crowdVIP())}, want: loader.XDPDrop, warm: row.warm, long: 3,
				before: e.Lists().NoticeAllowed}, err // as the daemon does each second
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
		wide           bool
	}{
		{"new_session_known_source", knownOnes, knownOnes, false},
		{"new_session_wide", knownOnes, knownOnes, true},
		{"new_session_unknown_source", 1 << 28, 0, false},
		{"new_session_ports_taken", knownOnes, beginsTaken, false},
	} {
		m[row.name] = func() (*probe, error) {
			x, err := b.openBeginning(row.name, row.sources, row.taken)
			if err != nil {
				return nil, err
			}
			x.e.wide = row.wide
			p := &probe{driver: x.driver, frames: [][]byte{strangerTo(crowdVIP())}, want: loader.XDPTX, fixed: begins}
			p.before = func() error { return x.anew(p) }
			return p, nil
		}
	}
}

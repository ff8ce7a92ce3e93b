// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"testing"
)

// A game of the file's own is one as any other: it decides protocol, class, gate and what that is told.
func TestOwnGames(t *testing.T) {
	const file = `
services:
  - {name: a, listen: 203.0.113.10:1, game: mine, forward: local}
  - {name: b, listen: 203.0.113.10:2, game: mine, forward: local, gate: off, class: rts}
  - {name: c, listen: 203.0.113.10:3, game: plain, forward: local}
  - {name: d, listen: 203.0.113.10:4, game: stream, forward: local}
  - {name: e, listen: 203.0.113.10:5, game: mine, forward: local, gate_params: [1, 2]}
games:
  - {name: mine, title: My Game, class: fps, protocol: udp, first: [{length: 16-64, bytes: "4d47 01 .. 00"}, {length: 12-, at: 8, bytes: "ff"}]}
  - {name: plain, protocol: [udp, tcp]}
  - {name: stream, protocol: tcp, first: [{length: 9}]}
`
	c := parse(t, file)
	for i, want := range []struct {
		class, gate string
		params      []uint64
	}{
		{"fps", "shape", []uint64{0x00_00_01_47_4d, 16 | 64<<16 | 0b10111<<48 | 1<<56, 0xff, 12 | 65535<<16 | 8<<32 | 1<<48 | 1<<56}},
		{"rts", "", nil},
		{"mmorpg", "", nil},
		{"mmorpg", "shape", []uint64{0, 9 | 9<<16 | 5<<56}},
		{"fps", "shape", []uint64{1, 2}},
	} {
		if s := c.Services[i]; s.Class != want.class || s.Gate != want.gate || !slices.Equal(s.GateParams, want.params) {
			t.Errorf("service %s: class %s, gate %q with %#x; want %+v", s.Name, s.Class, s.Gate, s.GateParams, want)
		}
	}
	if got := c.Services[2].Protocol; !slices.Equal(got, []string{"udp", "tcp"}) {
		t.Errorf("protocols %v", got)
	}
	if p := c.Profiles()[0]; p.Title != "My Game" || p.First.Min != 12 || p.First.Max != 0 || p.Proof != "weak" || p.Family != "generic_udp" {
		t.Errorf("%+v", p)
	}
}

// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"

	"parry/loader"
)

// openWatching is an edge with the sessions of established_udp4 and established_udp6 that may watch sessions, and watches all of them or none.
// Their datagrams are numbered.
func (b *bench) openWatching(all bool) (*edge, error) {
	s := sizes()
	s.Watched = 1024
	e, err := b.openEdge(s)
	if err != nil {
		return nil, err
	}
	e.watch = true
	pairs := []pair{natPair4(), natPair6()}
	if err := e.establish(loader.NAT, pairs...); err != nil || !all {
		return e, err
	}
	if err := e.Watch(1, 1); err != nil {
		return nil, err
	}
	if err := e.Lists().Bump(); err != nil { // who is judged anew is watched from then on
		return nil, err
	}
	want := 0
	for _, x := range pairs {
		for _, x := range []pair{x, x.back()} {
			for i := range hot {
				if err := e.send(x.nth(i).up(loader.ProtoUDP).from.frame(tcpACK), loader.XDPTX); err != nil {
					return nil, err
				}
				want++
			}
		}
	}
	n := 0
	err = e.WatchedSessions(func(*loader.Session) bool { n++; return true })
	if err == nil && n != want {
		err = fmt.Errorf("%d sessions are watched, not %d", n, want)
	}
	return e, err
}

// watchMakers: what those that are watched cost, and the others beside them.
func (b *bench) watchMakers(m map[string]func() (*probe, error)) {
	for _, row := range []struct {
		name string
		x    pair
		all  bool
	}{
		{"established_unwatched", natPair4(), false},
		{"established_unwatched6", natPair6(), false},
		{"established_watched", natPair4(), true},
		{"established_watched6", natPair6(), true},
	} {
		m[row.name] = func() (*probe, error) {
			open, again := b.unwatched, b.again4
			if row.all {
				open = b.watched
			}
			if !row.x.player.Addr().Is4() {
				again = b.again6
			}
			e, err := open()
			if err != nil {
				return nil, err
			}
			d, err := again()
			in, _ := e.Programs()
			return &probe{driver: d, program: in, frames: row.x.frames(loader.ProtoUDP, pair.up), want: loader.XDPTX,
				before: func() error { return e.leaveBy(loopback) }}, err
		}
	}
}

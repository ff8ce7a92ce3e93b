// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"testing"
	"time"

	"parry/loader"
)

// A stranger whom no route leads back to doesn't push a free port behind one that rests.
func TestNoRouteKeepsThePort(t *testing.T) {
	t.Parallel()
	plan := basePlan()
	plan.NATPorts = [2]uint16{natFirst, natFirst + 1}
	w := newWorld(t, plan)
	w.begin(t, hello(client(1), natPort))
	w.kill(t, w.session(t, client(1)))
	w.pass(t, 1100*time.Millisecond)
	w.sweep(t) // its port rests for 30 s; the other has never been used
	w.leadTo(t, loader.HopKey{})
	w.send(t, hello(client(2), natPort).Bytes(), outcome{verdict: "drop", reason: "no_route", service: "nat"}, nil)
	w.leadTo(t, wire.HopKey)
	w.send(t, hello(client(3), natPort).Bytes(), outcome{verdict: "tx", service: "nat"}, nil)
}

// Nor does one for whom the table has no room.
func TestFullTableKeepsThePort(t *testing.T) {
	t.Parallel()
	plan, sizes := basePlan(), smallSizes()
	plan.NATPorts, sizes.Sessions = [2]uint16{natFirst, natFirst + 3}, 2
	w := newWorldOf(t, plan, sizes)
	w.begin(t, hello(client(1), natPort))
	w.begin(t, hello(client(2), natPort))
	gone := func(n int) {
		w.kill(t, w.session(t, client(n)))
		w.pass(t, 1100*time.Millisecond)
		w.sweep(t)
	}
	gone(1)
	w.begin(t, hello(client(3), natPort))
	w.send(t, hello(client(4), natPort).Bytes(), outcome{verdict: "drop", reason: "sessions_full", service: "nat"}, nil)
	gone(3)
	w.send(t, hello(client(5), natPort).Bytes(), outcome{verdict: "tx", service: "nat"}, nil)
}

// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"
	"time"
)

// What is noted of a whole denied /24, and who must not be hidden by it.

// A prefix is noted for a whole /24 at once, unless it is longer than that, or some host nearby is allowed.
func TestDeniedNetsAreNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	must(t, w.lists.NoticeAllowed())
	net := deny("192.0.2.0/24")
	for _, x := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"its whole /24", func(t *testing.T) {
			w.list(t, net)
			w.tries(t, "192.0.2.1", natPort, 1, true)
			w.tries(t, "192.0.2.200", natPort, 1, true)
			w.tries(t, "192.0.3.1", natPort, 1, false)
			w.tries(t, "192.0.1.255", natPort, 1, false)
			if v, err := w.edge.Peek("deny_net4", rawKey(0, netip.MustParsePrefix(net.prefix))); err != nil || v[8] != 1 {
				t.Errorf("the entry was told of %d packets at once (%v): no net was noted", v[8], err)
			}
			w.wantHits(t, 2, net)
			w.unlist(t, net)
			w.tries(t, "192.0.2.201", natPort, 1, false)
		}},
		{"one /24 of many", func(t *testing.T) {
			wide := deny("198.18.0.0/15").of("nat")
			w.list(t, wide)
			w.tries(t, "198.18.7.1", natPort, 2, true)
			w.tries(t, "198.19.7.1", natPort, 2, true)
			w.tries(t, "198.18.7.1", openPort, 1, false)
			w.tries(t, "198.20.0.1", natPort, 1, false)
			w.wantHits(t, 4, wide)
		}},
		{"a longer one: no more than itself", func(t *testing.T) {
			w.list(t, deny("192.0.2.0/25"))
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.tries(t, "192.0.2.200", natPort, 1, false)
			w.wantHits(t, 3, deny("192.0.2.0/25"))
		}},
		{"until it expires", func(t *testing.T) {
			w.list(t, net.lasts(time.Second))
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.pass(t, time.Second)
			w.tries(t, "192.0.2.2", natPort, 1, false)
		}},
		{"around those who are allowed", func(t *testing.T) {
			for _, a := range []entry{allow("192.0.2.9/32"), allow("192.0.2.9/32").of("nat"), allow("192.0.2.9/32").of("open"), allow("192.0.2.8/30")} {
				refused := a.service == "open"
				w.list(t, net)
				w.tries(t, "192.0.2.1", natPort, 2, true)
				w.list(t, a)
				w.tries(t, "192.0.2.9", natPort, 1, refused)
				w.tries(t, "192.0.2.1", natPort, 2, true)
				w.tries(t, "192.0.2.9", natPort, 1, refused)
				w.unlist(t, a, net)
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			defer w.clear(t)
			defer w.unlistAll(t)
			x.do(t)
		})
	}
}

// Where nobody looks who is allowed, he is heard all the same within two seconds: what is noted of a whole /24 ends two seconds
// after the last look, whether the attack goes on or begins late.
func TestAllowedAmidDeniedWithoutDaemon(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name   string
		attack func(w *world)
	}{
		{"an attack that goes on", func(w *world) {
			for range 20 {
				w.tries(t, "192.0.2.7", natPort, 2, true)
				w.pass(t, 100*time.Millisecond)
			}
		}},
		{"one that begins late", func(w *world) {
			w.pass(t, 1900*time.Millisecond)
			w.tries(t, "192.0.2.7", natPort, 2, true)
			w.pass(t, 100*time.Millisecond)
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t, basePlan())
			must(t, w.lists.NoticeAllowed()) // a daemon looked, and died
			w.list(t, deny("192.0.2.0/24"))
			must(t, w.edge.Poke("allow_host4", rawKey(0, netip.MustParsePrefix("192.0.2.1/32")), make([]byte, 72)))
			x.attack(w)
			w.tries(t, "192.0.2.1", natPort, 1, false)
			w.tries(t, "192.0.2.7", natPort, 2, true)
			w.tries(t, "192.0.2.1", natPort, 1, false)
		})
	}
}

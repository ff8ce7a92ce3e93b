// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"

	"parry/loader"
)

// A prefix of which strangers come is told of, thinly though they are spread over its sources and over services, amid as many who make up
// their addresses.
func TestHeavyPrefixes(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		want   string
		source func(n int) netip.AddrPort
	}{
		{"192.0.2.0/24", func(n int) netip.AddrPort { return neighbour(player4, n%100) }},
		{"2001:db8:c::/48", func(n int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0xc, byte(n), byte(n >> 8), 15: 1}), 40000)
		}},
	} {
		t.Run(x.want, func(t *testing.T) {
			plan := strangerPlan(func(s *loader.Strangers) { s.Sessions, s.Packets = 1, 1 })()
			w := newWorldOf(t, plan, strangerSizes())
			const each = 3200
			for n := range each {
				port := []uint16{natPort, openPort}[n%2]
				w.quietly(t, hello(x.source(n), port).Bytes(), hello(client(n*7), port).Bytes())
			}
			all, err := w.edge.Heavies()
			must(t, err)
			found := false
			for _, h := range all {
				if h.Prefix.String() == x.want {
					found = true
					if h.Packets < each/2 || h.Packets > each*3/2 {
						t.Errorf("about %d packets of %d", h.Packets, each)
					}
					if h.Services&^0b110 != 0 || h.Services == 0 {
						t.Errorf("services %b", h.Services)
					}
				}
			}
			if !found {
				t.Errorf("not among %v", all)
			}
		})
	}
}

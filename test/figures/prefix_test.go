// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"net/netip"
	"testing"
	"time"

	"parry/loader"
)

// newPrefixed is an edge whose one service limits prefixes, with so many sources of one.
func newPrefixed(t *testing.T, sources int, limits loader.WideLimits) *limited {
	t.Helper()
	l := newLimited(t, 0, loader.Limits{Prefix4: 32, Prefix6: 64})
	plan := limitedPlan(loader.Limits{Prefix4: 32, Prefix6: 64})
	plan.Services[0].Prefix = limits
	g, err := l.Prepare(plan)
	must(t, err, l.Use(g), l.SetEnv(l.env))
	for i := range sources {
		a := playerAddr.As4()
		a[3] = byte(10 + i%50)
		l.flows = append(l.flows, udp(netip.AddrPortFrom(netip.AddrFrom4(a), uint16(40000+i/50)), netip.AddrPortFrom(edgeAddr, servicePort)))
	}
	return l
}

// prove has the server answer each session, and its client speak again.
func (l *limited) prove(t *testing.T) {
	t.Helper()
	var replies [][]byte
	must(t, l.Sessions(func(s *loader.Session) bool {
		replies = append(replies, udp(s.Server, s.Face))
		return true
	}))
	for _, frames := range [][][]byte{replies, l.flows} {
		for _, f := range frames {
			r, err := l.Process(f)
			must(t, err)
			if r.Code != loader.XDPTX {
				t.Fatalf("XDP code %d", r.Code)
			}
		}
	}
}

// The sources of a prefix share one limit, by whichever CPUs they come: those that are proven three quarters of its burst, the others half.
func TestPrefixLimitIsExactOverSourcesAndCPUs(t *testing.T) {
	for _, row := range []struct {
		name   string
		proven bool
		flows  int
		load   int
		burst  int
	}{
		{"10 proven sources on 2 CPUs, offering 5 times the rate", true, 10, 20, limitBurst * 3 / 4},
		{"250 proven flows of 50 sources on 2 CPUs, offering 20 times the rate", true, 250, 80, limitBurst * 3 / 4},
		{"10 sources that are not proven, on 2 CPUs, offering 20 times the rate", false, 10, 80, limitBurst / 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.load > 20 {
				all(t)
			}
			l := newPrefixed(t, row.flows, loader.WideLimits{Packets: limitRate, PacketBurst: limitBurst, Enforce: true, Bits4: 24, Bits6: 48})
			opened := l.open(t)
			if row.proven {
				l.prove(t)
				opened = 0
				l.env.Now += 10 * time.Second // its bucket is full again
				must(t, l.SetEnv(l.env))
			}
			admitted := opened + l.offer(t, l.flows, int(limitTime/limitTick)+1, row.load)
			near(t, "admitted of a /24 over 10 s: "+row.name, admitted, row.burst+limitRate*int(limitTime/time.Second), 0.02)
		})
	}
}

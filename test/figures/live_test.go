// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"parry/pkg/api"
)

const (
	liveFlows = 10
	liveTime  = 10 * time.Second
	livePause = 2 * time.Millisecond // between the rounds of a sender, a packet a flow each: 5 times the limit in all
)

// The same over real interfaces and by the kernel's clock: ten flows, two sending CPUs, ten seconds.
func TestSourceLimitLive(t *testing.T) {
	all(t)
	limits := fmt.Sprintf(", limits: {source: {packets_per_second: %d, burst: %d, new_sessions: 100}}", limitRate, limitBurst)
	e := newEdge(t, "limit", arena(limits, ""))
	e.start(t)
	e.echo(t)
	var flows [liveFlows]*net.UDPConn
	for i := range flows {
		flows[i] = e.dial(t, uint16(40000+i))
		_, err := flows[i].Write(make([]byte, 22)) // its session; two CPUs at once would race for it
		must(t, err)
	}
	began := now()
	var lasts [2]time.Duration
	threads(t, len(lasts), func(cpu int) error {
		for n := 0; now()-began < liveTime; n++ {
			for _, c := range flows {
				if _, err := c.Write(make([]byte, 22)); err != nil {
					return err
				}
			}
			lasts[cpu] = now()
			time.Sleep(livePause)
		}
		return nil
	})
	took := slices.Max(lasts[:]) - began
	up, dropped := e.counted(t)
	near(t, "live over veth: admitted of "+fmt.Sprint(up), int(up-dropped), limitBurst+int(limitRate*took/time.Second), 0.02)
}

// counted is what the service has received from players, and what of it was dropped for the source's rate.
func (e *edge) counted(t *testing.T) (up, dropped uint64) {
	t.Helper()
	s, err := e.api.Status(t.Context())
	must(t, err)
	service := s.Services[0]
	for reason, n := range service.Drops {
		if reason != "rate_packets" {
			t.Errorf("%d packets dropped for %s", n, reason)
		}
	}
	sessions, err := e.api.Sessions(t.Context(), api.Filter{})
	must(t, err)
	if len(sessions) != liveFlows {
		t.Errorf("%d sessions, not %d", len(sessions), liveFlows)
	}
	return service.Up.Packets, service.Drops["rate_packets"]
}

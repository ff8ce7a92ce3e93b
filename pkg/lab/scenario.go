// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"parry/pkg/spell"
)

// Scenario is one kind of attack: a row of data.
type Scenario struct {
	Name string
	What string // what a newcomer reads while it goes on
	// streams makes its packets; nil for play, which attacks nothing.
	streams func() []Stream
	// parts are other scenarios that it runs one after the other.
	parts []string
}

// fixedAttackers is how many addresses a flood of fixed sources comes from: few enough that each is far over any
// sensible limit.
const fixedAttackers = 50

// anyone is the sources of a flood with forged addresses: 2^28 IPv4 addresses, 2^52 IPv6 networks, any port.
func anyone(v6 bool) []Source {
	if v6 {
		return []Source{{Prefix: netip.MustParsePrefix("2a00::/12"), FirstPort: 1024, LastPort: 65535}}
	}
	return []Source{{Prefix: netip.MustParsePrefix("16.0.0.0/4"), FirstPort: 1024, LastPort: 65535}}
}

// aFew is the sources of a flood from real machines.
func aFew() []Source {
	var all []Source
	addr := netip.MustParseAddr("198.18.1.1")
	for i := range uint16(fixedAttackers) {
		all = append(all, Source{Prefix: netip.PrefixFrom(addr, 32), FirstPort: 20000 + i, LastPort: 20000 + i})
		addr = addr.Next()
	}
	return all
}

// junk is a payload of a size that games use, but which no server of the lab understands.
func junk(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 31)
	}
	return b
}

func randomUDP() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: arena4, Protocol: UDP, Payload: junk(64), Random: true},
		{Sources: anyone(false), Target: arena4, Protocol: UDP, Payload: junk(18), Random: true},
		{Sources: anyone(true), Target: arena6, Protocol: UDP, Payload: junk(64), Random: true},
	}
}

func fixedUDP() []Stream {
	return []Stream{{Sources: aFew(), Target: arena4, Protocol: UDP, Payload: junk(64), Random: true}}
}

func fragments() []Stream {
	first, last := &Fragment{More: true}, &Fragment{Offset: 1448}
	return []Stream{
		{Sources: anyone(false), Target: arena4, Protocol: UDP, Payload: junk(1440), Fragment: first},
		{Sources: anyone(false), Target: arena4, Protocol: UDP, Payload: junk(80), Fragment: last},
		{Sources: anyone(true), Target: arena6, Protocol: UDP, Payload: junk(80), Fragment: last},
	}
}

func hostUDP() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: netip.AddrPortFrom(arena4.Addr(), closedPort), Protocol: UDP, Payload: junk(18)},
		{Sources: anyone(true), Target: netip.AddrPortFrom(arena6.Addr(), closedPort), Protocol: UDP, Payload: junk(18)},
	}
}

func hostICMP() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: arena4, Protocol: Ping, Payload: junk(56)},
		{Sources: aFew(), Target: arena4, Protocol: Ping, Payload: junk(56)},
		{Sources: anyone(true), Target: arena6, Protocol: Ping, Payload: junk(56)},
	}
}

func mixed() []Stream {
	var all []Stream
	for _, s := range []func() []Stream{randomUDP, fixedUDP, fragments, hostUDP, hostICMP} {
		all = append(all, s()...)
	}
	return all
}

// Scenarios lists what the lab can play, in the order of the help text.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "play", What: "nobody attacks: players play"},
		{Name: "random-udp", What: "UDP to the game's port, each packet from another forged address and port", streams: randomUDP},
		{Name: "fixed-udp", What: fmt.Sprintf("UDP to the game's port from %d machines that don't hide", fixedAttackers), streams: fixedUDP},
		{Name: "fragments", What: "pieces of large packets that never become whole", streams: fragments},
		{Name: "host-udp", What: "UDP to a closed port of the edge itself", streams: hostUDP},
		{Name: "host-icmp", What: "a flood of pings to the edge itself", streams: hostICMP},
		{Name: "mix", What: "all of these floods at once", streams: mixed},
		{Name: "all", What: "each flood in turn",
			// First those that leave nothing behind, so that each shows its own effect.
			parts: []string{"fixed-udp", "host-udp", "host-icmp", "fragments", "random-udp", "mix"}},
	}
}

// later are the scenarios that are named but need parts of parry that are still to come.
func later() []string {
	return []string{"blind-two-way", "a2s", "raknet-ping", "getstatus", "reflection", "slow-bots", "syn", "ack", "carpet"}
}

// ScenarioNames lists the names that can be played, for help and completion.
func ScenarioNames() []string {
	var names []string
	for _, s := range Scenarios() {
		names = append(names, s.Name)
	}
	return names
}

// findScenario returns the scenarios to run one after the other for a name.
func findScenario(name string) ([]Scenario, error) {
	for _, s := range Scenarios() {
		if s.Name != name {
			continue
		}
		if len(s.parts) == 0 {
			return []Scenario{s}, nil
		}
		var all []Scenario
		for _, part := range s.parts {
			sub, err := findScenario(part)
			if err != nil {
				return nil, err
			}
			all = append(all, sub...)
		}
		return all, nil
	}
	names := ScenarioNames()
	if slices.Contains(later(), name) {
		return nil, fmt.Errorf("scenario %q comes with a later version: choose one of %s", name, strings.Join(names, ", "))
	}
	if near, ok := spell.Nearest(name, names); ok {
		return nil, fmt.Errorf("there is no scenario %q, did you mean %s? There are %s", name, near, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("there is no scenario %q: choose one of %s", name, strings.Join(names, ", "))
}

// sourceCount is how many different addresses are to be expected in n packets of a scenario.
func (s Scenario) sourceCount(n uint64) uint64 {
	if s.streams == nil || n == 0 {
		return 0
	}
	streams := s.streams()
	fixed := map[netip.Prefix]bool{}
	var sum float64
	for _, st := range streams {
		share := float64(n) / float64(len(streams)) / float64(len(st.Sources))
		for _, src := range st.Sources {
			if src.space() == 1 {
				fixed[src.Prefix] = true
				continue
			}
			sum += distinct(share, float64(src.space()))
		}
	}
	return min(n, uint64(sum+0.5)+uint64(len(fixed)))
}

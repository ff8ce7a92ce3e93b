// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"strings"

	"parry/pkg/spell"
)

// Scenario is one kind of attack: a row of data.
type Scenario struct {
	Name string
	What string // what a newcomer reads while it goes on
	// waves come one after the other; without any, nobody attacks.
	waves []wave
	// share is how much longer it takes than others where all are played.
	share int
	// rooms is how many services there are beside the games', each on an address of its own.
	rooms int
}

// wave is a stretch of an attack.
type wave struct {
	name     string
	streams  func() []Stream // nil: no flood
	bots     int             // that play slowly, from real sockets
	machines bool            // the addresses of its fixed sources are their own (aFew)
	rate     uint64          // packets a second at most, 0 = as many as the machine makes
}

// slowBots is how many machines join and play as people do, only to be in the way.
const slowBots = 200

// AllScenarios is the name that stands for each of them in turn.
const AllScenarios = "all"

// Scenarios lists what the lab can play, in the order of the help text.
func Scenarios() []Scenario {
	flood := func(name, what string, streams func() []Stream) Scenario {
		return Scenario{Name: name, What: what, waves: []wave{{name: name, streams: streams}}, share: 1}
	}
	return []Scenario{
		{Name: "play", What: "nobody attacks: players play", share: 1},
		{Name: "random-udp", What: "UDP to every game, each packet from another forged address; then from ten million in turn",
			waves: []wave{{name: "random", streams: randomUDP}, {name: "cycle of 10 million", streams: cyclingUDP}}, share: 2},
		{Name: "fixed-udp", What: fmt.Sprintf("UDP to the game's port from %d machines that don't hide", fixedAttackers),
			waves: []wave{{name: "fixed-udp", streams: fixedUDP, machines: true}}, share: 1},
		flood("blind-two-way", "what players say, from forged addresses that can't hear the answers", blindTwoWay),
		flood("a2s", "Source queries and connects without number, forged, some with a guessed challenge", a2s),
		flood("raknet-ping", "RakNet pings, most from forged addresses, some in the name of a few victims", raknetPing),
		flood("getstatus", "Quake III status queries, most from forged addresses, some in the name of a few victims", getstatus),
		flood("fragments", "pieces of large packets that never become whole", fragments),
		flood("reflection", "answers of abused DNS, NTP, CLDAP, SSDP and memcached servers, to every game", reflection),
		{Name: "slow-bots", What: fmt.Sprintf("%d machines that join every game and play slowly", slowBots),
			waves: []wave{{name: "slow-bots", bots: slowBots}}, share: 1},
		flood("host-udp", "UDP to a closed port of the edge itself", hostUDP),
		flood("host-icmp", "a flood of pings to the edge itself", hostICMP),
		flood("syn", "SYNs to the games over TCP, each from another forged address: connections that nobody goes on with", synFlood),
		flood("ack", "segments of connections that there are not, forged, some with a guessed cookie", ackFlood),
		flood("synack", "answers of web servers to SYNs that were sent in the edge's name", synackReflection),
		flood("rst", "resets of connections that there are not", rstFlood),
		{Name: "carpet", What: fmt.Sprintf("a little UDP to each of %d services, too little for any of them to notice, from forged addresses", carpetRooms),
			waves: []wave{{name: "carpet", streams: carpetUDP, rate: carpetRate * carpetRooms}}, share: 1, rooms: carpetRooms},
		{Name: "mix", What: "all of these floods and bots at once", waves: []wave{{name: "mix", streams: mixed, bots: slowBots, machines: true}}, share: 1},
	}
}

// ScenarioNames lists the names that can be played, for help and completion.
func ScenarioNames() []string {
	var names []string
	for _, s := range Scenarios() {
		names = append(names, s.Name)
	}
	return append(names, AllScenarios)
}

// findScenario returns the one of a name.
func findScenario(name string) (Scenario, error) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
	}
	names := ScenarioNames()
	if near, ok := spell.Nearest(name, names); ok {
		return Scenario{}, fmt.Errorf("there is no scenario %q, did you mean %s? There are %s", name, near, strings.Join(names, ", "))
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q: choose one of %s", name, strings.Join(names, ", "))
}

// attacks says that the scenario does something.
func (s Scenario) attacks() bool { return len(s.waves) > 0 }

// bounded is the wave's own rate or the one that was asked for, whichever is less; 0 = none.
func (w wave) bounded(rate uint64) uint64 {
	if rate == 0 || w.rate > 0 && w.rate < rate {
		return w.rate
	}
	return rate
}

// all is what the wave sends.
func (w wave) all() []Stream {
	if w.streams == nil {
		return nil
	}
	return w.streams()
}

// streams is what all waves send.
func (s Scenario) streams() []Stream {
	var all []Stream
	for _, w := range s.waves {
		all = append(all, w.all()...)
	}
	return all
}

// sourceCount is how many different addresses are to be expected in n packets of a wave's flood, and its bots.
func (w wave) sourceCount(n uint64) uint64 {
	streams := w.all()
	fixed := map[netip.Prefix]bool{}
	var sum float64
	for _, st := range streams {
		share := float64(n) / float64(len(streams)) / float64(len(st.Sources))
		for _, src := range st.Sources {
			if src.all() == 1 {
				fixed[src.Prefix] = true
				continue
			}
			sum += src.distinctOf(share)
		}
	}
	return min(n, uint64(sum+0.5)+uint64(len(fixed))) + uint64(w.bots)
}

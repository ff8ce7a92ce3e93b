// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Where things are. All of it is in namespaces of its own, so that it can't clash with the machine's addresses.
var (
	arena4  = netip.MustParseAddrPort("203.0.113.10:5000") // the lab's own game
	arena6  = netip.MustParseAddrPort("[2001:db8:edfe::10]:5000")
	strike  = netip.MustParseAddrPort("203.0.113.10:27015") // Source
	quake   = netip.MustParseAddrPort("203.0.113.10:27960") // Quake III
	craft   = netip.MustParseAddrPort("203.0.113.10:19132") // RakNet
	outpost = netip.MustParseAddrPort("203.0.113.10:7777")  // the lab's own game over TCP
	realm   = netip.MustParseAddrPort("203.0.113.10:25565") // Minecraft, by its protocol

	firstServer  = netip.MustParseAddr("10.0.1.11")
	secondServer = netip.MustParseAddr("10.0.1.12")
	server6      = netip.MustParseAddr("fd00:1::11")

	homes       = netip.MustParsePrefix("45.0.0.0/8") // players live here, all over: in 256 /16s, in a /32 each
	homes6      = netip.MustParsePrefix("2600::/16")
	victims     = netip.MustParsePrefix("198.18.1.0/24") // whose addresses attackers forge, to have them answered
	suspectAddr = netip.MustParseAddr("198.18.0.66")     // on the attackers' leg
	firstBot    = netip.MustParseAddr("198.18.64.10")    // there, too
)

const closedPort = 9

// service is what the edge is asked to forward.
type service struct {
	name, protocol string
	game           gameID // over UDP
	listen         netip.AddrPort
	servers        []netip.AddrPort
}

// services lists them.
func services() []service {
	at := func(port uint16, addrs ...netip.Addr) (all []netip.AddrPort) {
		for _, a := range addrs {
			all = append(all, netip.AddrPortFrom(a, port))
		}
		return all
	}
	return []service{
		{"arena", "udp", arenaGame, arena4, at(arena4.Port(), firstServer, secondServer)},
		{"arena6", "udp", arenaGame, arena6, at(arena6.Port(), server6)},
		{"strike", "udp", sourceGame, strike, at(strike.Port(), firstServer)},
		{"quake", "udp", quakeGame, quake, at(quake.Port(), firstServer)},
		{"craft", "udp", raknetGame, craft, at(craft.Port(), firstServer)},
		{"outpost", "tcp", arenaGame, outpost, at(outpost.Port(), firstServer)},
		{"realm", "tcp", arenaGame, realm, at(realm.Port(), firstServer)},
	}
}

// room is where the n-th of the further services of a scenario listens: each on an address of its own beside the games'.
func room(n int) netip.AddrPort {
	b := arena4.Addr().As4()
	b[3] = byte(100 + n)
	return netip.AddrPortFrom(netip.AddrFrom4(b), arena4.Port())
}

// services are all that the edge is asked to forward: the games', and the scenario's own.
func (s *Site) services() []service {
	all := services()
	for n := range s.rooms {
		all = append(all, service{fmt.Sprint("room", n+1), "udp", arenaGame, room(n), services()[0].servers})
	}
	return all
}

// profile is the `game:` of a service.
func (s service) profile() string {
	switch {
	case s.listen == realm:
		return "minecraft_java"
	case s.protocol == "tcp":
		return "generic_tcp"
	}
	return s.game.String()
}

// serviceOf returns where a game's players go.
func serviceOf(g gameID, v6 bool) netip.AddrPort {
	all := services()
	i := slices.IndexFunc(all, func(s service) bool {
		return s.protocol == "udp" && s.game == g && s.listen.Addr().Is6() == v6
	})
	return all[i].listen
}

// home is the address of the n-th of up to 65,000 players. Prefixes are what edges share their budgets out by.
func home(n int, v6 bool) netip.Addr {
	if v6 {
		b := homes6.Addr().As16()
		b[2], b[3], b[15] = byte(n>>8), byte(n), 1
		return netip.AddrFrom16(b)
	}
	b := homes.Addr().As4()
	b[1], b[2], b[3] = byte(n), byte(n>>8), 10
	return netip.AddrFrom4(b)
}

// Config is a configuration of parry for this world: pin, state and socket are paths.
func (s *Site) Config(pin, state, socket string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by parry lab.\nnode: lab\ninterfaces:\n")
	for _, l := range s.legs {
		fmt.Fprintf(&b, "  - {name: %s, mode: native}\n", l.edgeIf)
	}
	fmt.Fprintf(&b, "pin: %s\nstate: %s\napi: {socket: %s}\n", pin, state, socket)
	// One CPU plays, attacks and defends here: the host gets a budget that such a flood is sure to exceed.
	fmt.Fprintf(&b, "host: {packets_per_second: 50000, source_packets_per_second: 20000}\nservices:\n")
	for _, v := range s.services() {
		fmt.Fprintf(&b, "  - {name: %s, listen: \"%s\", protocol: %s, game: %s, forward: nat, pool: %s}\n",
			v.name, v.listen, v.protocol, v.profile(), v.name)
	}
	b.WriteString("pools:\n")
	for _, v := range s.services() {
		fmt.Fprintf(&b, "  - name: %s\n    servers:\n", v.name)
		for i, addr := range v.servers {
			fmt.Fprintf(&b, "      - {name: %s-%d, address: \"%s\"}\n", v.name, i+1, addr)
		}
	}
	return b.String()
}

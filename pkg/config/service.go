// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// Ways of forwarding.
const (
	ForwardNAT         = "nat"
	ForwardTransparent = "transparent"
	ForwardLocal       = "local"
)

// What `gate:` says besides names. In a Config that was parsed there is neither: no gate is "".
const (
	GateOff  = "off"
	gateAuto = "auto"
)

// What `syn_proxy:` and `proxy_protocol:` say. In a Config that was parsed a service that they can't be about has Off.
const (
	SynProxyAuto   = "auto"
	SynProxyAlways = "always"
	ProxyV2        = "v2"
	Off            = "off"
)

// Service is one thing that players connect to.
type Service struct {
	// Name is the service's name in listings, metrics and commands.
	Name string `yaml:"name" check:"required format=name"`
	// Listen is where players connect: `address:port`, `address:first-last`, `[v6]:port`, or a list of these. All of one
	// address family unless `forward` is `local`. At most 64 entries, and in the file 65536 ports, by
	// protocol, and 262144 counted on each server that they lead to.
	Listen []Listen `yaml:"listen" check:"required single items=64"`
	// Protocol is `udp`, `tcp` or both in a list. Default: what the game uses.
	Protocol []string `yaml:"protocol" check:"single enum=udp|tcp items=2"`
	// Game is a protocol family, a title that stands for one, or one of the file's own `games`. It decides gate, probe, bounds and class; `auto` is named from traffic.
	Game string `yaml:"game" check:"enum=@games"`
	// Class is the latency class. Default: the game's.
	Class string `yaml:"class" check:"enum=@classes"`
	// Gate is the program that strangers' first packets are shown to: `auto` is the game's, `off` none, else the name of one of parry's or
	// of your own (`parry gate list`, see gates.md).
	Gate string `yaml:"gate" check:"format=gate"`
	// GateParams are up to 6 whole numbers that the gate is told; what they mean is the gate's to say. Default: with `gate: auto` what the
	// game needs.
	GateParams []uint64 `yaml:"gate_params" check:"items=6 max=18446744073709551615"`
	// Forward is how packets reach the server: `nat` (any server anywhere), `transparent` (the server sees the player's address and must
	// route back through this edge) or `local` (the server runs on this host).
	Forward string `yaml:"forward" check:"enum=nat|transparent|local"`
	// Pool is the name of its pool of servers; none with `forward: local`.
	Pool string `yaml:"pool"`
	// Access `allowlist` refuses every source that isn't on the allow list: for admin ports.
	Access string `yaml:"access" check:"enum=open|allowlist"`
	// Geo is from where it takes players: from anywhere if it is not written.
	Geo GeoRule `yaml:"geo"`
	// Fragments is what becomes of a stranger's fragmented packet: with `admit` its first fragment may begin a session, with `drop` (a game's
	// first packet is short) it is dropped. Fragments of a session are forwarded either way.
	Fragments string `yaml:"fragments" check:"enum=drop|admit"`
	// SynProxy has the edge answer TCP's SYNs by cookies, so that servers hear of clients alone who have proven their address: `auto` under
	// attack and while more newcomers come than are let in at first sight, `always`, or `off`. With `forward: local` it is off: this host's kernel
	// has SYN cookies of its own.
	SynProxy string `yaml:"syn_proxy" check:"enum=auto|always|off"`
	// ProxyProtocol `v2` tells servers the player's address by PROXY protocol version 2, at the beginning of each TCP connection. They must
	// expect it, for they refuse what comes without.
	ProxyProtocol string `yaml:"proxy_protocol" check:"enum=off|v2"`
	// Enforce false monitors this service alone. Default: the file's `enforce`.
	Enforce *bool `yaml:"enforce"`
	// EnforceGate false has the gate only watch: what it refuses is counted and goes on, and the edge answers no queries for the service.
	EnforceGate *bool `yaml:"enforce_gate"`
	// Detect false has nothing decided about attackers by what comes to this service.
	Detect bool `yaml:"detect"`
	// Limits are the service's own, laid over the file's key by key.
	Limits Limits `yaml:"limits"`
	// Timeouts are the service's own, laid over the file's key by key.
	Timeouts Timeouts `yaml:"timeouts"`
	// Strangers is the service's own, laid over the file's key by key.
	Strangers Strangers `yaml:"strangers"`
	// Queries is the service's own, laid over the file's key by key: `answer` and `source_per_second`.
	Queries Queries `yaml:"queries"`
	// Attack is the service's own, laid over the file's key by key.
	Attack Attack `yaml:"attack"`
	// Health is the service's own, laid over the file's key by key.
	Health Health `yaml:"health"`
}

// Server is one game server of a pool.
type Server struct {
	// Name is the server's name, unique in its pool. New players are spread by it, so it is the same on every edge.
	Name string `yaml:"name" check:"required format=name"`
	// Address is `address:port`, or `address:first-last` for a service on a range of the same length.
	Address netip.Addr `yaml:"address" check:"required endpoint"`
	// First and Last are the port or ports written behind the address.
	First, Last uint16 `yaml:"-"`
	// Region is where it stands: one of `regions` where the file has any.
	Region string `yaml:"region" check:"format=name"`
	// Capacity is the number of players it takes; 0 means unknown.
	Capacity uint32 `yaml:"capacity" check:"max=1000000"`
	// Weight is its share of new players relative to the other servers'; 0 gives it none (its sessions go on).
	Weight uint32 `yaml:"weight" check:"max=10000"`
}

// Listen is an address and a range of ports, First to Last inclusive.
type Listen struct {
	Addr        netip.Addr
	First, Last uint16
}

// PortRange is the ports First to Last inclusive.
type PortRange struct{ First, Last uint16 }

// ProtoPort is a transport protocol ("udp", "tcp") and a port, written tcp/22.
type ProtoPort struct {
	Proto string
	Port  uint16
}

// String writes l as the configuration does: 203.0.113.10:27960-27969.
func (l Listen) String() string {
	s := netip.AddrPortFrom(l.Addr, l.First).String()
	if l.Last != l.First {
		s += "-" + strconv.Itoa(int(l.Last))
	}
	return s
}

// Contains reports whether the address and port lie in l.
func (l Listen) Contains(ap netip.AddrPort) bool {
	return l.Addr == ap.Addr() && l.First <= ap.Port() && ap.Port() <= l.Last
}

// String writes r as 1024-32767, one port as 1024.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Len is the number of ports in r.
func (r PortRange) Len() int { return int(r.Last) - int(r.First) + 1 }

// String writes p as tcp/22.
func (p ProtoPort) String() string { return p.Proto + "/" + strconv.Itoa(int(p.Port)) }

// Endpoint is the server's address with its port or ports.
func (s Server) Endpoint() Listen { return Listen{Addr: s.Address, First: s.First, Last: s.Last} }

// HasProtocol reports whether the service is on "udp" or "tcp".
func (s *Service) HasProtocol(proto string) bool { return slices.Contains(s.Protocol, proto) }

// Ports returns the lowest and the highest port that the service listens on, over all
// its addresses.
func (s *Service) Ports() PortRange {
	if len(s.Listen) == 0 {
		return PortRange{}
	}
	r := PortRange{First: s.Listen[0].First, Last: s.Listen[0].Last}
	for _, l := range s.Listen[1:] {
		r.First, r.Last = min(r.First, l.First), max(r.Last, l.Last)
	}
	return r
}

// ServerPort returns the server's port for players who connect to the service's port
// listen. Distances are kept: the service's lowest port goes to the server's first port, the
// port three above it to the third above the first, so ranges map port by port, and a list of ports
// with gaps keeps its gaps. A valid configuration never overflows here.
func (s *Service) ServerPort(server Server, listen uint16) uint16 {
	return server.First + (listen - s.Ports().First)
}

// hasRange reports whether any entry of listen is a range.
func (s *Service) hasRange() bool {
	return slices.ContainsFunc(s.Listen, func(l Listen) bool { return l.First != l.Last })
}

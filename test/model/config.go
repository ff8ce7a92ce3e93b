// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"time"
)

// Config is a configuration: what docs/configuration.md says, with every default filled in.
type Config struct {
	Enforce                bool // false: policy is counted, not carried out
	Doubts                 bool // sources may be doubted
	Host                   Rate
	Source                 Rate // of the host's traffic, each source's share
	Always                 []ProtoPort
	Services               []Service
	Pools                  []Pool
	NATFirst               uint16 // ports that NAT gives out
	NATLast                uint16
	Answers, AnswersPrefix Rate           // bytes to unproven sources beyond what they sent: to all who ask (and again to all who ask again), and to each /24 or /48
	Inside                 []netip.Prefix // where servers are
	Rules                  []Rule         // in the order in which they judge
}

// ProtoPort is a port of a protocol.
type ProtoPort struct {
	Proto uint8
	Port  uint16
}

// Mode is how a service's packets reach its servers.
type Mode int

// The modes.
const (
	NAT Mode = iota + 1
	Transparent
	Local
)

// Service is one service.
type Service struct {
	Name          string
	Mode          Mode
	Fronts        []Front
	Pool          string
	Allowlist     bool
	Fragments     bool // a stranger's first fragment may begin a session
	Enforce       bool
	EnforceLimits bool
	WatchGate     bool // what its gate refuses is counted, and goes on
	Trial         int  // number of the trial that it is on, 0 = none: whom its policy hits is booked
	MaxPacket     int
	Limits        Limits
	Timeouts      Timeouts
	Strangers     Strangers
	Gate          string // "" = none
	Params        [6]uint64
	Cached        bool // its servers' answers are cached
	Prefix        Wide // of a prefix of sources
	Unproven      Wide // of all together who are not proven
	Geo           *Geo // nil: from anywhere
	SYNProxy      SYNProxy
	ProxyHeader   bool // TCP: its servers are told the client
}

// Front is a range of ports that a service listens on. Offset is that of First among the service's ports.
type Front struct {
	Addr        netip.Addr
	Proto       uint8
	First, Last uint16
	Offset      uint16
}

// Limits of a source.
type Limits struct {
	Packets, Bytes, News Rate
	Sessions             int // at a time; 0 = no limit
	Prefix4, Prefix6     int // how long a prefix is one source
	Shared               Shared
}

// Timeouts of idle sessions.
type Timeouts struct {
	UDP, TCP, Closing, Opening time.Duration
	Weak                       time.Duration // of the weakly proven; 0 = as the others
	Silent                     time.Duration // of a TCP client that a gate waits for; 0 = as the others
}

// Pool is servers. Table4 and Table6 say which of them takes whom (admit.go); nil = none of that family takes anybody.
type Pool struct {
	Name           string
	Servers        []Server
	Table4, Table6 []uint32
}

// Server is one server. NAT are the addresses that may face it.
type Server struct {
	Addr netip.Addr
	Port uint16 // of a service's lowest port
	NAT  []netip.Addr
	TCP  *TCPOptions // nil: nobody knows
}

// Budgets that nobody configures.
var (
	alwaysRate = PerSecond(100_000, 10_000)
	linkRate   = PerSecond(10_000, 1_000)
	icmpRate   = PerSecond(1_000, 100)
)

// service is a service as it is now: what it was when it was last configured, for sessions outlive their service's going.
type service struct {
	Service
	pool *Pool // nil: none, or it went
	gate func(*First) Said
}

// limited tells whether some service, even one that went, limits its sources' packets or bytes.
func (e *Edge) limited() bool {
	for _, s := range e.services {
		if s.Limits.Packets.Units|s.Limits.Bytes.Units|s.Prefix.Packets.Units|s.Prefix.Bytes.Units != 0 {
			return true
		}
	}
	return false
}

// frontKey is an address and port that somebody listens on.
type frontKey struct {
	addr  netip.AddrPort
	proto uint8
}

type front struct {
	service int
	offset  uint16
}

// origin is what a server's own first word leaves as.
type origin struct {
	front   netip.AddrPort
	service int
}

// Configure takes a configuration. Services keep their number by name, and those that go keep it for good. Sessions, lists
// and ports that were given out stay as they are.
func (e *Edge) Configure(c Config) {
	e.config, e.serverWays, e.caches = c, map[*Server]asked{}, map[cacheKey]*[4]*Answer{}
	for _, s := range e.services {
		s.pool = nil
	}
	pools := map[string]*Pool{}
	for i := range c.Pools {
		pools[c.Pools[i].Name] = &c.Pools[i]
	}
	e.fronts, e.origins, e.own = map[frontKey]front{}, map[frontKey]origin{}, map[netip.Addr]bool{}
	for i := range c.Services {
		s := &c.Services[i]
		n := e.number(s.Name)
		if s.Mode == Local { // neither is about a server on this host
			s.SYNProxy, s.ProxyHeader = SYNProxyOff, false
		}
		*e.services[n] = service{Service: *s, pool: pools[s.Pool], gate: e.gates[s.Gate]}
		for _, f := range s.Fronts {
			e.own[f.Addr] = true
			for p := int(f.First); p <= int(f.Last); p++ {
				e.fronts[frontKey{netip.AddrPortFrom(f.Addr, uint16(p)), f.Proto}] = front{n, f.Offset + uint16(p) - f.First}
			}
		}
	}
	for i := range c.Services {
		e.findOrigins(e.number(c.Services[i].Name))
	}
	e.configureNAT()
	e.anyLimit = e.limited()
}

// number is the service's, given out now if it has none yet. 0 is this host's own.
func (e *Edge) number(name string) int {
	if n := e.numberOf(name); n > 0 {
		return n
	}
	e.Names = append(e.Names, name)
	e.services = append(e.services, &service{})
	return len(e.Names) - 1
}

// numberOf is 0 where it has none.
func (e *Edge) numberOf(name string) int {
	for n, have := range e.Names {
		if n > 0 && have == name {
			return n
		}
	}
	return 0
}

// ServiceAt is the number of the service that listens there, 0 = none.
func (e *Edge) ServiceAt(to netip.AddrPort, proto uint8) int {
	f, _ := e.front(to, proto)
	return f.service
}

// findOrigins: what a server sends first from a service's port leaves as the first service that leads there.
func (e *Edge) findOrigins(n int) {
	s := e.services[n]
	if s.Mode == Local || s.pool == nil {
		return
	}
	for _, server := range s.pool.Servers {
		for _, f := range s.Fronts {
			if f.Addr.Is4() != server.Addr.Is4() {
				continue
			}
			for p := int(f.First); p <= int(f.Last); p++ {
				k := frontKey{netip.AddrPortFrom(server.Addr, server.Port+f.Offset+uint16(p)-f.First), f.Proto}
				if _, ok := e.origins[k]; !ok {
					e.origins[k] = origin{netip.AddrPortFrom(f.Addr, uint16(p)), n}
				}
			}
		}
	}
}

// front is the service that a packet is for.
func (e *Edge) front(to netip.AddrPort, proto uint8) (front, bool) {
	f, ok := e.fronts[frontKey{to, proto}]
	return f, ok
}

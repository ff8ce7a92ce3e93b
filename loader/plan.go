// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"net/netip"
	"time"
)

// Plan is one configuration as the fast path needs it: plain values, complete and checked by who makes it.
type Plan struct {
	Enforce  bool // false: policy is counted, not carried out
	Host     HostBudget
	Services []Service
	Pools    []Pool
	NATPorts [2]uint16      // first and last that NAT gives out, less the services' own
	Inside   []netip.Prefix // where servers are: clients from there reach transparent services by NAT
	Frags    bool           // load for multi-buffer frames (jumbo)
	Answers  AnswerBudget
	Gates    []Gate    // that services name, each once
	Geo      *GeoTable // nil: no service has a geo rule
	Samples  SampleLevel
	Told     bool   // and sessions are told of: their first packets, and others by turns; takes Samples
	Doubts   bool   // sources may be doubted (Edge.AddDoubt)
	Watch    bool   // sessions may be watched: Edge.Watch says which
	Rules    []Rule // in the order in which they judge
}

// AnswerBudget bounds what unproven sources are given beyond what they sent, in bytes per second; 0 = no bound.
type AnswerBudget struct {
	Prefix uint64 // each /24 or /48
	Total  uint64
}

// Strangers is what a service gives to sources that are not proven; 0 = no bound.
type Strangers struct {
	Packets    uint32 // of one source, per second
	Sessions   uint64 // new ones, per second, before strangers have to come again
	Admissions uint64 // of those that came again, per second; a 512th of it each /16
	Queries    uint64 // of one source, per second
	Unanswered uint32 // packets of a session that its server has not answered
	Weak       uint32 // weakly proven sessions at once
	WeakPrefix uint32 // and of one /24 or /48
	WeakGain   uint32 // bytes that a weakly proven client is given for each of its own, before the budget of answers is drawn on
}

// HostBudget bounds traffic of no service, in packets per second; 0 = no bound.
type HostBudget struct {
	PacketsPerSecond       uint64
	SourcePacketsPerSecond uint64
	Always                 []ProtoPort
}

// ProtoPort is a port of this host that has a budget of its own.
type ProtoPort struct {
	Proto uint8
	Port  uint16
}

// Forward is how a service's packets reach its servers.
type Forward uint8

// The forwarding modes (spec 2.2).
const (
	NAT         = Forward(bpfForwardModeFORWARD_NAT)
	Transparent = Forward(bpfForwardModeFORWARD_TRANSPARENT)
	Local       = Forward(bpfForwardModeFORWARD_LOCAL)
)

func (f Forward) String() string {
	switch f {
	case NAT:
		return "nat"
	case Transparent:
		return "transparent"
	case Local:
		return "local"
	}
	return "none"
}

// Service is one service.
type Service struct {
	Name          string
	Forward       Forward
	Fronts        []Front
	Pool          string // "" for Local
	Allowlist     bool
	Enforce       bool
	EnforceLimits bool
	WatchGate     bool  // what its gate refuses is counted, and goes on
	Trial         uint8 // number of the trial that it is on, 0 = none: its policy was switched on a moment ago, and whom it hits is booked
	MaxPacket     uint32
	Fragments     bool // a stranger's first fragment may begin a session
	Limits        Limits
	Timeouts      Timeouts
	Strangers     Strangers
	Gate          string     // name of one of Plan.Gates; "" = none
	GateParams    [6]uint64  // what it is told of this service
	Answers       bool       // its servers' answers are cached
	Prefix        WideLimits // of a prefix of sources
	Unproven      WideLimits // of all together who are not proven
	Geo           uint8      // 1 + the number of its rule in Plan.Geo; 0 = none
	SynProxy      SynProxy   // of its TCP clients; not for Local
	ProxyHeader   bool       // TCP: PROXY protocol v2 tells its servers the client; not for Local
	Sequence      Sequence   // how its game numbers datagrams
}

// SynProxy says when the edge answers a service's SYNs by cookies.
type SynProxy uint8

// When it does.
const (
	SynProxyOff    = SynProxy(bpfSynProxySYN_PROXY_OFF)
	SynProxyAuto   = SynProxy(bpfSynProxySYN_PROXY_AUTO) // in StateAttack, or while more strangers come than are let in at first sight
	SynProxyAlways = SynProxy(bpfSynProxySYN_PROXY_ALWAYS)
)

// TCPOptions are what a server answers to a SYN that offers everything.
type TCPOptions struct {
	MSS         uint16
	WindowScale uint8 // NoWindowScale = it takes none
	SACK        bool
	Timestamps  bool
}

// NoWindowScale as TCPOptions.WindowScale.
const NoWindowScale = 15

// Front is where a service listens: a range of ports, counted on from the ranges before it.
type Front struct {
	Addr        netip.Addr
	Proto       uint8
	First, Last uint16
	Offset      uint16 // of First among the service's ports
}

// Limits of one source; 0 = none.
type Limits struct {
	Packets, PacketBurst uint64 // per second
	Bytes, ByteBurst     uint64
	NewSessions          uint32
	Window               time.Duration
	Sessions             uint32
	Prefix4, Prefix6     uint8
	Shared               Shared
}

// Timeouts after which an idle session ends.
type Timeouts struct {
	UDP, TCP, Closing, Opening time.Duration
	Weak                       time.Duration // of a weakly proven session; 0 = as the others
	Silent                     time.Duration // of a TCP client that has said nothing to its gate yet; 0 = as the others
}

// Pool is the servers of one or more services.
type Pool struct {
	Name           string
	Servers        []Server
	Table4, Table6 []uint32 // MaglevSize indexes into Servers, by family; nil = no server of it
}

// Server is one server.
type Server struct {
	Name string
	Addr netip.Addr
	Port uint16       // of a service's lowest port; the others keep their distance from it
	NAT  []netip.Addr // addresses that may face it
	TCP  *TCPOptions  // what it takes of TCP; nil = not known
}

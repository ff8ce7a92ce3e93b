// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// natAddr is one NAT address and its free ports, in the order in which they were freed.
type natAddr struct {
	addr        netip.Addr
	first, last uint16
	ports       map[uint16]bool // that it ever gave out
	free        []freePort
}

// freePort is a port that nobody uses. It is not given out before it has rested.
type freePort struct {
	port  uint16
	freed uint64 // tick
	rests uint64 // in 16 ticks
}

const (
	restGrain = 16 // ticks
	restUDP   = 30 * ticksPerSecond
	restTCP   = 60 * ticksPerSecond
)

// configureNAT gives every address that faces a server a ring of ports, less those that services listen on. An address
// keeps its ring for as long as the edge lives, whatever comes of its configuration.
func (e *Edge) configureNAT() {
	listened := map[uint16]bool{}
	for k := range e.fronts {
		listened[k.addr.Port()] = true
	}
	older := len(e.nat)
	for _, pool := range e.config.Pools {
		for _, server := range pool.Servers {
			for _, a := range server.NAT {
				e.own[a] = true
				if e.natAddr(a) == nil {
					e.nat = append(e.nat, newNATAddr(a, e.config.NATFirst, e.config.NATLast, listened))
				}
			}
		}
	}
	e.natPorts = map[uint16]bool{}
	for _, n := range e.nat {
		for p := int(n.first); p <= int(n.last); p++ {
			if port := uint16(p); !listened[port] || e.circulates(e.nat[:older], n.addr.Is4(), port) {
				e.natPorts[port] = true
			}
		}
	}
}

// circulates tells whether some address of a family gives the port out, although a service listens on it now.
func (e *Edge) circulates(among []*natAddr, is4 bool, port uint16) bool {
	for _, n := range among {
		if n.addr.Is4() == is4 && n.ports[port] {
			return true
		}
	}
	return false
}

func newNATAddr(a netip.Addr, first, last uint16, except map[uint16]bool) *natAddr {
	n := &natAddr{addr: a, first: first, last: last, ports: map[uint16]bool{}}
	for p := int(first); p <= int(last); p++ {
		if port := uint16(p); !except[port] {
			n.ports[port] = true
			n.free = append(n.free, freePort{port: port})
		}
	}
	return n
}

func (e *Edge) natAddr(a netip.Addr) *natAddr {
	for _, n := range e.nat {
		if n.addr == a {
			return n
		}
	}
	return nil
}

// takePort finds an address and port to face a server: the port that has been free for longest, of a random one of the
// server's addresses, or of the next where that has none to give.
func (e *Edge) takePort(server *Server) (netip.AddrPort, bool) {
	at := e.chance()
	count := uint32(len(server.NAT))
	for i := range count {
		n := e.natAddr(server.NAT[(at+i)%count])
		if len(n.free) == 0 {
			continue
		}
		p := n.free[0]
		if (e.tick()-p.freed)/restGrain < p.rests {
			continue
		}
		n.free = n.free[1:]
		return netip.AddrPortFrom(n.addr, p.port), true
	}
	return netip.AddrPort{}, false
}

// putBack gives a port back that was taken for a session that did not come to be: it is the next again, and needs no rest.
func (e *Edge) putBack(face netip.AddrPort) {
	n := e.natAddr(face.Addr())
	n.free = append([]freePort{{face.Port(), e.tick(), 0}}, n.free...)
}

// freePort gives a port back.
func (e *Edge) freePort(face netip.AddrPort, rest uint64) {
	n := e.natAddr(face.Addr())
	n.free = append(n.free, freePort{face.Port(), e.tick(), rest / restGrain})
}

// FreePorts are the ports of each NAT address that nobody uses, in the order in which they will be given out.
func (e *Edge) FreePorts() map[netip.Addr][]uint16 {
	all := map[netip.Addr][]uint16{}
	for _, n := range e.nat {
		ports := []uint16{}
		for _, p := range n.free {
			ports = append(ports, p.port)
		}
		all[n.addr] = ports
	}
	return all
}

// chance is the injected generator: Knuth's MMIX constants, the upper half of the state.
func (e *Edge) chance() uint32 {
	e.Chance = e.Chance*6364136223846793005 + 1442695040888963407
	return uint32(e.Chance >> 32)
}

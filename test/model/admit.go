// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// nobody tells whether no player can have an address: it is nobody's, this host's own, or a group's.
func (e *Edge) nobody(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()[0]
		return b == 0 || b == 127 || b >= 224 || e.own[a]
	}
	return a.IsUnspecified() || a.IsLoopback() || a.As16()[0] == 0xff || e.own[a]
}

// impossible tells whether no router lets through a player's packet from such an address: it is of one link alone (but a service
// there has such clients), or no host's.
func impossible(src, dst netip.Addr) bool {
	if src.Is4() {
		return src.IsLinkLocalUnicast() && !dst.IsLinkLocalUnicast()
	}
	for _, p := range []string{"100::/64", "64:ff9b::/64", "::ffff:0:0/96"} {
		if netip.MustParsePrefix(p).Contains(src) || p == "::ffff:0:0/96" && src.Is4In6() {
			return true
		}
	}
	siteLocal := netip.MustParsePrefix("fec0::/10")
	return (src.IsLinkLocalUnicast() || siteLocal.Contains(src)) && !dst.IsLinkLocalUnicast()
}

// begins tells whether a packet may begin a session. Of TCP's segments a SYN may; and any that is no end and no answer to a
// SYN, where the server knows its client's own address: such a session is older than the edge, and taken up where it is.
func begins(p *view, s *service) bool {
	if p.proto != tcp {
		return true
	}
	switch {
	case p.shaken != nil:
		return true
	case p.flags&(rst|fin) != 0:
		return false
	case p.flags&syn != 0:
		return p.flags&ack == 0
	}
	return s.Mode != NAT
}

// admit is a stranger's packet to a service.
func (e *Edge) admit(p *view) Outcome {
	svc := e.services[p.service]
	j := e.judge(p, p.src, svc)
	if j.reason != None {
		return drop(j.reason)
	}
	if r := e.unfit(p, svc); r != None {
		return drop(r)
	}
	if p.proto == tcp && svc.SYNProxy != SYNProxyOff {
		if !j.welcome {
			if r := e.ruled(p, svc, false); r != None {
				e.tried(p.service).Strangers++
				return drop(r)
			}
		}
		if o, done := e.synStage(p, svc); done {
			return o
		}
	}
	if !begins(p, svc) {
		return drop(NoSession)
	}
	if w := e.table[p.tuple()]; w.Session != nil {
		return e.revive(p, w.Session, j.welcome)
	}
	slot, b, o, done := e.letIn(p, svc, j)
	if done {
		return o
	}
	p.heard = p.proto == udp
	a, r := e.attempt(p, p.src, svc, j.unlimited)
	if r != None {
		b.undo()
		return drop(r)
	}
	s := &Session{Service: p.service, Proto: p.proto, Client: p.from(), Front: p.to(), Face: p.from(), prefix: svc.prefix(p.src),
		Proof: p.proof, query: p.query, again: p.again, unheard: svc.gate != nil && p.proto == tcp && (p.flags&syn != 0 || p.shaken != nil) && !j.welcome,
		netchan: svc.Gate == "quake3" && p.proto == udp}
	s.ruled = !j.welcome && e.about(p.service, p.proof == Strong)
	if s.vouched = p.shaken != nil; s.vouched {
		s.Proof = Unknown // until its server is there
	}
	s.up.unlimited = j.unlimited || !e.anyLimit
	if r = e.faceServer(p, svc, s); r == None {
		r = e.sideFor(p, svc, s)
	}
	if r == None {
		r = e.begin(p, s, j)
	}
	if r == None {
		e.cameIn(p, s, slot, j.welcome)
		return e.again(p)
	}
	a.undo()
	b.undo()
	e.unclaim(s)
	return drop(r)
}

// unfit is why nobody's packet like this one may come in.
func (e *Edge) unfit(p *view, svc *service) Reason {
	switch {
	case e.nobody(p.src):
		return BadAddress
	case impossible(p.src, p.dst) && e.refuse(p, ImpossibleSource, svc.Enforce):
		return ImpossibleSource
	case p.length > svc.MaxPacket && e.refuse(p, PacketSize, svc.Enforce):
		return PacketSize
	case p.part == first && !svc.Fragments && e.refuse(p, FragmentRefused, svc.Enforce):
		return FragmentRefused
	case p.proto == tcp && oddFlags(p.flags) && e.refuse(p, TCPFlags, svc.Enforce):
		return TCPFlags
	}
	return None
}

// letIn has who is allowed begin a session, within limits, and who is not show that he may: then he has a slot. done: o is what became of
// the packet.
func (e *Edge) letIn(p *view, svc *service, j judgement) (slot int, b begun, o Outcome, done bool) {
	var r Reason
	if j.welcome {
		b, r = e.mayBegin(p, svc, true, j.unlimited)
		return 0, b, drop(r), r != None
	}
	e.tried(p.service).Strangers++
	if of := isReflection(p); of > 0 {
		e.tried(p.service).Reflected[of]++
		if e.refuse(p, Reflection, svc.Enforce) {
			return 0, b, drop(Reflection), true
		}
	}
	if r = e.ruled(p, svc, false); r != None {
		return 0, b, drop(r), true
	}
	if svc.gate != nil && p.proto == udp {
		if o, done = e.gate(p, svc); done {
			return 0, b, o, true
		}
	}
	slot, b, r = e.newcomer(p, svc)
	return slot, b, drop(r), r != None
}

// begin has a session begin, unless the table refuses it. It was judged just now; where policy only watches and would have
// refused it, it is to be judged at its first packet.
func (e *Edge) begin(p *view, s *Session, j judgement) Reason {
	if r := e.add(s); r != None {
		if s.NAT {
			e.putBack(s.Face)
		}
		return r
	}
	s.began = e.tick()
	for _, h := range []*half{&s.up, &s.down} {
		h.seen, h.checked, h.epoch, h.stale = e.tick(), e.tick(), e.epoch, j.refused || p.shadow == Doubted
	}
	return None
}

// faceServer finds the session's server, the ways to it and back, and, under NAT, the port that faces it.
func (e *Edge) faceServer(p *view, svc *service, s *Session) Reason {
	if svc.Mode == Local {
		s.Local, s.Server = true, s.Front
		return None
	}
	server := svc.pick(p.src)
	if server == nil {
		return NoServer
	}
	s.Server = netip.AddrPortFrom(server.Addr, server.Port+p.offset)
	if !e.findWays(p, s, server) {
		return NoRoute
	}
	if s.NAT = svc.Mode == NAT || e.inside(p.src); s.NAT {
		var ok bool
		if s.Face, ok = e.takePort(server); !ok {
			return NoPort
		}
	}
	return None
}

// inside tells whether an address is on the servers' side: a server would answer it past the edge, so it needs NAT even
// where others don't (hairpin).
func (e *Edge) inside(a netip.Addr) bool {
	for _, p := range e.config.Inside {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// findWays finds the way to the server and the way back. Of the two the kernel may not know the link address of the one that
// this packet came from: it is learned from its frame.
func (e *Edge) findWays(p *view, s *Session, server *Server) bool {
	p.learn = p.down
	s.up.hop = e.wayTo(p, server)
	p.learn = !p.down
	s.down.hop = e.way(p)
	p.learn = false
	return s.up.hop != nil && s.down.hop != nil
}

// pick is the server that takes a client: by the client's address (IPv6: its /64), so that it gets the same one for every
// protocol and port and on every edge.
func (s *service) pick(client netip.Addr) *Server {
	if s.pool == nil {
		return nil
	}
	table := s.pool.Table4
	if client.Is6() {
		table = s.pool.Table6
	}
	if len(table) == 0 {
		return nil
	}
	i := table[hashSource(client, 0)%uint32(len(table))]
	if int(i) >= len(s.pool.Servers) {
		return nil
	}
	return &s.pool.Servers[i]
}

// hashSource is a hash of an IPv4 address or of an IPv6 /64, read as a little-endian number.
func hashSource(a netip.Addr, key uint64) uint32 {
	if a.Is4() {
		b := a.As4()
		return uint32(mix(mix(key)+uint64(binary.LittleEndian.Uint32(b[:]))) >> 32)
	}
	b := a.As16()
	return uint32(mix(mix(binary.LittleEndian.Uint64(b[:])^key)) >> 32)
}

// mix is the finalizer of MurmurHash3.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// admitServer is a server's first word to somebody who is in no session with it: it leaves as from its service, and the
// answers are admitted. Policy holds for the client whoever speaks first, and the session counts as one of its source's;
// limits are for what clients begin. False: no player is meant, or there is no way there; it is the host's.
func (e *Edge) admitServer(p *view) (Outcome, bool) {
	o, ok := e.origins[frontKey{p.from(), p.proto}]
	if !ok || e.nobody(p.dst) || !begins(p, e.services[o.service]) {
		return Outcome{}, false
	}
	svc := e.services[o.service]
	p.service, p.down, p.client = o.service, true, p.dst
	j := e.judge(p, p.dst, svc)
	if j.reason != None {
		return drop(j.reason), true
	}
	if w := e.table[p.tuple()]; w.Session != nil && w.isDown {
		return e.revive(p, w.Session, j.welcome), true
	}
	s := &Session{Service: o.service, Proto: p.proto, Client: p.to(), Front: o.front, Face: p.to(), Server: p.from(),
		ServerStarted: true, prefix: svc.prefix(p.dst)}
	if !e.findWays(p, s, nil) {
		p.shadow = None // what was said of its client is nothing of the host's
		return Outcome{}, false
	}
	a, r := e.attempt(p, s.Client.Addr(), svc, true)
	if r != None {
		return drop(r), true
	}
	s.ruled = !j.welcome && e.about(p.service, false)
	s.up.unlimited = j.unlimited
	if r := e.begin(p, s, j); r != None {
		a.undo()
		return drop(r), true
	}
	return e.again(p), true
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// partKey is what the parts of one datagram have in common.
type partKey struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8
}

func (p *view) partKey() partKey { return partKey{p.src, p.dst, p.id, p.proto} }

// partWay is where the parts of a datagram go whose first has passed, while its session lives.
type partWay struct {
	tuple    tuple // of the first
	service  int
	down     bool
	pass     bool // to this host
	src, dst netip.Addr
	newID    bool // under NAT
	id       uint32
	hop      *Hop
	expires  uint64 // tick

	refused bool // it was a local server's, and did not leave: no later one may

	limited bool // they draw on their source's buckets
	source  sourceKey
}

// partsLive is for how many ticks a first fragment is remembered: 10 s.
const partsLive = 10 * ticksPerSecond

// rememberPart has the other parts of a datagram follow its first, which is about to pass. Under NAT the datagram gets a new
// ID: two players' equal ones would merge at the server.
func (e *Edge) rememberPart(p *view, w way) *partWay {
	f := &partWay{
		tuple: p.tuple(), service: p.service, down: p.down, pass: w.Local, src: w.from().Addr(), dst: w.to().Addr(), newID: w.NAT,
		hop: w.half().hop, expires: e.tick() + partsLive,
	}
	if f.limited = !p.down && !p.unlimited; f.limited {
		f.source = sourceOf(w.Client.Addr(), p.service, w.prefix)
	}
	if w.NAT {
		f.id = e.nextID
		e.nextID++
	}
	e.parts[p.partKey()] = f
	return f
}

// writeID writes the new ID where there is one: the counter, its low byte first. IPv6's is at the end of the fragment header,
// which is the last.
func (f *partWay) writeID(p *view, ip []byte) {
	var id [4]byte
	binary.LittleEndian.PutUint32(id[:], f.id)
	switch {
	case !f.newID:
	case p.family == 4:
		change(ip, 4, 10, id[:2])
	default:
		copy(ip[p.l4-p.l3-4:], id[:])
	}
}

// laterPart: follows its first within 10 s while its session lives, and is nobody's else. It is held to size and limits as any
// packet, but draws on its source's buckets straight away. Nobody answers to one that is too big (RFC 1812 4.3.2.7): its first
// was told.
func (e *Edge) laterPart(p *view) (o Outcome) {
	f := e.parts[p.partKey()]
	var w way
	if f != nil && !f.refused && f.service != 0 {
		w = e.half(f.tuple)
	}
	if f == nil || f.refused || e.tick() >= f.expires || f.service != 0 && (w.Session == nil || w.Closing) {
		if e.own[p.dst] {
			return drop(FragmentOrphan)
		}
		return e.host(p)
	}
	p.service, p.down, p.client = f.service, f.down, f.dst
	playing := f.service != 0 && w.Proof != Unknown
	defer func() {
		if playing {
			e.countLoss(p, o, 1)
		}
	}()
	if f.service != 0 && !f.down && w.ruled && e.about(w.Service, w.Proof != Unknown) {
		if r := e.ruled(p, e.services[w.Service], w.Proof != Unknown); r != None {
			return drop(r)
		}
	}
	if r := e.partMayPass(p, f, w.Session); r != None {
		return drop(r)
	}
	if f.pass {
		if p.service == 0 {
			return e.host(p)
		}
		w.half().count(e, p, 1)
		return Outcome{Verdict: Pass}
	}
	hop := e.usable(p, &f.hop)
	switch {
	case hop == nil:
		return drop(NoNeighbor)
	case p.length > hop.MTU:
		return drop(TooBig)
	case p.ttl() <= 1:
		return drop(TTL)
	}
	ip, _ := p.copyIP()
	readdress(ip, f.src, f.dst)
	f.writeID(p, ip)
	w.half().count(e, p, 1)
	return e.leave(p, hop, ip)
}

func (e *Edge) partMayPass(p *view, f *partWay, s *Session) Reason {
	if p.service == 0 || p.down {
		return None
	}
	svc := e.services[p.service]
	if p.length > svc.MaxPacket && e.refuse(p, PacketSize, svc.Enforce) {
		return PacketSize
	}
	if src := e.sources[f.source]; f.limited && src != nil {
		if r, _ := e.lend(p, e.loanOf(src, s, svc), svc, 0, 0); r != None {
			return r
		}
	}
	return e.drawUnproven(p, s, svc)
}

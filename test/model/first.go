// SPDX-License-Identifier: Apache-2.0

package model

import "encoding/binary"

// says tells whether a TCP segment has something to say.
func (p *view) says() bool { return p.proto == tcp && p.l4+int(p.frame[p.l4+12]>>4)*4 < p.l3+p.length }

// hear has the gate see what a TCP client says first. Refused, the segment goes on as a reset, so that the server lets go of a
// connection that has nothing to say. False: it can't, as a part of a datagram.
func (e *Edge) hear(p *view, s *Session, svc *service) bool {
	p.heard = true
	o, done := e.gate(p, svc)
	if !done {
		s.unheard = false
		return true
	}
	p.refused = o.Reason
	return p.reset()
}

// askedMore has the gate see what comes in a session that has only asked so far: to ask again proves nothing, and what is no query
// makes it a session like others. True: what became of the packet is known.
func (e *Edge) askedMore(p *view, s *Session, svc *service) bool {
	p.heard = true
	if svc.gate == nil || e.judge(p, s.Client.Addr(), svc).welcome {
		s.query = false
		return false
	}
	o, done := e.gate(p, svc)
	if done {
		p.told = &o
		return true
	}
	s.query = p.query
	return false
}

// longestAnswer is the longest payload of an answer in one packet.
const longestAnswer = 1400

// speaksOn has the gate see what a client says by UDP that is proven weakly or not at all. Of such packets it says only which are
// queries: those count as queries, and prove nothing. Where the proof is weak the answer leaves among what the server says in play: it
// is paid for as it is asked, as the longest.
func (e *Edge) speaksOn(p *view, s *Session, svc *service) Reason {
	if p.proto != udp || p.down || p.heard || svc.gate == nil {
		return None
	}
	p.heard = true
	if said := e.ask(p, svc, true); said.Word < Query {
		return None
	}
	p.query = true
	if !e.prefixCell(prefixQueries, p.src, 32, 64, p.service).take(svc.Strangers.Queries, e.Now, 1, 0) && e.refuse(p, QueryRate, svc.Enforce) {
		return QueryRate
	}
	over := p.l4 - p.l3 + 8 + longestAnswer - p.length
	if !s.weak || over <= 0 {
		return None
	}
	r := e.mayGive(p, uint64(over))
	if r != None && e.refuse(p, r, svc.Enforce) {
		return r
	}
	return None
}

// reset makes the segment a bare reset in its place in the stream.
func (p *view) reset() bool {
	if p.part != whole {
		return false
	}
	p.frame = append([]byte{}, p.frame[:p.l4+20]...)
	ip, h := p.frame[p.l3:], p.frame[p.l4:]
	p.length = p.l4 - p.l3 + 20
	if p.family == 4 {
		change(ip, 2, 10, binary.BigEndian.AppendUint16(nil, uint16(p.length)))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(p.length-40))
	}
	p.flags = rst
	copy(h[8:], []byte{0, 0, 0, 0, 5 << 4, rst}) // no acknowledgment; the window stays
	copy(h[16:], []byte{0, 0, 0, 0})             // no urgent data
	pseudo := append(append(append([]byte{}, p.src.AsSlice()...), p.dst.AsSlice()...), 0, tcp, 0, 20)
	binary.BigEndian.PutUint16(h[16:], checksum(append(pseudo, h...)))
	return true
}

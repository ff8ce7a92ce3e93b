// SPDX-License-Identifier: Apache-2.0

package model

import "encoding/binary"

// The edge shakes hands with a TCP client before its server hears of it: a SYN is answered by a cookie, of which nothing is
// kept; who brings it back begins a session, and his segment becomes the SYN to the server. What the server answers becomes two packets: an
// ACK to the server, and to the client the window that the first answer had not.

// SYNProxy says when a service's SYNs are answered so.
type SYNProxy int

// When: never; under attack, or while more strangers come than are let in at first sight; always.
const (
	SYNProxyOff SYNProxy = iota
	SYNProxyAuto
	SYNProxyAlways
)

// TCPOptions are what a server takes.
type TCPOptions struct {
	MSS         uint16
	WindowScale uint8 // noScale = none
	SACK        bool
	Timestamps  bool
}

const (
	noScale    = 15
	unknownMSS = 1220 // for a server of which nothing is known

	// PurposeSYN is what its cookies are for.
	PurposeSYN Purpose = 0x53
)

// sizes of segments that a cookie can say, by family.
var cookieSizes = map[int][4]uint16{4: {536, 1220, 1400, 1460}, 6: {1220, 1300, 1380, 1440}}

// side is what is known of a session's TCP beside addresses and ports.
type side struct {
	isn, cookie uint32 // the client's first number, and the edge's
	delta       uint32 // from the server's numbers to what the client sees
	times       bool   // both have timestamps
	timeDelta   uint32 // the same of those; before the server has answered, what the client was given
	sack        bool
	scale       int // the client's; noScale
	offered     int // that it was offered
	down, up    int // by how much windows are shifted to the left
	time        uint32
	mss, window uint16
	connected   bool // the server has answered
	asked       bool // and has been asked
}

// shakes tells whether the edge shakes hands for a service now.
func (e *Edge) shakes(p *view, svc *service) bool {
	if svc.SYNProxy == SYNProxyOff || !e.config.Enforce || !svc.Enforce {
		return false
	}
	return svc.SYNProxy == SYNProxyAlways || e.states[p.service] == Attack || e.doubting(p.service) || !e.comers(p.service, 0).has(svc.Strangers.Sessions, e.Now)
}

// synHash is the hash behind a cookie.
func (e *Edge) synHash(p *view, isn uint32, says byte, step uint64) uint64 {
	m := append(append([]byte{}, p.src.AsSlice()...), p.dst.AsSlice()...)
	m = binary.BigEndian.AppendUint16(m, p.sport)
	m = binary.BigEndian.AppendUint16(m, p.dport)
	m = append(m, says, byte(PurposeSYN))
	m = binary.LittleEndian.AppendUint16(m, uint16(p.service))
	m = binary.LittleEndian.AppendUint32(m, isn)
	m = append(m, byte(step), byte(step>>8), byte(step>>16))
	return sipHash(e.Cookies, m)
}

func (e *Edge) synTime(hash uint64) uint32 { return uint32(hash>>32) & 0x7fffffff }

// synStage is a stranger's segment to a service that has a SYN proxy. Done: the outcome is known.
func (e *Edge) synStage(p *view, svc *service) (o Outcome, done bool) {
	switch {
	case p.flags&(fin|rst) != 0:
		return o, false
	case p.flags&syn == 0:
		return e.synBack(p, svc)
	case p.flags&ack == 0 && e.shakes(p, svc):
		return e.synAnswer(p, svc)
	}
	return o, false
}

// offer is what the edge and a client agree on.
func offer(svc *service, server *Server, s *segment, family int) (a side, mss uint16) {
	takes, size := server.TCP, uint16(unknownMSS)
	if takes == nil {
		takes = &TCPOptions{WindowScale: noScale}
	} else {
		size = takes.MSS
	}
	a.scale, a.offered = noScale, int(takes.WindowScale&15)
	if s.scale > 0 && a.offered != noScale {
		a.scale = s.shiftScale()
	}
	a.times, a.sack = s.times > 0 && takes.Timestamps, s.permits > 0 && takes.SACK
	if s.mss > 0 {
		mss = size
		if svc.ProxyHeader {
			mss -= uint16(headerLength(family))
		}
	}
	return a, mss
}

// sizeIndex is the largest size that a cookie can say and is not above a client's.
func sizeIndex(family int, s *segment) int {
	its := uint16(0)
	if s.mss > 0 {
		its = be16(s.h[s.mss+2:])
	}
	for i := 3; i > 0; i-- {
		if its >= cookieSizes[family][i] {
			return i
		}
	}
	return 0
}

// options are those of a SYN or of its answer.
func (a *side) options(mss uint16, scale int, own uint32, other []byte) []byte {
	var o []byte
	if mss > 0 {
		o = append(o, 2, 4, byte(mss>>8), byte(mss))
	}
	switch {
	case a.times && a.sack:
		o = append(o, 4, 2, 8, 10)
	case a.times:
		o = append(o, 1, 1, 8, 10)
	case a.sack:
		o = append(o, 1, 1, 4, 2)
	}
	if a.times {
		o = append(binary.BigEndian.AppendUint32(o, own), other...)
	}
	if a.scale != noScale {
		o = append(o, 1, 3, 3, byte(scale))
	}
	return o
}

// cookieFor is what the edge would answer to a SYN: what they agree on, the size that the client is told, the cookie's low byte and its hash.
func (e *Edge) cookieFor(p *view, svc *service) (a side, mss uint16, says byte, hash uint64, ok bool) {
	server := svc.pick(p.src)
	if server == nil || !p.plain() {
		return a, 0, 0, 0, false
	}
	s := p.segment()
	a, mss = offer(svc, server, s, p.family)
	step := e.Now >> CookieStep
	says = byte(step&1) | byte(sizeIndex(p.family, s))<<1 | byte(a.scale)<<4
	if a.sack {
		says |= 8
	}
	return a, mss, says, e.synHash(p, s.seq(), says, step), true
}

// CookieOf is the number that a frame with a SYN would be answered with now, and the timestamp; times: it has one.
func (e *Edge) CookieOf(frame []byte) (cookie, time uint32, times, ok bool) {
	p, damage := parse(frame)
	if damage != None || p.proto != tcp || p.part != whole {
		return 0, 0, false, false
	}
	f, ok := e.front(p.to(), tcp)
	if !ok {
		return 0, 0, false, false
	}
	p.service = f.service
	a, _, says, hash, ok := e.cookieFor(p, e.services[f.service])
	return uint32(hash)<<8 | uint32(says), e.synTime(hash), a.times, ok
}

func (e *Edge) synAnswer(p *view, svc *service) (o Outcome, done bool) {
	a, mss, says, hash, ok := e.cookieFor(p, svc)
	if !ok {
		return o, false
	}
	s := p.segment()
	e.tried(p.service).Strangers++
	e.tried(p.service).Answered++

	var theirs []byte
	if a.times {
		theirs = s.h[s.times+2 : s.times+6]
	}
	h := make([]byte, 20, 60)
	copy(h, ports(p.dport, p.sport))
	binary.BigEndian.PutUint32(h[4:], uint32(hash)<<8|uint32(says))
	binary.BigEndian.PutUint32(h[8:], s.seq()+1)
	h[12], h[13] = byte(len(s.h)/4)<<4, syn|ack
	h = append(h, a.options(mss, a.offered, e.synTime(hash), theirs)...)
	for len(h) < len(s.h) {
		h = append(h, 1)
	}
	q := p.only(h)
	if trail := p.frame[p.l3+p.length:]; p.length == q.length { // what was behind the packet stays
		q.frame = append(q.frame, trail...)
	}
	copy(q.frame, append(append([]byte{}, p.frame[6:12]...), p.frame[:6]...))
	ip := q.frame[q.l3:]
	if p.family == 4 {
		change(ip, 8, 10, []byte{64, tcp})
		copy(ip[12:], append(p.dst.AsSlice(), p.src.AsSlice()...))
	} else {
		ip[7] = 64
		copy(ip[8:], append(p.dst.AsSlice(), p.src.AsSlice()...))
	}
	return Outcome{Verdict: TX, Out: q.frame}, true
}

func ports(from, to uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
}

// synBack: does a segment bring a cookie back? Its client's first one does, or one that asks for a window, a byte before that.
func (e *Edge) synBack(p *view, svc *service) (o Outcome, done bool) {
	if server := svc.pick(p.src); server != nil && p.plain() {
		s := p.segment()
		for _, isn := range []uint32{s.seq() - 1, s.seq()} {
			if a := e.holds(p, isn, s); a != nil {
				if a.offered = noScale; server.TCP != nil {
					a.offered = int(server.TCP.WindowScale)
				}
				p.shaken, p.proof = a, Strong
				return o, false
			}
		}
	}
	if e.shakes(p, svc) && !e.inGrace(p, svc) && e.refuse(p, BadCookie, svc.Enforce) {
		e.tried(p.service).Strangers++
		return drop(BadCookie), true
	}
	return o, false
}

func (e *Edge) holds(p *view, isn uint32, s *segment) *side {
	cookie := s.ack() - 1
	says, step := byte(cookie), e.Now>>CookieStep
	if step&1 != uint64(says&1) {
		step--
	}
	hash := e.synHash(p, isn, says, step)
	if uint32(hash)<<8|uint32(says) != cookie {
		return nil
	}
	a := &side{isn: isn, cookie: cookie, times: s.times > 0, timeDelta: e.synTime(hash), sack: says&8 != 0, scale: int(says >> 4),
		mss: cookieSizes[p.family][says>>1&3], window: uint16(s.window())}
	if a.times {
		a.time = s.timestamp(0)
	}
	return a
}

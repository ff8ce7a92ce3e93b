// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// quoted is the packet that an ICMP error is about, as far as it is quoted.
type quoted struct {
	at, l4   int // offsets in the frame
	end      int // of the error
	proto    uint8
	from, to netip.AddrPort
}

// isError tells whether an ICMP message is an error: the whole of its header must be there.
func (p *view) isError() bool {
	if p.l4+8 > len(p.frame) {
		return false
	}
	kind := p.frame[p.l4]
	if p.family == 4 {
		return kind == 3 || kind == 11 || kind == 12
	}
	return kind >= 1 && kind <= 4
}

// readQuoted needs the quoted packet's IP header, and its ports: it may be a first fragment, and has no
// other extension headers.
func readQuoted(p *view) (q quoted, ok bool) {
	q = quoted{at: p.l4 + 8, end: p.l3 + p.length}
	if q.at > lastHeader {
		return q, false
	}
	b := p.frame[q.at:]
	var src, dst netip.Addr
	if p.family == 4 {
		if len(b) < 20 || b[0]>>4 != 4 || b[0]&15 < 5 || be16(b[6:])&0x1fff != 0 {
			return q, false
		}
		q.proto, q.l4 = b[9], q.at+int(b[0]&15)*4
		src, dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	} else {
		if len(b) < 40 || b[0]>>4 != 6 {
			return q, false
		}
		q.proto, q.l4 = b[6], q.at+40
		if q.proto == fragment {
			if len(b) < 48 || be16(b[42:])&^7 != 0 {
				return q, false
			}
			q.proto, q.l4 = b[40], q.at+48
		}
		src, dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	}
	if q.proto != udp && q.proto != tcp || q.l4 > lastHeader || q.l4+4 > q.end {
		return q, false
	}
	h := p.frame[q.l4:]
	q.from, q.to = netip.AddrPortFrom(src, be16(h)), netip.AddrPortFrom(dst, be16(h[2:]))
	return q, true
}

// icmpError: an error about a packet of a session goes to who sent that packet, in terms that it knows, so that path MTU
// discovery works through the edge. It is believed only where what it quotes is a live session's, stays within a budget, and
// changes nothing of the session. False: it is about nothing of ours, but may be about the host's.
func (e *Edge) icmpError(p *view) (Outcome, bool) {
	if !p.isError() {
		return Outcome{}, false
	}
	q, ok := readQuoted(p)
	if !ok {
		return Outcome{}, false
	}
	w := e.half(tuple{q.to, q.from, q.proto}) // the half that an answer to the quoted packet would travel in
	if !w.carries() {
		return e.unrelated(p, q)
	}
	p.service, p.down, p.client = w.Service, w.isDown, w.Client.Addr()
	switch hop := w.half().hop; {
	case !e.icmpBucket.take(icmpRate, e.Now, 1, 0):
		return drop(ICMPRate), true
	case w.Local:
		return Outcome{Verdict: Pass}, true
	case e.errorRefused(p, w):
		return drop(AnswerBudget), true
	case !hop.usable():
		return drop(NoNeighbor), true
	case p.ttl() <= 1:
		return drop(TTL), true
	default:
		return e.leave(p, hop, p.translate(q, w)), true
	}
}

// errorRefused: an error is longer than the packet that it is about, so to a client that is not proven it is one of the answers that
// have a budget.
func (e *Edge) errorRefused(p *view, w way) bool {
	return w.isDown && w.Proof == Unknown && !w.ServerStarted && !e.mayAnswer(w.Client.Addr(), uint64(p.length), w.again) &&
		e.refuse(p, AnswerBudget, e.services[w.Service].Enforce)
}

// unrelated: about no live session. What claims to be about a packet of a service's, or of a port that NAT gives out, is
// dropped.
func (e *Edge) unrelated(p *view, q quoted) (Outcome, bool) {
	if f, ok := e.front(q.from, q.proto); ok {
		p.service = f.service
		return drop(ICMPUnrelated), true
	}
	if e.natPorts[q.from.Port()] && e.own[q.from.Addr()] {
		return drop(ICMPUnrelated), true
	}
	return Outcome{}, false
}

// translate gives the error, and what it quotes, the ends that its receiver knows: the quoted packet is the one that the
// receiver sent. A router's own address is shown only to a server that sees its players' addresses, too.
func (p *view) translate(q quoted, w way) []byte {
	frame := append([]byte{}, p.frame...)
	in, sender := frame[q.at:], w.to()
	was := append([]byte{}, frame[p.l4:q.end]...)
	if p.family == 4 {
		change(in, 12, 10, append(sender.Addr().AsSlice(), w.from().Addr().AsSlice()...))
	} else {
		copy(in[8:], append(sender.Addr().AsSlice(), w.from().Addr().AsSlice()...))
	}
	h := frame[q.l4:]
	binary.BigEndian.PutUint16(h, sender.Port())
	binary.BigEndian.PutUint16(h[2:], w.from().Port())
	old, now := ends(q.from, q.to), ends(sender, w.from())
	if q.proto == tcp && w.shaken && !w.isDown && q.l4+8 <= q.end { // the server is to know the segment for one of its own
		old = append(old, h[4:8]...)
		binary.BigEndian.PutUint32(h[4:], be32(h[4:])-w.side.delta)
		now = append(now, h[4:8]...)
	}
	if at := checkAt(q.proto); q.l4+at+2 <= q.end && !(q.proto == udp && be16(h[at:]) == 0) {
		amendL4(h, q.proto, p.family, old, now)
	}
	src := w.from().Addr()
	if !w.isDown && !w.NAT {
		src = p.src
	}
	p.amendICMP(frame[p.l4:q.end], was, src, sender.Addr())
	ip := frame[p.l3:]
	readdress(ip, src, sender.Addr())
	return ip
}

// amendICMP amends an error's checksum for what has changed in it; ICMPv6's covers the addresses, too.
func (p *view) amendICMP(b, was []byte, src, dst netip.Addr) {
	is := append([]byte{}, b...)
	if p.family == 6 {
		was = append(append(padded(was), p.src.AsSlice()...), p.dst.AsSlice()...)
		is = append(append(padded(is), src.AsSlice()...), dst.AsSlice()...)
	}
	binary.BigEndian.PutUint16(b[2:], amend(be16(b[2:]), padded(was), padded(is)))
}

// padded is b as whole words.
func padded(b []byte) []byte {
	if len(b)%2 == 1 {
		return append(b, 0)
	}
	return b
}

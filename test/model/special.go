// SPDX-License-Identifier: Apache-2.0

package model

import "encoding/binary"

// TCP sessions whose numbers are not their server's (handshake.go), and those whose server is told its client by the PROXY protocol's
// header, version 2: before each segment of the client's that begins at its first byte, until the server has acknowledged the header.

func headerLength(family int) int {
	if family == 4 {
		return 28
	}
	return 52
}

// headerOf is the header about a session.
func headerOf(s *Session) []byte {
	family := byte(0x11)
	if s.family() == 6 {
		family = 0x21
	}
	h := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, family, 0, byte(headerLength(s.family())-16))
	h = append(append(h, s.Client.Addr().AsSlice()...), s.Front.Addr().AsSlice()...)
	return append(h, ports(s.Client.Port(), s.Front.Port())...)
}

// wants is what a session has from its first packet on.
func (p *view) wants(svc *service) (shaken, header bool) {
	if p.proto != tcp || svc.Mode == Local || p.down {
		return false, false
	}
	if p.shaken != nil {
		return true, svc.ProxyHeader
	}
	return false, svc.ProxyHeader && p.flags&(syn|ack) == syn
}

// sideFor readies what is known of a session's TCP, where it needs that. What NAT's sessions need lies with their port; the others claim a
// cell each.
func (e *Edge) sideFor(p *view, svc *service, s *Session) Reason {
	shaken, header := p.wants(svc)
	if !shaken && !header {
		return None
	}
	if !s.NAT && s.cell == 0 {
		if s.cell = e.claim(); s.cell == 0 {
			return SessionsFull
		}
	}
	s.side, s.shaken, s.header = p.shaken, shaken, header
	if s.side == nil {
		s.side = &side{}
	}
	return None
}

const claimTries = 8

// claim is the number of a free cell, the next one of so many; 0 = none. Cell 0 is nobody's.
func (e *Edge) claim() int {
	if e.cells == nil {
		e.cells = make([]bool, e.sizes.Cells)
	}
	for range claimTries {
		e.lastCell++
		if i := e.lastCell % len(e.cells); i > 0 && !e.cells[i] {
			e.cells[i] = true
			return i
		}
	}
	return 0
}

func (e *Edge) unclaim(s *Session) {
	if s.cell > 0 {
		e.cells[s.cell], s.cell = false, 0
	}
}

// special tells whether a session's segment is to be looked at. A SYN may begin another connection by its tuple, with a header of its own.
func (e *Edge) special(p *view, w way) bool {
	if p.proto != tcp || w.Local {
		return false
	}
	svc := e.services[w.Service]
	return w.shaken || w.header || p.flags&(syn|ack) == syn && !w.isDown && !w.ServerStarted && svc.ProxyHeader && svc.Mode != Local
}

// before judges such a segment by what is surely known. over: its session is, and it is a stranger's.
func (e *Edge) before(p *view, w way) (r Reason, over bool) {
	if w.side == nil {
		if !w.NAT && w.cell == 0 {
			if w.cell = e.claim(); w.cell == 0 {
				return SessionsFull, false
			}
		}
		w.side = &side{}
	}
	if p.part != whole {
		return FragmentRefused, false
	}
	s, x := p.segment(), w.side
	if !w.shaken {
		if !p.down && p.flags&(syn|ack) == syn {
			x.isn, w.header = s.seq(), true
		}
		return None, false
	}
	if !x.connected {
		if !p.down {
			p.heard = true
		}
		return judgeEarly(p, w, s), false
	}
	switch {
	case p.flags&syn == 0:
		return None, false
	case p.down:
		if p.flags&(ack|rst|fin) == ack && s.seq()+x.delta == x.cookie {
			return None, false
		}
		return TCPState, false
	case p.flags&ack != 0 || !(w.up.rst || w.down.rst || w.up.fin && w.down.fin):
		return TCPState, false
	}
	e.close(w.Session)
	return None, true
}

func judgeEarly(p *view, w way, s *segment) Reason {
	var ok bool
	switch x := w.side; {
	case p.down:
		f := p.flags & (syn | rst | fin | ack)
		ok = (f == syn|ack || f == rst|ack) && s.ack() == w.first()+1
	case p.flags&rst != 0:
		ok = s.seq() == x.isn+1 || s.seq() == x.isn
	default:
		ok = p.flags&syn == 0 && p.flags&ack != 0 && s.ack() == x.cookie+1
	}
	if !ok {
		return TCPState
	}
	return None
}

// growth is how much longer the packet leaves than it came.
func (p *view) growth(w way) int {
	if w.header && !p.down && p.flags&(syn|rst) == 0 && p.segment().seq() == w.side.isn+1 {
		return headerLength(p.family)
	}
	return 0
}

// change is the packet as its receiver is to know it; nil: the outcome is known.
func (e *Edge) change(p *view, w way) (*view, Outcome) {
	s, x := p.segment(), w.side
	grows := p.growth(w)
	if w.shaken && !x.connected {
		return e.early(p, w, s)
	}
	if w.shaken && p.down && p.flags&syn != 0 {
		w.half().count(e, p, 1)
		return nil, e.two(p, w, s) // the server has not got the first
	}
	if w.shaken {
		x.translate(p, s)
	}
	if !w.header {
		return p.with(s, nil), Outcome{}
	}
	n := headerLength(p.family)
	if p.flags&syn != 0 && s.mss > 0 {
		if mss := be16(s.h[s.mss+2:]); mss > 2*52 {
			binary.BigEndian.PutUint16(s.h[s.mss+2:], mss-uint16(n))
		}
	}
	switch {
	case !p.down && p.flags&(syn|ack) == syn:
		s.add(4, -uint32(n))
	case p.down && p.flags&ack != 0:
		if int32(s.ack()-(x.isn+1)) < 0 {
			s.put(8, x.isn+1)
		} else if p.flags&(syn|rst) == 0 {
			w.header = false
		}
	}
	if !p.down && p.flags&syn != 0 && p.length > p.l4-p.l3+len(s.h) {
		return p.only(s.h), Outcome{} // what it brought with it is to come behind the header
	}
	if grows > 0 {
		s.add(4, -uint32(n))
		return p.with(s, headerOf(w.Session)), Outcome{}
	}
	return p.with(s, nil), Outcome{}
}

// translate changes the numbers that are not the same on both sides.
func (x *side) translate(p *view, s *segment) {
	if p.down {
		s.add(4, x.delta)
		if s.times > 0 {
			s.add(s.times+2, x.timeDelta)
		}
		if x.down != 0 {
			s.putWindow(shifted(s.window(), x.down))
		}
		return
	}
	if x.up != 0 {
		s.putWindow(shifted(s.window(), x.up))
	}
	if p.flags&ack == 0 {
		return
	}
	s.add(8, -x.delta)
	if s.times > 0 {
		s.add(s.times+6, -x.timeDelta)
	}
	if s.blocks > 0 {
		for at := s.blocks + 2; at < s.blocksEnd; at += 4 {
			s.add(at, -x.delta)
		}
	}
}

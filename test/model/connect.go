// SPDX-License-Identifier: Apache-2.0

package model

import "encoding/binary"

// What passes between the edge and a server for a client that has shaken hands (handshake.go).

const askAgain = ticksPerSecond / 4

// first is the number with which the server's side of a session begins.
func (s *Session) first() uint32 {
	if s.header {
		return s.side.isn - uint32(headerLength(s.family()))
	}
	return s.side.isn
}

func (s *Session) family() int {
	if s.Client.Addr().Is4() {
		return 4
	}
	return 6
}

func shifted(window uint32, by int) uint32 {
	if by < 0 {
		return window >> -by
	}
	return min(window<<by, 0xffff)
}

// toServer is the client's segment as the SYN to its server.
func (s *Session) toServer(p *view) *view {
	x, scale, mss := s.side, s.side.scale, s.side.mss
	h := make([]byte, 20, 60)
	copy(h, ports(p.sport, p.dport))
	binary.BigEndian.PutUint32(h[4:], s.first())
	if s.header {
		mss -= uint16(headerLength(s.family()))
	}
	if scale == noScale {
		scale = 0
	}
	binary.BigEndian.PutUint16(h[14:], uint16(shifted(uint32(x.window), scale)))
	h = append(h, x.options(mss, x.scale, x.time, []byte{0, 0, 0, 0})...)
	h[12], h[13] = byte(len(h)/4)<<4, syn
	return p.only(h)
}

// answered takes the server's numbers from its answer. False: it doesn't take the timestamps that its client was promised.
func (x *side) answered(s *segment) bool {
	if x.times && s.times == 0 {
		return false
	}
	x.delta = x.cookie - s.seq()
	if x.times {
		x.timeDelta += 1 - s.timestamp(0)
	} else {
		x.timeDelta = 0
	}
	x.down, x.up = 0, 0
	if x.scale != noScale && x.offered != noScale {
		x.down = -x.offered
		if s.scale > 0 {
			x.down += s.shiftScale()
		} else {
			x.up = x.scale
		}
	}
	x.connected = true
	return true
}

// early is a segment before the server has answered. A packet: it leaves so; else the outcome.
func (e *Edge) early(p *view, w way, s *segment) (*view, Outcome) {
	x := w.side
	switch {
	case p.down && p.flags&syn != 0 && x.answered(s):
		w.Answered = true
		if !w.unheard {
			w.Proof = Strong
		}
		w.half().count(e, p, 1)
		return nil, e.two(p, w, s)
	case p.down:
		w.down.rst = true
		for i := 20; i < len(s.h); i++ {
			s.h[i] = 1
		}
		s.put(4, x.cookie+1)
		s.put(8, x.isn+1)
		s.h[13] = rst | ack
		s.putWindow(0)
	case p.flags&rst != 0:
		s.put(4, w.first()+1)
		s.put(8, 0)
		s.h[13] = rst
	case x.asked && e.tick()-w.up.seen < askAgain:
		return nil, drop(SYNProxied)
	default:
		x.asked = true
		return w.toServer(p), Outcome{}
	}
	return p.with(s, nil), Outcome{}
}

// two are the packets that a server's answer becomes; nil where one can't leave.
func (e *Edge) two(p *view, w way, s *segment) Outcome {
	x, o := w.side, Outcome{Verdict: Pass, Handshake: true}
	theirs := uint32(0)
	if s.times > 0 {
		theirs = s.timestamp(0)
	}
	make := func(hop *Hop, t tuple, seq, acked uint32, window uint32, own, other uint32, payload []byte) []byte {
		if !hop.usable() {
			return nil
		}
		h := append(ports(t.src.Port(), t.dst.Port()), 0, 0, 0, 0, 0, 0, 0, 0, 5<<4, ack, 0, 0, 0, 0, 0, 0)
		binary.BigEndian.PutUint32(h[4:], seq)
		binary.BigEndian.PutUint32(h[8:], acked)
		binary.BigEndian.PutUint16(h[14:], uint16(window))
		if len(payload) > 0 {
			h[13] |= 0x08 // PSH
		}
		if x.times {
			h = append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(append(h, 1, 1, 8, 10), own), other), payload...)
			h[12] = 8 << 4
		} else {
			h = append(h, payload...)
		}
		return bare(hop, t, h)
	}
	var header []byte
	if w.header {
		header = headerOf(w.Session)
	}
	window := s.window()
	if x.scale != noScale && x.offered != noScale {
		window >>= x.offered
	}
	o.ToServer = make(w.up.hop, tuple{w.Face, w.Server, tcp}, w.first()+1, s.seq()+1, uint32(x.window), x.time, theirs, header)
	o.ToClient = make(w.down.hop, tuple{w.Front, w.Client, tcp}, x.cookie+1, x.isn+1, window, theirs+x.timeDelta, x.time, nil)
	return o
}

// bare is a TCP segment of the edge's own, without tags; h has no checksum yet.
func bare(hop *Hop, t tuple, h []byte) []byte {
	out := append(append([]byte{}, hop.Dst[:]...), hop.Src[:]...)
	src, dst := t.src.Addr().AsSlice(), t.dst.Addr().AsSlice()
	pseudo := append(append(append([]byte{}, src...), dst...), 0, tcp, byte(len(h)>>8), byte(len(h)))
	binary.BigEndian.PutUint16(h[16:], checksum(append(pseudo, h...)))
	if len(src) == 4 {
		ip := []byte{0x45, 0, 0, byte(20 + len(h)), 0, 0, 0x40, 0, 64, tcp, 0, 0}
		ip = append(append(ip, src...), dst...)
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		return append(append(append(out, 8, 0), ip...), h...)
	}
	ip := append(append([]byte{0x60, 0, 0, 0, 0, byte(len(h)), tcp, 64}, src...), dst...)
	return append(append(append(out, 0x86, 0xdd), ip...), h...)
}

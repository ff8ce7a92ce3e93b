// SPDX-License-Identifier: Apache-2.0

package model

import "encoding/binary"

// segment is a TCP header, to be changed, and where its options are. Of an option that comes twice the first counts; one that can't be
// as it says ends the list.
type segment struct {
	h []byte // the header, options included

	mss, scale, permits, times int // offsets in h; 0 = there is none
	blocks, blocksEnd          int
}

func (p *view) segment() *segment {
	s := &segment{h: append([]byte{}, p.frame[p.l4:p.l4+int(p.frame[p.l4+12]>>4)*4]...)}
	first := func(at *int, i int) {
		if *at == 0 {
			*at = i
		}
	}
	for i := 20; i < len(s.h) && s.h[i] != 0; {
		if s.h[i] == 1 {
			i++
			continue
		}
		if i+1 >= len(s.h) || s.h[i+1] < 2 || i+int(s.h[i+1]) > len(s.h) {
			break
		}
		n := int(s.h[i+1])
		switch kind := s.h[i]; {
		case kind == 2 && n == 4:
			first(&s.mss, i)
		case kind == 3 && n == 3:
			first(&s.scale, i)
		case kind == 4 && n == 2:
			first(&s.permits, i)
		case kind == 8 && n == 10:
			first(&s.times, i)
		case kind == 5 && n >= 10 && n%8 == 2 && s.blocks == 0:
			s.blocks, s.blocksEnd = i, i+n
		}
		i += n
	}
	return s
}

func (s *segment) number(at int) uint32       { return binary.BigEndian.Uint32(s.h[at:]) }
func (s *segment) put(at int, v uint32)       { binary.BigEndian.PutUint32(s.h[at:], v) }
func (s *segment) add(at int, n uint32)       { s.put(at, s.number(at)+n) }
func (s *segment) seq() uint32                { return s.number(4) }
func (s *segment) ack() uint32                { return s.number(8) }
func (s *segment) window() uint32             { return uint32(be16(s.h[14:])) }
func (s *segment) putWindow(v uint32)         { binary.BigEndian.PutUint16(s.h[14:], uint16(v)) }
func (s *segment) shiftScale() (v int)        { return min(int(s.h[s.scale+2]), 14) }
func (s *segment) timestamp(which int) uint32 { return s.number(s.times + 2 + 4*which) }

// oddFlags are flags that no stack sends together, in a segment that no session expects.
func oddFlags(f uint8) bool {
	const urg = 0x20
	switch {
	case f&syn != 0:
		return f&(fin|rst|urg) != 0
	case f&rst != 0:
		return f&fin != 0
	}
	return f&ack == 0
}

// with is the packet with another TCP header and something before its payload; its checksum stays as right as it was.
func (p *view) with(s *segment, before []byte) *view {
	q := *p
	was := p.frame[p.l4 : p.l4+len(s.h)]
	length := p.length - (p.l4 - p.l3)
	is := append([]byte{}, s.h...)
	wasL, isL := []byte{byte(length >> 8), byte(length)}, []byte{byte((length + len(before)) >> 8), byte(length + len(before))}
	binary.BigEndian.PutUint16(is[16:], amend(be16(was[16:]), append(append([]byte{}, was...), wasL...), append(append(append([]byte{}, s.h...), isL...), before...)))
	q.frame = append(append(append(append([]byte{}, p.frame[:p.l4]...), is...), before...), p.frame[p.l4+len(s.h):]...)
	q.resize(p.length + len(before))
	return &q
}

// only is the packet with another TCP header, and nothing behind it; its checksum is made anew.
func (p *view) only(h []byte) *view {
	q := *p
	h = append([]byte{}, h...)
	h[16], h[17] = 0, 0
	pseudo := append(append(append([]byte{}, p.src.AsSlice()...), p.dst.AsSlice()...), 0, tcp, 0, byte(len(h)))
	binary.BigEndian.PutUint16(h[16:], checksum(append(pseudo, h...)))
	q.frame = append(append([]byte{}, p.frame[:p.l4]...), h...)
	q.resize(p.l4 - p.l3 + len(h))
	return &q
}

// resize makes the IP header say another length.
func (p *view) resize(length int) {
	p.length = length
	ip := p.frame[p.l3:]
	if p.family == 4 {
		change(ip, 2, 10, binary.BigEndian.AppendUint16(nil, uint16(length)))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(length-40))
	}
}

// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"encoding/binary"
	"net/netip"
)

const (
	protoTCP = 6
	protoUDP = 17
)

// Packet is one as those see it who name games or look for attacks: plain values, of whatever told of it. Payload is valid until who
// gave it goes on.
type Packet struct {
	Time    uint64 // CLOCK_MONOTONIC, ns
	Client  netip.AddrPort
	Front   netip.AddrPort // the edge's, that the client speaks to
	Service uint16
	Proto   uint8 // 6 TCP, 17 UDP
	Down    bool  // from the server to the client
	First   bool  // it began its session; refused: it would have begun one
	Shadow  bool  // Reason is what policy would have said, were it enforced: it passed
	Reason  uint8 // number of the drop reason; 0 = it passed
	Kind    Kind
	Packets uint32 // KindFirst and KindTurn: that its direction of the session had before
	Every   uint32 // see Sample
	Length  int    // of what it says, all of it
	Payload []byte // the beginning of that, as much as was kept
}

// Packet is the sample as plain values. What it says lies within Frame; nothing is allocated.
func (s *Sample) Packet() Packet {
	p := Packet{
		Time: s.Time, Client: netip.AddrPortFrom(s.Client, s.Ports.Client), Front: netip.AddrPortFrom(s.Front, s.Ports.Front),
		Service: s.Service, Proto: s.Proto, Down: s.Flags&Down != 0, First: s.Flags&First != 0, Reason: s.Reason, Kind: s.Kind,
		Packets: s.Packets, Every: s.Every,
	}
	if p.Reason == 0 && s.Shadow != 0 {
		p.Reason, p.Shadow = s.Shadow, true
	}
	p.Payload, p.Length = said(s.Frame)
	return p
}

// said is what a packet says by UDP or TCP, less what an interface put behind it: as much as is kept, and how much there was. Of a later
// fragment nobody knows.
func said(frame []byte) (payload []byte, length int) {
	proto, at, end := transport(frame)
	switch {
	case proto == protoUDP && len(frame) >= at+8:
		end = min(end, at+int(binary.BigEndian.Uint16(frame[at+4:])))
		at += 8
	case proto == protoTCP && len(frame) >= at+20:
		at += int(frame[at+12]>>4) * 4
	default:
		return nil, 0
	}
	if end <= at {
		return nil, 0
	}
	if at < len(frame) {
		payload = frame[at:min(end, len(frame))]
	}
	return payload, end - at
}

// transport is what a frame's IP packet carries, where that begins, and where the packet ends by its own header. proto 0: it can't be told.
func transport(frame []byte) (proto uint8, at, end int) {
	if len(frame) < 14 {
		return 0, 0, 0
	}
	kind, at := network(frame)
	b := frame[at:]
	switch {
	case kind == etherIPv4 && len(b) >= 20:
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return 0, 0, 0
		}
		return b[9], at + int(b[0]&15)*4, at + int(binary.BigEndian.Uint16(b[2:]))
	case kind == etherIPv6 && len(b) >= 40:
		proto, n := extensions(b[6], b[40:])
		return proto, at + 40 + n, at + 40 + int(binary.BigEndian.Uint16(b[4:]))
	}
	return 0, 0, 0
}

// IPv6's extension headers that stand before what a packet carries.
const (
	extHops     = 0
	extRouting  = 43
	extFragment = 44
	extAuth     = 51
	extOptions  = 60
	extMost     = 8
)

// extensions passes over them. proto 0: they are cut, too many, or those of a later fragment.
func extensions(next uint8, b []byte) (proto uint8, length int) {
	for range extMost {
		step := 0
		switch next {
		default:
			return next, length
		case extFragment:
			if len(b) < 8 || binary.BigEndian.Uint16(b[2:])>>3 != 0 {
				return 0, 0
			}
			step = 8
		case extHops, extRouting, extOptions, extAuth:
			if len(b) < 8 {
				return 0, 0
			}
			if step = (int(b[1]) + 1) * 8; next == extAuth {
				step = (int(b[1]) + 2) * 4
			}
		}
		if step > len(b) {
			return 0, 0
		}
		next, b, length = b[0], b[step:], length+step
	}
	return 0, 0
}

// Way is what one direction of a session carried.
type Way struct{ Packets, Bytes uint64 } // bytes of IP packets

// End is the end of a session.
type End struct {
	Client   netip.AddrPort
	Front    netip.AddrPort
	Server   netip.AddrPort
	Service  uint16
	Proto    uint8
	By       string // idle, closed, client, server, killed, evicted or silent
	Began    uint64 // CLOCK_MONOTONIC, ns
	Last     uint64 // when its last packet passed
	Up, Down Way
}

// Analyser is told of sessions by one goroutine: of each direction the packets in order, then of its end. What it is given is valid until
// it returns. While it thinks, samples wait in the ring, and are lost once that is full, counted: it slows no packet down.
type Analyser interface {
	Packet(*Packet)
	Ended(*End)
}

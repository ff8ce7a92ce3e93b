// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"net/netip"

	"parry/pkg/frame"
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
	var f frame.Packet
	if frame.Parse(s.Frame, &f) {
		p.Payload, p.Length = f.Payload, f.Length
	}
	return p
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

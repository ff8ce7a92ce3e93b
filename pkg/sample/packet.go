// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"net/netip"
	"time"

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
	Step    Step
	Player  bool   // its client is one: proven strongly, or has played for a while
	Packets uint32 // KindFirst and KindTurn: that its direction of the session had before
	Every   uint32 // see Sample
	Size    uint32 // of its frame
	Length  int    // of what it says, all of it
	Payload []byte // the beginning of that, as much as was kept
}

// Packet is the sample as plain values. What it says lies within Frame; nothing is allocated.
func (s *Sample) Packet() Packet {
	p := Packet{
		Time: s.Time, Client: netip.AddrPortFrom(s.Client, s.Ports.Client), Front: netip.AddrPortFrom(s.Front, s.Ports.Front),
		Service: s.Service, Proto: s.Proto, Down: s.Flags&Down != 0, First: s.Flags&First != 0, Reason: s.Reason, Kind: s.Kind, Step: s.Step, Player: s.Flags&Player != 0,
		Packets: s.Packets, Every: s.Every, Size: s.Length,
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
	Time     uint64 // when that was found, CLOCK_MONOTONIC, ns
	Began    uint64
	Last     uint64 // when its last packet passed
	Up, Down Way

	ID         string // of its tuple
	Proof      string // of the client's address: none, weak, lasting or strong
	Lasted     bool   // it was played for a while
	Query      bool   // it only asked for what anybody may be told
	Called     bool   // its server spoke first
	ClientLast bool   // the last packet was its client's

	UpFine, DownFine *Fine // nil: it was not watched
}

// Fine is what was timed of one direction of a session while it was watched: packets as they came to the edge, those that it dropped
// included.
type Fine struct {
	Packets              uint64
	Jitter               time.Duration // RFC 3550 6.4.1, of differences between spacings: as it was at the end
	Gap                  time.Duration // the longest between two packets
	Bursts, LongestBurst uint32        // of three packets and more within a millisecond each

	Numbered   bool // its packets have numbers that can be read: what follows holds
	Numbers    uint32
	Lost       uint32 // that were left out and did not come later
	Reordered  uint32 // that came after a higher one
	Duplicates uint32

	// Of its last 26 to 34 seconds before its last packet.
	RecentGap                 time.Duration
	RecentNumbers, RecentLost uint32

	Drops map[string]uint32 // packets that the edge dropped, by reason: the first four that came up, and "other"
}

// RecentLoss is which share of the last half minute's packets did not come; false: they have no numbers that can be read.
func (f *Fine) RecentLoss() (share float64, ok bool) {
	if f == nil || !f.Numbered || f.RecentNumbers+f.RecentLost == 0 {
		return 0, false
	}
	return float64(f.RecentLost) / float64(f.RecentNumbers+f.RecentLost), true
}

// Analyser is told of sessions by one goroutine: of each direction the packets in order, then of its end. What it is given is valid until
// it returns. While it thinks, samples wait in the ring, and are lost once that is full, counted: it slows no packet down.
type Analyser interface {
	Packet(*Packet)
	Ended(*End)
}

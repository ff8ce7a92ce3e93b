// SPDX-License-Identifier: Apache-2.0

package anticheat

import (
	"net/netip"
	"time"
)

// Session is whose packets they are: the client, the address that it speaks to, and the transport (6 TCP, 17 UDP).
type Session struct {
	Client, Front netip.AddrPort
	Proto         uint8
}

// About is what is known of a session by others; it may become known while it lasts.
type About struct {
	Service string
	Game    string // a name that game.Lookup knows, or Policy.Games does; "": nobody knows
	Player  string // what the protocol calls the player; "": the session is the player
}

// Packet is one packet with a payload; of TCP none that was sent before, and no bare acknowledgements.
//
// Whole says that since the packet before it none of the session's was left out, in either direction. All that needs packets in a row
// (lag, replays, repetition, numbers, rates, rhythm) is judged within such runs only; a packet with Whole false ends the run. Of
// packets that are only samples (a session's first ones, one every two seconds) signatures and sizes are judged.
type Packet struct {
	Time    uint64 // ns of any clock that only goes forward; one clock for all that is told
	Session Session
	Down    bool // from the server to the client
	Whole   bool
	Length  int    // of the payload on the wire, bytes
	Head    []byte // the beginning of the payload, as much as was kept: valid until Packet returns
	About
}

// Sums are what was counted of a session since it is watched (loader.Timing, sample.Fine), told every few seconds. By them alone a suspect
// is found, not convicted: findings of Sums have severity 0.6 at most but for a rate over the game's bound, which needs no more.
type Sums struct {
	Time    uint64 // of the same clock as Packet's
	Session Session
	About
	Up, Down *Way // nil: not watched
}

// Way is one direction of Sums. Counters only grow; one that is smaller than before means that another watch began.
type Way struct {
	Packets               uint64
	RecentGap             time.Duration // the longest silence of about the last half minute
	Numbered              bool          // its packets have numbers that can be read: the next three hold
	Numbers, Lost, Repeat uint32        // numbers read; left out; that came again
}

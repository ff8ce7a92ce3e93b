// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"net/netip"
	"time"
)

// Kind is what was seen.
type Kind uint8

// Kinds. A *connection* is an attempt at a session, so Attempt or Refused, once: the same client port asking the same service again
// within ten seconds is the same attempt, as long as its session did not end meanwhile.
const (
	Attempt   Kind = iota + 1 // a session began
	Refused                   // one was asked for, and refused; Reason says why
	SYN                       // a TCP SYN came, whatever becomes of it; no connection yet
	Handshake                 // a TCP handshake was completed: strong proof for the session or attempt of that port
	Query                     // a question that wants no session (A2S, pings, status): counts for nothing here
	Proven                    // a session's client proved its address, as strongly as Proof says
	Lasting                   // a session has lasted (30 s, 20 packets each way): somebody plays
	Playing                   // it goes on; to be told of each at least twice an hour, or its player is forgotten
	Ended                     // a session ended: Lived, Lasted, EndedBy
	Dropped                   // a packet that is no attempt was dropped; Reason says why
)

// Proof is how well the sender of this very packet, or of this session, proved that the address is its own.
type Proof uint8

// Proofs. Only a strong one is evidence against an address: whatever is weaker can be sent in anybody's name.
const (
	None   Proof = iota
	Weak         // a two-way exchange over plain UDP: three blind packets may pass for it
	Strong       // an echoed secret, a completed TCP handshake
)

// EndedBy is who ended a session.
type EndedBy uint8

// What a server or the edge ended is not the client's doing, and never counts as its having left.
const (
	ByOther  EndedBy = iota // path, block, limit, drain, killed, edge, or nobody knows
	ByClient                // it said so
	ByIdle                  // it fell silent
	ByServer
)

// Observation is one thing that was seen of one source. Nothing of it is kept but numbers: it may be reused.
type Observation struct {
	Time    uint64     // ns of any clock that mostly goes forward; jumps are harmless
	Source  netip.Addr // counted by itself (IPv4) or by its /64 (IPv6)
	Service uint16     // its number; 0 = none
	Port    uint16     // destination port on the edge
	Client  uint16     // source port, by which retries, proofs and ends find their attempt; 0 = not known
	Kind    Kind
	Proof   Proof // of Attempt, Refused, Proven, Ended
	EndedBy EndedBy
	Lasted  bool          // of Ended: the session had lasted
	Mute    bool          // of Ended: its server sent it nothing
	Regular bool          // the fast path knows the source as one that has played
	Weight  uint32        // it stands for so many (1 in N is sampled); 0 = 1
	Length  uint16        // of the packet in bytes; 0 = not known
	Lived   time.Duration // of Ended: from the client's first packet to its last
	Game    string        // name as in pkg/game; "" = not known, then the service stands for it
	Reason  string        // of Refused and Dropped: the drop reason's name
}

func (o *Observation) weight() uint64 { return max(uint64(o.Weight), 1) }

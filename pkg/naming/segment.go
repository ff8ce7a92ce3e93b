// SPDX-License-Identifier: Apache-2.0

package naming

// Flags of a TCP segment that count here.
const (
	FIN = 1 << iota
	SYN
	RST
	_
	ACK
)

// Segment is one of TCP.
type Segment struct {
	Up      bool // from who began
	Seq     uint32
	Flags   uint8
	Options bool // it has some
	Payload []byte
	Length  int // of the payload on the wire
}

// patience is how many segments may be ahead of the one that is waited for until it is given up.
const patience = 3

// segments is what is kept of a TCP connection: what comes next of each side, and how it began.
type segments struct {
	next  [2]uint32
	known [2]bool
	ahead [2]uint8
	begun bool // a segment was seen
	first uint8
	bare  bool  // the first one had no options
	seen  uint8 // all flags that the other side sent
	paid  bool  // some payload was seen
}

// Segment shows a flow one of TCP, in whatever order it came: what was read before is passed over, and what is ahead
// of a gap is waited for a little. It reports whether more could change the name.
func (n *Namer) Segment(f *Flow, s *Segment) bool {
	t := &f.tcp
	if !t.begun {
		t.begun, t.first, t.bare = true, s.Flags, !s.Options
		f.from = s.Flags&SYN != 0
	}
	if !s.Up {
		t.seen |= s.Flags
	}
	side := 0
	if s.Up {
		side = 1
	}
	if s.Flags&SYN != 0 {
		t.next[side], t.known[side] = s.Seq+1, true
		return f.left > 0
	}
	if len(s.Payload) == 0 {
		return f.left > 0
	}
	t.paid = true
	payload, length, seq := s.Payload, max(s.Length, len(s.Payload)), s.Seq
	if behind := int32(t.next[side] - s.Seq); t.known[side] && behind != 0 {
		if behind < 0 {
			if t.ahead[side]++; t.ahead[side] <= patience {
				return f.left > 0
			}
		} else if int(behind) >= length {
			return f.left > 0
		} else {
			payload, length, seq = payload[min(int(behind), len(payload)):], length-int(behind), t.next[side]
		}
	}
	t.next[side], t.known[side], t.ahead[side] = seq+uint32(length), true, 0
	return n.Feed(f, s.Up, payload, length)
}

// silent names a connection that never carried a byte, by how it began.
func (t *segments) silent() (l Label, conf uint8, says string) {
	switch {
	case !t.begun || t.paid:
		return UnknownTCP, 0, ""
	case t.first&(SYN|ACK) == SYN|ACK:
		return TCPReflection, 60, "it begins with the answer to a SYN that nobody sent"
	case t.first&RST != 0:
		return TCPReflection, 40, "it begins with a refusal of what nobody sent"
	case t.first&SYN == 0 || t.seen&SYN != 0:
		return UnknownTCP, 0, ""
	case t.seen&RST != 0:
		return Scan, 40, "a SYN that was refused"
	case t.bare:
		return TCPSynFlood, 60, "a SYN without any option, as no system sends them; nobody answered"
	}
	return Scan, 30, "a SYN that nobody answered"
}

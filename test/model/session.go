// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"strings"
)

// Session is one player's flow to one server. Of its four ends the client sends to the front, and what it sends leaves as
// from the face to the server; what the server sends to the face leaves as from the front to the client.
//
//	NAT                      the face is a NAT address and port
//	Transparent              the face is the client
//	Local                    the face is the client and the server the front: nothing changes
//	what a server says first as Transparent
type Session struct {
	Service       int
	Proto         uint8
	Client, Front netip.AddrPort
	Face, Server  netip.AddrPort
	NAT, Local    bool
	ServerStarted bool

	Answered bool  // the server has spoken since it was opened; TCP's, as to one whose ACK it has seen
	Proof    Proof // of its client's address
	Closing  bool  // over: no packet belongs to it, but one that may begin a session takes it up again
	killed   bool  // by hand: nothing takes it up again
	closed   uint64
	began    uint64
	query    bool // a query and its answer: no connection
	unheard  bool // TCP: its gate is yet to hear what it says first
	netchan  bool // UDP: what proves it in play is yet to come
	weak     bool // counted among the weakly proven
	lasting  bool // it has played for a while
	again    bool // its client had to come again, and did
	evicted  bool // newer strangers pushed it out: nothing takes it up again
	ruled    bool // rules are about its client's packets
	known    bool // it was proven before it was last taken up
	prefix   int  // how long a prefix is its source: what the configuration said when it began
	vouched  bool // its client was proven before it began
	shaken   bool // its client shook hands with the edge
	header   bool // its server has not acknowledged the header yet
	side     *side
	cell     int // 0 = none

	up, down half
}

// half is one direction of a session.
type half struct {
	Direction
	seen     uint64 // tick of the last packet that passed
	checked  uint64 // tick of the last check
	stale    bool   // it is to be checked whatever the epoch
	epoch    uint64 // of the last check
	hop      *Hop
	fin, rst bool

	unlimited bool // up: source limits don't hold
	tokens    tokens
}

// tuple is what the packets of one half look like on the wire.
type tuple struct {
	src, dst netip.AddrPort
	proto    uint8
}

func (s *Session) upTuple() tuple   { return tuple{s.Client, s.Front, s.Proto} }
func (s *Session) downTuple() tuple { return tuple{s.Server, s.Face, s.Proto} }

func (p *view) tuple() tuple { return tuple{p.from(), p.to(), p.proto} }

// way is a session and the direction in which a packet travels in it.
type way struct {
	*Session
	isDown bool
}

func (w way) half() *half {
	if w.isDown {
		return &w.down
	}
	return &w.up
}

// from and to are the ends that its packets leave with.
func (w way) from() netip.AddrPort {
	if w.isDown {
		return w.Front
	}
	return w.Face
}

func (w way) to() netip.AddrPort {
	if w.isDown {
		return w.Client
	}
	return w.Server
}

// carries tells whether packets belong to it.
func (w way) carries() bool { return w.Session != nil && !w.Closing }

// halves counts what a session takes of the table: the way back under NAT takes a port instead.
func (s *Session) halves() int {
	if s.NAT {
		return 1
	}
	return 2
}

// half is the session and direction that such packets belong to, closing ones included. The way back under NAT is known by
// its port.
func (e *Edge) half(t tuple) way {
	if s := e.slots[t.dst]; s != nil && !s.Closing && s.downTuple() == t {
		return way{s, true}
	}
	return e.table[t]
}

// add puts a session into the table. It may be that another has one of its tuples, or that there is no room.
func (e *Edge) add(s *Session) Reason {
	used := &e.used4
	if s.Client.Addr().Is6() {
		used = &e.used6
	}
	if !s.NAT {
		if e.table[s.downTuple()].Session != nil {
			return Race
		}
		if *used >= e.sizes.Sessions {
			return SessionsFull
		}
	}
	if e.table[s.upTuple()].Session != nil {
		return Race
	}
	if *used+s.halves() > e.sizes.Sessions {
		return SessionsFull
	}
	e.table[s.upTuple()] = way{s, false}
	if s.NAT {
		e.slots[s.Face] = s
	} else {
		e.table[s.downTuple()] = way{s, true}
	}
	*used += s.halves()
	e.sessions = append(e.sessions, s)
	return None
}

// remove takes a session out of the table.
func (e *Edge) remove(s *Session) {
	delete(e.table, s.upTuple())
	if s.NAT {
		delete(e.slots, s.Face)
	} else {
		delete(e.table, s.downTuple())
	}
	if s.Client.Addr().Is6() {
		e.used6 -= s.halves()
	} else {
		e.used4 -= s.halves()
	}
	for i := range e.sessions {
		if e.sessions[i] == s {
			e.sessions = append(e.sessions[:i], e.sessions[i+1:]...)
			return
		}
	}
}

// Sessions are all there are, in the order in which they began.
func (e *Edge) Sessions() []*Session { return e.sessions }

// Marks are what is known of it beside its state.
func (s *Session) Marks() string {
	var all []string
	for _, m := range []struct {
		set  bool
		name string
	}{{s.evicted, "evicted"}, {s.weak, "weak"}, {s.Proof == Strong || s.vouched, "strong"}, {s.query, "query"}, {s.lasting, "lasting"}, {s.unheard, "unheard"}, {s.again, "again"}, {s.netchan, "netchan"}, {s.ruled, "ruled"}, {s.shaken, "shaken"}, {s.header, "header"}} {
		if m.set {
			all = append(all, m.name)
		}
	}
	return strings.Join(all, " ")
}

// Up and Down are what it has carried, Age how many ticks ago it began, and Idle for how many neither side has spoken.
func (s *Session) Up() Direction   { return s.up.Direction }
func (s *Session) Down() Direction { return s.down.Direction }

// Age is the number of ticks since it began.
func (e *Edge) Age(s *Session) uint64 { return e.tick() - s.began }

// Idle is the number of ticks since either side spoke.
func (e *Edge) Idle(s *Session) uint64 { return e.tick() - max(s.up.seen, s.down.seen) }

// Handshake is where a TCP session stands whose numbers are translated, or whose server is told its client.
type Handshake struct {
	Shaken, Header, Connected bool
	ISN, Cookie, First        uint32 // the client's first number, the edge's, and the one that the server heard of
	Server                    uint32 // the server's, once it is connected
	Time                      uint32 // once it is connected: from the server's timestamps to what the client sees; else what the client was given
	Times                     bool
}

// Handshake of a session; ok: it has one.
func (s *Session) Handshake() (h Handshake, ok bool) {
	if s.side == nil {
		return h, false
	}
	x := s.side
	return Handshake{s.shaken, s.header, x.connected, x.isn, x.cookie, s.first(), x.cookie - x.delta, x.timeDelta, x.times}, true
}

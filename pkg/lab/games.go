// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// gameID is one of the games that are played in the lab.
type gameID int

const (
	arenaGame  gameID = iota // the lab's own, over plain UDP: nothing proves who sent a packet
	sourceGame               // its server's challenge before the connection, the edge's before a query
	quakeGame                // a challenge that an edge can't see come back
	raknetGame               // a cookie before the connection
	games
)

// gameNames are the `game:` values of the configuration.
func (g gameID) String() string {
	return [games]string{"generic_udp", "source", "quake3", "raknet"}[g]
}

// joinLimit is within what time a player is to be in while an edge is attacked. RakNet's cookie can be the edge's: its
// players are proven at once. The others' challenges, if they have any, are their server's: who asks for one may have to
// come again, a second later.
func (g gameID) joinLimit() time.Duration {
	if g == raknetGame {
		return time.Second
	}
	return 3 * time.Second
}

// heard is what a datagram of the server was to a player.
type heard int

const (
	heardNothing heard = iota
	heardStep          // the handshake has gone on: say hello at once
	heardWelcome       // it is in
	heardState         // the answer to a move
)

// dialect is a player's side of a game's protocol. Nobody calls it twice at a time.
type dialect interface {
	// hello is what to send while the server has not let the player in.
	hello(p packet) []byte
	hear(b []byte) (heard, packet)
	move(p packet) []byte
}

// speaker is a server's side. Only one goroutine calls it.
type speaker interface {
	// serve takes a datagram and returns the answer, nil for none. For those of the lab's players it returns what they carry.
	serve(from netip.AddrPort, b []byte) (answer []byte, p packet, ours bool)
}

func newDialect(g gameID, id uint32) dialect {
	switch g {
	case sourceGame:
		return &sourcePlayer{id: id}
	case quakeGame:
		return &quakePlayer{id: id}
	case raknetGame:
		return &raknetPlayer{id: id}
	default:
		return arenaPlayer{}
	}
}

func newSpeaker(g gameID) speaker {
	switch g {
	case sourceGame:
		return &sourceServer{seed: maphash.MakeSeed(), lobby: newLobby()}
	case quakeGame:
		return &quakeServer{seed: maphash.MakeSeed(), lobby: newLobby()}
	case raknetGame:
		return &raknetServer{lobby: newLobby()}
	default:
		return arenaServer{}
	}
}

// arenaPlayer speaks the lab's own game: its packets, as they are.
type arenaPlayer struct{}

func (arenaPlayer) hello(p packet) []byte { return p.bytes() }
func (arenaPlayer) move(p packet) []byte  { return p.bytes() }

func (arenaPlayer) hear(b []byte) (heard, packet) {
	p, ok := decode(b)
	switch {
	case ok && p.kind == kindWelcome:
		return heardWelcome, p
	case ok && p.kind == kindState:
		return heardState, p
	}
	return heardNothing, p
}

type arenaServer struct{}

// serve answers hellos with welcomes and moves with states.
func (arenaServer) serve(_ netip.AddrPort, b []byte) ([]byte, packet, bool) {
	p, ok := decode(b)
	if !ok || p.kind != kindHello && p.kind != kindMove {
		return nil, p, false
	}
	p.kind++
	return p.bytes(), p, true
}

// A server's slots: as many as a large one has, and how long who left without a word keeps one.
const (
	lobbySlots = 1024
	lobbyIdle  = 5 * time.Second
)

// lobby is who plays on a server, by address.
type lobby struct{ guests map[netip.AddrPort]*guest }

type guest struct {
	number uint32 // the protocol's: a challenge, say
	out    uint32 // sequence of the next packet to it
	last   time.Time
}

func newLobby() lobby { return lobby{guests: map[netip.AddrPort]*guest{}} }

// enter gives an address a slot, its old one if it has one; nil: the server is full.
func (l *lobby) enter(from netip.AddrPort, number uint32) *guest {
	now := time.Now()
	if len(l.guests) >= lobbySlots {
		for at, g := range l.guests {
			if now.Sub(g.last) > lobbyIdle {
				delete(l.guests, at)
			}
		}
	}
	if g := l.guests[from]; g != nil {
		g.number, g.last = number, now
		return g
	}
	if len(l.guests) >= lobbySlots {
		return nil
	}
	l.guests[from] = &guest{number: number, last: now}
	return l.guests[from]
}

// find returns who plays from an address, nil for nobody.
func (l *lobby) find(from netip.AddrPort) *guest {
	g := l.guests[from]
	if g != nil {
		g.last = time.Now()
	}
	return g
}

// challengeFor is a number that only who receives at the address can know; nothing is stored for it. It is never one of
// those that mean "none".
func challengeFor(seed maphash.Seed, from netip.AddrPort) uint32 {
	c := uint32(maphash.Comparable(seed, from)) &^ (1 << 31)
	return max(c, 1)
}

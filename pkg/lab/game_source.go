// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
)

// The Source engine's protocol, as far as a join and queries need it: connectionless packets begin with four ff and a
// letter, integers are little-endian, those of a connection have a header of 16 bytes.
const (
	outOfBand = "\xff\xff\xff\xff"

	a2sInfo    = outOfBand + "TSource Engine Query\x00"
	a2sPlayers = outOfBand + "U"
	a2sRules   = outOfBand + "V"
	a2sNone    = "\xff\xff\xff\xff" // the challenge of who has none

	sourceAsk       = outOfBand + "q" // asks for a challenge to connect with
	sourceConnect   = outOfBand + "k"
	sourceChallenge = outOfBand + "A" // the answer to all that lack one
	sourceAccepted  = outOfBand + "B"
	sourceRefused   = outOfBand + "9"

	sourceVersion, sourceAuth = 24, 3
	sourceFlags               = 0x20 // the header carries the challenge

	gameHead = 16 // METER_GAME_HEAD: the lab's own packet comes after it
)

// sourcePlayer is a client: it asks for a challenge, connects with it, and plays.
type sourcePlayer struct {
	id        uint32
	challenge uint32 // 0 = none yet
	seen      uint32 // the last challenge, which an edge may want back when the next is asked for
	refused   bool
	out, in   uint32
}

func (c *sourcePlayer) hello(packet) []byte {
	if c.challenge == 0 {
		return fmt.Appendf([]byte(sourceAsk), "connect0x%08x\x00", c.seen)
	}
	b := []byte(sourceConnect)
	for _, v := range []uint32{sourceVersion, sourceAuth, c.challenge, c.id} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return fmt.Appendf(b, "player%d\x00\x002000\x00", c.id)
}

func (c *sourcePlayer) hear(b []byte) (heard, packet) {
	switch {
	case bytes.HasPrefix(b, []byte(sourceChallenge)) && len(b) >= 9:
		c.challenge = binary.LittleEndian.Uint32(b[5:])
		c.seen = c.challenge
		return heardStep, packet{}
	case bytes.HasPrefix(b, []byte(sourceAccepted)):
		return heardWelcome, packet{player: c.id}
	case bytes.HasPrefix(b, []byte(sourceRefused)):
		// The challenge was not this server's: ask for its own, at once for the first time.
		c.challenge = 0
		first := !c.refused
		c.refused = true
		if first {
			return heardStep, packet{}
		}
		return heardNothing, packet{}
	case len(b) > gameHead && !bytes.HasPrefix(b, []byte(outOfBand)):
		p, ok := decode(b[gameHead:])
		if !ok || p.kind != kindState {
			return heardNothing, p
		}
		c.in = binary.LittleEndian.Uint32(b)
		return heardState, p
	}
	return heardNothing, packet{}
}

func (c *sourcePlayer) move(p packet) []byte {
	c.out++
	return append(sourceHead(c.out, c.in, c.challenge), p.bytes()...)
}

func sourceHead(seq, ack, challenge uint32) []byte {
	h := make([]byte, gameHead, gameHead+packetSize)
	binary.LittleEndian.PutUint32(h[0:], seq)
	binary.LittleEndian.PutUint32(h[4:], ack)
	h[8] = sourceFlags
	binary.LittleEndian.PutUint16(h[9:], uint16(seq^ack)) // the engine's is a CRC of what follows
	binary.LittleEndian.PutUint32(h[12:], challenge)
	return h
}

// sourceServer answers queries behind its own challenge and lets in who connects with it.
type sourceServer struct {
	seed  maphash.Seed
	lobby lobby
}

func (s *sourceServer) serve(from netip.AddrPort, b []byte) ([]byte, packet, bool) {
	challenge := challengeFor(s.seed, from)
	switch {
	case bytes.HasPrefix(b, []byte(a2sInfo)):
		return s.query(b[len(a2sInfo):], challenge, sourceInfo), packet{}, false
	case bytes.HasPrefix(b, []byte(a2sPlayers)) && len(b) == 9:
		return s.query(b[5:], challenge, sourcePlayers), packet{}, false
	case bytes.HasPrefix(b, []byte(a2sRules)) && len(b) == 9:
		return s.query(b[5:], challenge, sourceRules), packet{}, false
	case bytes.HasPrefix(b, []byte(sourceAsk)):
		return s.query(nil, challenge, nil), packet{}, false
	case bytes.HasPrefix(b, []byte(sourceConnect)) && len(b) >= 21:
		return s.connect(from, b, challenge), packet{}, false
	case len(b) > gameHead && !bytes.HasPrefix(b, []byte(outOfBand)):
		return s.play(from, b)
	}
	return nil, packet{}, false
}

// query answers who echoes the challenge, and tells it to all others.
func (s *sourceServer) query(echo []byte, challenge uint32, answer func() []byte) []byte {
	if len(echo) >= 4 && binary.LittleEndian.Uint32(echo) == challenge {
		return answer()
	}
	return binary.LittleEndian.AppendUint32([]byte(sourceChallenge), challenge)
}

func (s *sourceServer) connect(from netip.AddrPort, b []byte, challenge uint32) []byte {
	if binary.LittleEndian.Uint32(b[13:]) != challenge {
		return []byte(sourceRefused + "Bad challenge.\n\x00")
	}
	if s.lobby.enter(from, challenge) == nil {
		return []byte(sourceRefused + "Server is full.\n\x00")
	}
	return []byte(sourceAccepted)
}

func (s *sourceServer) play(from netip.AddrPort, b []byte) ([]byte, packet, bool) {
	g := s.lobby.find(from)
	p, ok := decode(b[gameHead:])
	if g == nil || !ok || p.kind != kindMove || binary.LittleEndian.Uint32(b[12:]) != g.number {
		return nil, p, false
	}
	g.out++
	p.kind = kindState
	return append(sourceHead(g.out, binary.LittleEndian.Uint32(b), g.number), p.bytes()...), p, true
}

func sourceInfo() []byte {
	b := []byte(outOfBand + "I\x11parry lab: strike\x00de_lab\x00cstrike\x00Counter-Strike: Lab\x00")
	b = append(b, 0xf0, 0x00, 24, 64, 0, 'd', 'l', 0, 1)
	return append(b, "1.0.0.70\x00\xa1\x87\x69secure,increased_maxplayers,lab,no-steam,alltalk\x00\xf0\x00\x00\x00\x00\x00\x00\x00"...)
}

func sourcePlayers() []byte {
	b := []byte(outOfBand + "D\x18")
	for i := range byte(24) {
		b = fmt.Appendf(append(b, i), "player %d\x00", i)
		b = append(b, i, 0, 0, 0, 0, 0, 0x20, 0x42)
	}
	return b
}

func sourceRules() []byte {
	b := []byte(outOfBand + "E\x14\x00")
	for i := range 20 {
		b = fmt.Appendf(b, "mp_lab_rule_%d\x00%d\x00", i, i*100)
	}
	return b
}

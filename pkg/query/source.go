// SPDX-License-Identifier: Apache-2.0

package query

import (
	"bytes"
	"encoding/binary"
)

// A2S: what begins a packet of no connection, and the types that follow (developer.valvesoftware.com/wiki/Server_queries).
const (
	whole         = "\xff\xff\xff\xff"
	part          = "\xfe\xff\xff\xff"
	infoRequest   = whole + "TSource Engine Query\x00"
	typePlayers   = 'U'
	typeRules     = 'V'
	typeChallenge = 'A'
	infoReply     = 'I'
	infoReplyOld  = 'm' // GoldSrc before 2008
	playersReply  = 'D'
	rulesReply    = 'E'
)

// A server asks for its challenge once; some give a new one each time until they are asked from the same port again.
const mostChallenges = 3

// source asks, with the server's challenge as soon as it wants one.
func (x *exchange) source(q Question) (*Reply, error) {
	var challenge []byte
	if q != SourceInfo {
		challenge = []byte(whole) // "which?"
	}
	for range mostChallenges + 1 {
		if err := x.send(sourceRequest(q, challenge)); err != nil {
			return nil, err
		}
		packets, body, err := x.sourceReply(q)
		if err != nil {
			return nil, err
		}
		if body[4] == typeChallenge {
			challenge = bytes.Clone(body[5:9])
			continue
		}
		r := &Reply{Packets: packets, Body: body}
		r.Basics, err = sourceBasics(body)
		return r, err
	}
	return nil, bad("a challenge instead of a reply, %d times", mostChallenges+1)
}

func sourceRequest(q Question, challenge []byte) []byte {
	switch q {
	case SourcePlayers:
		return append([]byte(whole+string(rune(typePlayers))), challenge...)
	case SourceRules:
		return append([]byte(whole+string(rune(typeRules))), challenge...)
	}
	return append([]byte(infoRequest), challenge...)
}

// sourceReply returns the packets of a challenge or of the reply that was asked for, and what they say together: at least 5
// bytes, of a challenge 9. What else comes is passed over.
func (x *exchange) sourceReply(q Question) (packets [][]byte, body []byte, err error) {
	var s split
	for {
		p, err := x.receive()
		if err != nil {
			return nil, nil, err
		}
		switch {
		case isReply(p, q):
			p = bytes.Clone(p)
			return [][]byte{p}, p, nil
		case len(p) < 5 || string(p[:4]) != part:
		default:
			s.add(p)
			if packets, body, err := s.join(); err != nil {
				return nil, nil, err
			} else if isReply(body, q) && body[4] != typeChallenge {
				return packets, body, nil
			}
		}
	}
}

// isReply tells whether a whole reply begins here that is a challenge or answers q.
func isReply(p []byte, q Question) bool {
	if len(p) < 5 || string(p[:4]) != whole {
		return false
	}
	switch p[4] {
	case typeChallenge:
		return len(p) >= 9
	case infoReply, infoReplyOld:
		return q == SourceInfo
	case playersReply:
		return q == SourcePlayers
	case rulesReply:
		return q == SourceRules
	}
	return false
}

// sourceBasics reads a whole reply.
func sourceBasics(body []byte) (Basics, error) {
	b := unsaid()
	r := reader{rest: body[5:]}
	switch body[4] {
	case infoReply:
		r.skip(1) // version of the protocol
		b.Name, b.Map = r.text(), r.text()
		r.text() // folder
		r.text() // game
		r.skip(2)
		b.Players, b.Max = int(r.byte()), int(r.byte())
		r.skip(1 + 4) // bots; type, system, password, VAC
		r.text()      // version
	case infoReplyOld:
		r.text() // its own address
		b.Name, b.Map = r.text(), r.text()
		r.text()
		r.text()
		b.Players, b.Max = int(r.byte()), int(r.byte())
	case playersReply:
		b.Players = int(r.byte())
	case rulesReply:
		r.skip(2)
	}
	if r.short {
		return b, bad("%q is cut short", body[4])
	}
	return b, nil
}

// reader reads fields one by one; short says that one was not there.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) skip(n int) []byte {
	if len(r.rest) < n {
		r.short, r.rest = true, nil
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.skip(1); b != nil {
		return b[0]
	}
	return 0
}

// text ends with a zero byte.
func (r *reader) text() string {
	n := bytes.IndexByte(r.rest, 0)
	if n < 0 {
		r.short, r.rest = true, nil
		return ""
	}
	return string(r.skip(n + 1)[:n])
}

func (r *reader) uint32() uint32 {
	if b := r.skip(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

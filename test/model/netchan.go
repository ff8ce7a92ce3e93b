// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"strings"
)

// Quake III's packets of play, where their protocol has it so, are checked by a challenge that the server told the client: a
// client that knows it has got it, at the address where it was sent. Its first packet of an even number, once its server has
// spoken, decides; of odd numbers a checksum says less, of number 1 nothing.

const (
	challengeTold   = "\xff\xff\xff\xffchallengeResponse "
	challengeDigits = 12 // bytes: a number, its sign, a space
)

// watch looks at a packet of a session whose proof may be in its play.
func (e *Edge) watch(p *view, w way) {
	if p.part != whole {
		return
	}
	at, end := p.l4+8, p.l3+p.length
	if p.down {
		end = min(end, at+len(challengeTold)+challengeDigits)
	} else if end-at < 10 {
		return
	}
	if end > len(p.frame) {
		return
	}
	if b := p.frame[at:end]; p.down {
		e.told(w.Session, string(b))
	} else {
		e.plays(w.Session, b)
	}
}

// told notes a challenge that goes to its client. A number is followed by a space, where there are checksums: more is said behind it.
func (e *Edge) told(s *Session, text string) {
	number, ok := strings.CutPrefix(text, challengeTold)
	if !ok {
		return
	}
	digits := strings.TrimPrefix(number, "-")
	n := 0
	var challenge uint32 // of more digits than fit, what is left of them
	for ; n < len(digits) && '0' <= digits[n] && digits[n] <= '9'; n++ {
		challenge = challenge*10 + uint32(digits[n]-'0')
	}
	if n == 0 || n == len(digits) || digits[n] != ' ' {
		return
	}
	if digits != number {
		challenge = -challenge
	}
	cell, tag := e.challengeCell(s)
	cell.used = uint64(tag)<<32 | uint64(challenge)
}

// plays: a packet of play begins with its number, the client's port, and the checksum.
func (e *Edge) plays(s *Session, b []byte) {
	number := binary.LittleEndian.Uint32(b) &^ (1 << 31) // that bit: it is a fragment
	if number%2 == 1 || !s.Answered {
		return
	}
	s.netchan = false
	cell, tag := e.challengeCell(s)
	challenge := uint32(cell.used)
	if cell.used == 0 || uint32(cell.used>>32) != tag || binary.LittleEndian.Uint32(b[6:]) != challenge^number*challenge {
		return
	}
	e.leaveWeak(s)
	e.prove(s, Strong)
}

// challengeCell is where its client's challenge is noted, and the mark that makes it this session's.
func (e *Edge) challengeCell(s *Session) (*bucket, uint32) {
	h := e.Secret2
	if a := s.Client.Addr(); a.Is4() {
		h = mix(h ^ uint64(le32(a.AsSlice())))
	} else {
		for _, w := range words64(a.AsSlice()) {
			h = mix(h ^ w)
		}
	}
	h = mix(h ^ (uint64(swap16(s.Client.Port())) | uint64(s.Service)<<16))
	return e.cell(prefixChallenge, uint32(h)), uint32(h>>32) ^ uint32(s.began)
}

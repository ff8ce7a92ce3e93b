// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// The edge is no reflector. Who is not proven gets no more than it sent; what must be given beyond that draws on a budget of bytes
// of its prefix, over all services, and on one of all prefixes, whoever answers.

// mayAnswer takes bytes of both budgets, or of none. Of that of all prefixes there are two halves: one is for those who come again, so
// that forged questions leave it to whoever asks in earnest.
func (e *Edge) mayAnswer(client netip.Addr, bytes uint64, again bool) bool {
	all := &e.answerBuckets[0]
	if again {
		all = &e.answerBuckets[1]
	}
	mine := e.prefixCell(prefixAnswers, client, 24, 48, 0)
	if !mine.take(e.config.AnswersPrefix, e.Now, bytes, 0) {
		return false
	}
	if all.take(e.config.Answers, e.Now, bytes, 0) {
		return true
	}
	mine.give(e.config.AnswersPrefix, bytes)
	return false
}

// mayGive tells whether somebody unproven may be given so much more than it sent. Under attack, and where the first half of the budget
// is used up, it has to ask again.
func (e *Edge) mayGive(p *view, over uint64) Reason {
	switch {
	case e.states[p.service] != Attack && e.mayAnswer(p.src, over, false):
		return None
	case !e.seenAgain(p):
		e.tried(p.service).Greylisted++
		return Greylisted
	case !e.mayAnswer(p.src, over, true):
		return AnswerBudget
	}
	return None
}

// answered sends an answer of the edge's own back to where the packet came from.
func (e *Edge) answered(p *view, said Said) Outcome {
	header := p.l4 - p.l3
	if over := header + 8 + len(said.Payload) - p.length; said.Proof != Strong && over > 0 {
		if r := e.mayGive(p, uint64(over)); r != None {
			return drop(r)
		}
	}
	if !p.plain() {
		return Outcome{Verdict: Abort, Reason: Internal}
	}
	e.tried(p.service).Answered++
	out := append(append(append([]byte{}, p.frame[6:12]...), p.frame[:6]...), p.frame[12:p.l4]...)
	ip := out[p.l3:]
	if p.family == 4 {
		ip[8] = 64
		binary.BigEndian.PutUint16(ip[6:], 0x4000) // don't fragment
		copy(ip[12:], p.dst.AsSlice())
		copy(ip[16:], p.src.AsSlice())
	} else {
		ip[7] = 64
		copy(ip[8:], p.dst.AsSlice())
		copy(ip[24:], p.src.AsSlice())
	}
	return Outcome{Verdict: TX, Out: datagram(out, p.l3, p.to(), p.from(), said.Payload)}
}

// plain tells whether its payload can be changed: it is whole, and there is nothing between the headers of IP and UDP.
func (p *view) plain() bool {
	if p.family == 4 {
		return p.part == whole && p.l4 == p.l3+20
	}
	return p.part == whole && p.l4 == p.l3+40
}

// changed gives a packet another payload.
func (p *view) changed(payload []byte) bool {
	if !p.plain() {
		return false
	}
	p.frame = datagram(append([]byte{}, p.frame[:p.l4]...), p.l3, p.from(), p.to(), payload)
	p.length = len(p.frame) - p.l3
	return true
}

// datagram puts UDP behind headers that end where it begins, and makes their lengths and checksums true.
func datagram(out []byte, l3 int, from, to netip.AddrPort, payload []byte) []byte {
	length := 8 + len(payload)
	ip := out[l3:]
	if from.Addr().Is4() {
		binary.BigEndian.PutUint16(ip[2:], uint16(20+length))
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], checksum(ip[:20]))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(length))
	}
	h := binary.BigEndian.AppendUint16(nil, from.Port())
	h = binary.BigEndian.AppendUint16(h, to.Port())
	h = binary.BigEndian.AppendUint16(h, uint16(length))
	h = append(append(h, 0, 0), payload...)
	pseudo := append(append(append([]byte{}, from.Addr().AsSlice()...), to.Addr().AsSlice()...), 0, udp, byte(length>>8), byte(length))
	check := checksum(append(pseudo, padded(h)...))
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(h[6:], check)
	return append(out, h...)
}

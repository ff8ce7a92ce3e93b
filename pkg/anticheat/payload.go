// SPDX-License-Identifier: Apache-2.0

package anticheat

import "encoding/binary"

const (
	kindsOfPacket = 8
	rulesMost     = 32 // signatures that are told of one session
)

// kindOf is the type of a client's packet, where its family's is readable: 0 = it is not.
func kindOf(family string, b []byte) uint8 {
	if len(b) < 4 {
		return 0
	}
	word := binary.LittleEndian.Uint32(b)
	switch family {
	case "quake3", "source":
		switch {
		case word == ^uint32(0):
			return 1 // out of band
		case family == "source" && word == ^uint32(1), family == "quake3" && word>>31 != 0:
			return 2 // a part
		}
		return 3 // play
	case "raknet":
		switch {
		case b[0]&0x80 == 0:
			return 1 // before it is connected
		case b[0]&0x40 != 0:
			return 4 // acknowledges
		case b[0]&0x20 != 0:
			return 5 // misses
		}
		return 3
	}
	return 0
}

// types is the rate of packets of each type.
type types struct {
	now  [kindsOfPacket]uint32
	rate [kindsOfPacket]float32 // packets a second, smoothed over some ten seconds
}

func (t *types) count(kind uint8) { t.now[kind%kindsOfPacket]++ }

func (t *types) turn() {
	for i, n := range t.now {
		t.rate[i] += (float32(n) - t.rate[i]) / 10
		t.now[i] = 0
	}
}

// size holds a packet of the client's against the longest that its game's client sends.
func (a *Analyser) size(s *session, p *Packet, at uint64) {
	most := s.bounds.payload
	if p.Down || most == 0 || p.Length <= most || p.Session.Proto != 17 {
		return
	}
	t := &s.traces[traceSize]
	if t.f != nil && at > t.last+quiet {
		s.over(t)
	}
	t.note(at)
	s.found(traceSize, Size, sevSize, 0.99, func() []Fact {
		return []Fact{fact("bytes", float64(p.Length), float64(most), "a payload of %d bytes, longer than the %d of its game", p.Length, most)}
	})
}

// signatures shows a payload to the operator's rules. Each rule is one finding of a session, however often it matches.
func (a *Analyser) signatures(s *session, p *Packet, at uint64) {
	if a.p.Signatures == nil || len(p.Head) == 0 {
		return
	}
	a.p.Signatures.Match(p.Head, p.Length, p.Down, s.bounds.family, func(name string, severity float64) {
		if f := s.matched[name]; f != nil {
			f.End = at
			f.Facts[0].Value++
			return
		}
		if len(s.matched) >= rulesMost {
			return
		}
		if s.matched == nil {
			s.matched = map[string]*Finding{}
		}
		way := "the client's"
		if p.Down {
			way = "the server's"
		}
		s.matched[name] = s.add(Finding{
			Kind: Signature, Start: at, End: at, At: at, Open: true, Severity: severity, Confidence: 0.99, Rule: name,
			Facts: []Fact{fact("matches", 1, 0, "a packet of %s matches the rule %s", way, name)},
		})
	})
}

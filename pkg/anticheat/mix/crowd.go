// SPDX-License-Identifier: Apache-2.0

package mix

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"parry/pkg/anticheat"
)

// Member is one session of a crowd.
type Member struct {
	Play
	Client netip.AddrPort
}

// Crowd makes many sessions of one game at a time: honest people, each with an address of a network of his own, and a few who cheat in a way that only
// shows beside the others. Of a farm all sit in one network.
func (m *Maker) Crowd(g Game, people int, cheat anticheat.Kind, length time.Duration) []Member {
	lines := Lines()
	var all []Member
	for i := range people {
		own := g
		if i%10 == 9 { // somebody who only watches
			own.Size = Range{g.Size.From * 0.7, g.Size.From}
			own.Uneven *= 0.5
		}
		all = append(all, Member{m.Play(own, lines[i%len(lines)], "", length), address(i, 1)})
	}
	cheaters := 1
	if cheat == anticheat.Farm {
		cheaters = 6
	}
	rhythm := m.script(length)
	for i := range cheaters {
		if cheat == "" {
			break
		}
		var p Play
		switch cheat {
		case anticheat.Farm:
			p = m.scripted(g, rhythm, length)
		case anticheat.SpeedUp:
			fast := g
			by := 1.08 + 0.2*m.rnd.Float64()
			fast.Rate = Range{g.Rate.From * by, g.Rate.To * by}
			p = m.Play(fast, lines[1], "", length)
		case anticheat.Robotic:
			exact := g
			exact.Uneven, exact.Stalls, exact.acknowledge = 0, 0, nil
			p = m.Play(exact, lines[0], "", length)
		case anticheat.Anomaly:
			odd := g
			odd.Size = Range{g.Size.To * 6, g.Size.To * 8}
			odd.Uneven = 0.8
			p = m.Play(odd, lines[0], "", length)
		}
		p.Cheat, p.Spans = cheat, []Span{{0, length}}
		client := address(people+i, 1)
		if cheat == anticheat.Farm {
			client = address(people, uint16(i+1))
		}
		all = append(all, Member{p, client})
	}
	return all
}

// address is one of the nth network: only some are documentation's, for there are not as many.
func address(n int, host uint16) netip.AddrPort {
	var b [16]byte
	copy(b[:], []byte{0x20, 0x01, 0x0d, 0xb8})
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	binary.BigEndian.PutUint16(b[6:], host)
	return netip.AddrPortFrom(netip.AddrFrom16(b), 40000+host)
}

// script is what a farm's sessions all do: how much they send, second by second.
func (m *Maker) script(length time.Duration) []float64 {
	all := make([]float64, int(length/time.Second)+1)
	level := 1.0
	for i := range all {
		if m.rnd.IntN(4) == 0 {
			level = 0.4 + 1.6*m.rnd.Float64()
		}
		all[i] = level
	}
	return all
}

// scripted plays a script: as much longer or shorter packets as it says.
func (m *Maker) scripted(g Game, script []float64, length time.Duration) Play {
	p := m.Play(g, Lines()[1], "", length)
	p.Packets = slices.Clone(p.Packets)
	for i := range p.Packets {
		x := &p.Packets[i]
		if x.Down {
			continue
		}
		want := max(int(float64(len(x.Payload))*script[min(int(x.At/time.Second), len(script)-1)]), 14)
		if want <= len(x.Payload) {
			x.Payload = x.Payload[:want]
		} else {
			x.Payload = append(slices.Clone(x.Payload), make([]byte, want-len(x.Payload))...)
		}
	}
	return p
}

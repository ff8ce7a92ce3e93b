// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// Front is where a service listens.
type Front struct {
	Addr        netip.Addr
	Proto       uint8 // UDP or TCP
	First, Last uint16
}

// Witnesses are packets that players send to such fronts, of every kind that matters: from all over the address space, short and long,
// of UDP and of TCP. What drops all of them lets nobody play; what drops everything drops all of them.
func Witnesses(fronts []Front) []Packet {
	r := rand.New(rand.NewPCG(27015, 5)) // the same ones each time
	var all []Packet
	for _, f := range fronts {
		for _, port := range []uint16{f.First, f.Last} {
			for _, size := range []int{0, 1, 9, 25, 48, 120, 300, 700, 1100, 1180, 1300, 1400} {
				all = append(all, witness(r, f, port, size))
			}
		}
	}
	return all
}

func witness(r *rand.Rand, f Front, port uint16, payload int) Packet {
	upper := make([]byte, 8, 8+payload)
	switch f.Proto {
	case protoTCP:
		upper = append(upper, make([]byte, 12)...)
		upper[12], upper[13] = 5<<4, 0x18
		if payload == 0 {
			upper[13] = 0x02
		}
	default:
		binary.BigEndian.PutUint16(upper[4:], uint16(8+payload))
	}
	binary.BigEndian.PutUint16(upper, uint16(1024+r.IntN(64512)))
	binary.BigEndian.PutUint16(upper[2:], port)
	for range payload {
		upper = append(upper, byte(r.Uint32()))
	}
	ip := append(ipHeader(r, f, len(upper)), upper...)
	return Packet{IP: ip, V6: f.Addr.Is6(), Length: uint32(14 + len(ip))}
}

func ipHeader(r *rand.Rand, f Front, rest int) []byte {
	if f.Addr.Is6() {
		b := make([]byte, 40)
		b[0], b[6], b[7] = 0x60, f.Proto, byte(30+r.IntN(99))
		binary.BigEndian.PutUint16(b[4:], uint16(rest))
		binary.BigEndian.PutUint64(b[8:], 0x2000<<48|r.Uint64()>>3)
		binary.BigEndian.PutUint64(b[16:], r.Uint64())
		copy(b[24:], f.Addr.AsSlice())
		return b
	}
	b := make([]byte, 20)
	b[0], b[8], b[9] = 0x45, byte(30+r.IntN(99)), f.Proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+rest))
	binary.BigEndian.PutUint16(b[4:], uint16(r.Uint32()))
	binary.BigEndian.PutUint32(b[12:], uint32(1+r.IntN(223))<<24|r.Uint32()>>8)
	copy(b[16:], f.Addr.AsSlice())
	return b
}

// AllDropped tells whether rules, asked in their order, drop each of the packets. Those that only watch or limit drop none.
func AllDropped(rules []Rule, packets []Packet) bool {
	for i := range packets {
		if First(rules, &packets[i]).drops() {
			continue
		}
		return false
	}
	return len(packets) > 0
}

func (r *Rule) drops() bool { return r != nil && r.Action.Verb == Drop }

// First is the rule that decides about a packet; nil = none. One that only counts or watches decides nothing.
func First(rules []Rule, p *Packet) *Rule {
	for i := range rules {
		r := &rules[i]
		if r.Action.Verb != Count && !r.Monitor && r.Expr.Match(p) {
			return r
		}
	}
	return nil
}

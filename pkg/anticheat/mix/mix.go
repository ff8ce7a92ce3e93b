// SPDX-License-Identifier: Apache-2.0

// Package mix makes play, and cheats over it, as an edge beside the server sees them: to try pkg/anticheat on, and to measure it. It is this
// project's own idea of play, lines and cheats; what is random in it comes from a seed.
//
// A client sends by its game's rhythm; a cheat sits between it and its line; the line delays, loses and reorders.
package mix

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"parry/pkg/anticheat"
)

// Packet is one as it comes to the edge.
type Packet struct {
	At      time.Duration // since the play began
	Down    bool
	Payload []byte
}

// Span is when a cheat was at work.
type Span struct{ From, To time.Duration }

// Play is one session.
type Play struct {
	Game    string
	Proto   uint8
	Line    string
	Cheat   anticheat.Kind // "": honest
	Spans   []Span
	Packets []Packet
}

// Game is how one plays.
type Game struct {
	Name        string
	Proto       uint8
	Rate        Range   // packets a second of the client
	Server      Range   // of the server
	Size        Range   // of payloads, bytes
	Uneven      float64 // standard deviation of the client's frames, as a share of one
	Numbered    bool
	Stalls      float64 // of the client itself, a minute
	Pauses      bool    // who stands still hardly sends
	number      func(b []byte, n uint32)
	acknowledge func(b []byte)
}

// Range is a least and a most.
type Range struct{ From, To float64 }

func (r Range) pick(rnd *rand.Rand) float64 { return r.From + (r.To-r.From)*rnd.Float64() }

// Games are those that are played.
func Games() []Game {
	return []Game{
		{Name: "quake3", Proto: 17, Rate: Range{40, 125}, Server: Range{20, 40}, Size: Range{20, 40}, Uneven: 0.1, Numbered: true, Stalls: 2,
			number: func(b []byte, n uint32) { binary.LittleEndian.PutUint32(b, n) }},
		{Name: "source", Proto: 17, Rate: Range{33, 128}, Server: Range{33, 128}, Size: Range{40, 120}, Uneven: 0.05, Numbered: true, Stalls: 1,
			number: func(b []byte, n uint32) { binary.LittleEndian.PutUint32(b, n); b[8] = 0 }},
		{Name: "raknet", Proto: 17, Rate: Range{20, 20}, Server: Range{20, 30}, Size: Range{40, 110}, Uneven: 0.03, Numbered: true, Stalls: 1,
			number:      func(b []byte, n uint32) { b[0], b[1], b[2], b[3] = 0x84, byte(n), byte(n>>8), byte(n>>16) },
			acknowledge: func(b []byte) { b[0] = 0xc0 }},
		{Name: "enet", Proto: 17, Rate: Range{30, 60}, Server: Range{20, 40}, Size: Range{40, 90}, Uneven: 0.1, Stalls: 1},
		{Name: "minecraft_java", Proto: 6, Rate: Range{20, 20}, Server: Range{20, 40}, Size: Range{10, 60}, Uneven: 0.05, Stalls: 1, Pauses: true},
	}
}

// Line is the way between a client and the edge.
type Line struct {
	Name    string
	Delay   time.Duration
	Jitter  time.Duration // standard deviation
	Loss    float64
	Bursts  float64       // of losses, a minute; each takes what comes within Burst
	Burst   time.Duration // longest
	Holds   float64       // a minute, in which both ways wait (a radio): each up to Hold
	Hold    time.Duration
	Up      float64 // a minute, in which upstream alone waits, likewise (a full uplink)
	Reorder float64 // share of packets that overtake
	Twice   float64 // share that the network doubles
}

// Lines are those that honest people have: the first is without fault, the second is what every figure is to hold with.
func Lines() []Line {
	ms := time.Millisecond
	return []Line{
		{Name: "clean", Delay: 20 * ms},
		{Name: "1 % loss, 10 ms jitter", Delay: 30 * ms, Jitter: 10 * ms, Loss: 0.01},
		{Name: "wi-fi", Delay: 15 * ms, Jitter: 4 * ms, Loss: 0.005, Holds: 12, Hold: 250 * ms, Up: 2, Twice: 0.002},
		{Name: "mobile", Delay: 50 * ms, Jitter: 15 * ms, Loss: 0.01, Bursts: 1, Burst: 400 * ms, Holds: 4, Hold: 800 * ms, Reorder: 0.01},
		{Name: "far", Delay: 140 * ms, Jitter: 6 * ms, Loss: 0.02, Reorder: 0.005},
	}
}

// sent is a packet as its client sends it.
type sent struct {
	at       time.Duration
	payload  []byte
	numbered bool
}

// Maker makes plays of one half.
type Maker struct {
	rnd  *rand.Rand
	half Half
}

// New makes one.
func New(half Half, seed uint64) *Maker {
	return &Maker{rnd: rand.New(rand.NewPCG(half.Seed, seed)), half: half}
}

// Play makes a session of so long, honest ("") or with a cheat.
func (m *Maker) Play(g Game, l Line, cheat anticheat.Kind, length time.Duration) Play {
	p := Play{Game: g.Name, Proto: g.Proto, Line: l.Name, Cheat: cheat}
	ups := m.client(&g, length)
	if cheat != "" {
		ups = m.cheat(&p, &g, ups, length)
	}
	slices.SortStableFunc(ups, func(a, b sent) int { return int(a.at - b.at) })
	outages := m.outages(l, length)
	p.Packets = m.travel(l, ups, outages, false)
	p.Packets = append(p.Packets, m.travel(l, m.server(&g, length), outages, true)...)
	slices.SortStableFunc(p.Packets, func(a, b Packet) int { return int(a.At - b.At) })
	return p
}

// client sends by the game's rhythm; now and then its machine stands still.
func (m *Maker) client(g *Game, length time.Duration) []sent {
	frame := time.Duration(float64(time.Second) / g.Rate.pick(m.rnd))
	var all []sent
	number, size := uint32(1), g.Size.pick(m.rnd)
	still := time.Duration(0)
	for at := time.Duration(0); at < length; {
		payload := m.payload(int(size*(0.8+0.4*m.rnd.Float64())) + 14)
		if g.number != nil {
			g.number(payload, number)
		}
		number++
		all = append(all, sent{at, payload, g.Numbered})
		if g.acknowledge != nil && m.rnd.IntN(2) == 0 {
			ack := m.payload(8)
			g.acknowledge(ack)
			all = append(all, sent{at + frame/3, ack, false})
		}
		step := frame + time.Duration(g.Uneven*m.rnd.NormFloat64()*float64(frame))
		if m.rnd.Float64() < g.Stalls/60*frame.Seconds() {
			step += m.between(100*time.Millisecond, 450*time.Millisecond)
		}
		if g.Pauses && still <= 0 && m.rnd.Float64() < 4.0/60*frame.Seconds() {
			still = m.between(2*time.Second, 6*time.Second)
		}
		if still > 0 {
			step = time.Second
			still -= step
		}
		at += max(step, frame/4)
	}
	return all
}

func (m *Maker) server(g *Game, length time.Duration) []sent {
	frame := time.Duration(float64(time.Second) / g.Server.pick(m.rnd))
	var all []sent
	number := uint32(1)
	for at := time.Duration(0); at < length; at += frame {
		payload := m.payload(int(2*g.Size.pick(m.rnd)) + 14)
		if g.number != nil {
			g.number(payload, number)
		}
		number++
		all = append(all, sent{at, payload, false})
	}
	return all
}

// payload is random, and out of no band.
func (m *Maker) payload(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], m.rnd.Uint64())
		copy(b[i:], word[:])
	}
	return b
}

func (m *Maker) between(from, to time.Duration) time.Duration {
	return from + time.Duration(m.rnd.Int64N(int64(to-from)+1))
}

// outage is a time in which a line holds or loses what comes.
type outage struct {
	from, to time.Duration
	up, down bool
	loses    bool
}

func (m *Maker) outages(l Line, length time.Duration) (all []outage) {
	add := func(perMinute float64, most time.Duration, o outage) {
		for at := m.wait(perMinute); at < length; at += m.wait(perMinute) {
			o.from, o.to = at, at+m.between(10*time.Millisecond, most)
			all = append(all, o)
		}
	}
	add(l.Bursts, l.Burst, outage{up: true, down: true, loses: true})
	add(l.Holds, l.Hold, outage{up: true, down: true})
	add(l.Up, l.Hold, outage{up: true})
	return all
}

// wait is until the next of so many a minute.
func (m *Maker) wait(perMinute float64) time.Duration {
	if perMinute <= 0 {
		return time.Hour
	}
	return time.Duration(m.rnd.ExpFloat64() / perMinute * float64(time.Minute))
}

// travel takes packets over a line. What is not overtaken keeps its order.
func (m *Maker) travel(l Line, all []sent, outages []outage, down bool) (out []Packet) {
	latest := time.Duration(0)
	for _, s := range all {
		lost := m.rnd.Float64() < l.Loss
		at := s.at + l.Delay + max(time.Duration(m.rnd.NormFloat64()*float64(l.Jitter)), -l.Delay/2)
		for _, o := range outages {
			if (o.up && !down || o.down && down) && s.at >= o.from && s.at < o.to {
				lost = lost || o.loses
				at = max(at, o.to+l.Delay)
			}
		}
		if lost {
			continue
		}
		if m.rnd.Float64() >= l.Reorder {
			at = max(at, latest)
		}
		latest = max(latest, at)
		out = append(out, Packet{at, down, s.payload})
		if m.rnd.Float64() < l.Twice {
			out = append(out, Packet{at + time.Millisecond, down, s.payload})
		}
	}
	return out
}

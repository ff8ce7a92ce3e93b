// SPDX-License-Identifier: Apache-2.0

// Package mix plays and attacks in numbers: a world of people, bots and forgers, each with a label, whose sessions become the
// observations that an edge would make of them. It is deterministic by seed, and there for measuring pkg/detect alone.
package mix

import (
	"container/heap"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"parry/pkg/detect"
)

// Proto is how a service's sessions begin.
type Proto int

// Protos.
const (
	TCP    Proto = iota // a SYN is an attempt, its handshake proves it
	Proxy               // TCP behind the SYN proxy: proven before it is an attempt
	Cookie              // UDP with an echoed secret: proven before it is an attempt
	Plain               // UDP without: a weak proof
)

// Service is one of the world's.
type Service struct {
	ID    uint16
	Port  uint16
	Game  string
	Proto Proto
	Down  bool // its server takes nobody
	Hangs bool // or takes all, and never answers
	live  []*Session
}

// Actor is one source with its label.
type Actor struct {
	Addr    netip.Addr
	Family  string
	Attacks bool
	First   time.Duration // its first attempt
	Blocked time.Duration // when all it sends was blocked first; 0 = never
	Asked   time.Duration // when what is unproven of it was
	Played  time.Duration // when a session of it first lasted; 0 = never
	Refused int           // attempts that a block refused
	Tries   int
	lasting int
	buckets map[uint16]float64 // by service: when its new sessions are paid for (GCRA, s)
	port    uint16
}

// World is the simulation.
type World struct {
	Rand     *rand.Rand
	Now      time.Duration
	Services []*Service
	Actors   []*Actor
	Events   int
	Observe  func(*detect.Observation)
	Denied   func(netip.Addr) bool // asked at each attempt
	byAddr   map[netip.Addr]*Actor
	queue    queue
	seq      int
	nets     uint32
	o        detect.Observation
}

// New makes an empty world of 40 services: 8 of each kind.
func New(seed uint64) *World {
	w := &World{Rand: rand.New(rand.NewPCG(seed, 7)), byAddr: map[netip.Addr]*Actor{}, Observe: func(*detect.Observation) {}}
	games := []struct {
		name  string
		proto Proto
	}{{"minecraft_java", TCP}, {"raknet", Cookie}, {"source", Cookie}, {"generic_udp", Plain}, {"minecraft_java", Proxy}}
	for i := range 40 {
		g := games[i%len(games)]
		w.Services = append(w.Services, &Service{ID: uint16(i + 1), Port: uint16(20000 + i), Game: g.name, Proto: g.proto})
	}
	return w
}

// Of gives the services that speak one of the protocols.
func (w *World) Of(protos ...Proto) (all []*Service) {
	for _, s := range w.Services {
		for _, p := range protos {
			if s.Proto == p {
				all = append(all, s)
			}
		}
	}
	return all
}

// Pick gives one of them.
func Pick[T any](w *World, all []T) T { return all[w.Rand.IntN(len(all))] }

// Exp is an exponentially distributed time.
func (w *World) Exp(mean time.Duration) time.Duration {
	return time.Duration(w.Rand.ExpFloat64() * float64(mean))
}

// Between is evenly distributed.
func (w *World) Between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.Rand.Float64()*float64(b-a))
}

// About is a time with some percent of noise.
func (w *World) About(t time.Duration, percent float64) time.Duration {
	return max(time.Duration(float64(t)*(1+w.Rand.NormFloat64()*percent/100)), time.Millisecond)
}

// Network gives a /24 or /48 that nobody has.
func (w *World) Network(six bool) netip.Prefix {
	w.nets++
	if six {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint16(b[4:], uint16(w.nets))
		return netip.PrefixFrom(netip.AddrFrom16(b), 48)
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 11<<24+w.nets*37%(1<<16)<<8)
	return netip.PrefixFrom(netip.AddrFrom4(b), 24)
}

// In gives the n-th source of a network.
func In(p netip.Prefix, n int) netip.Addr {
	if p.Addr().Is6() {
		b := p.Addr().As16()
		binary.BigEndian.PutUint16(b[6:], uint16(n*257+1))
		b[15] = 1
		return netip.AddrFrom16(b)
	}
	b := p.Addr().As4()
	b[3] = byte(n + 1)
	return netip.AddrFrom4(b)
}

// Actor adds a source; twice the same address is the same one.
func (w *World) Actor(family string, attacks bool, addr netip.Addr) *Actor {
	if a := w.byAddr[addr]; a != nil {
		return a
	}
	a := &Actor{Addr: addr, Family: family, Attacks: attacks, First: -1, buckets: map[uint16]float64{}, port: uint16(1024 + w.Rand.IntN(40000))}
	w.Actors = append(w.Actors, a)
	w.byAddr[addr] = a
	return a
}

// Alone adds a source in a network of its own.
func (w *World) Alone(family string, attacks bool) *Actor {
	return w.Actor(family, attacks, In(w.Network(w.Rand.IntN(4) == 0), w.Rand.IntN(200)))
}

// At does something at a time.
func (w *World) At(t time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{t, w.seq, do})
}

// After does something after a while.
func (w *World) After(d time.Duration, do func()) { w.At(w.Now+d, do) }

// Run lets all happen until a time.
func (w *World) Run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		e := heap.Pop(&w.queue).(event)
		w.Now = max(w.Now, e.at)
		e.do()
	}
}

// Tell makes an observation of an actor.
func (w *World) Tell(a *Actor, s *Service, o detect.Observation) {
	o.Time, o.Source = uint64(w.Now)+uint64(time.Hour), a.Addr
	if s != nil {
		o.Service, o.Port, o.Game = s.ID, s.Port, s.Game
	}
	w.o = o
	w.Events++
	w.Observe(&w.o)
}

// Blocks takes in a decision: who is within it and when he first was.
func (w *World) Blocks(v *detect.Decision) {
	for _, a := range w.Actors {
		if !v.Prefix.Contains(a.Addr) {
			continue
		}
		if v.Scope == detect.Unproven && a.Asked == 0 {
			a.Asked = max(w.Now, 1)
		}
		if v.Scope == detect.Whole && a.Blocked == 0 {
			a.Blocked = max(w.Now, 1)
		}
	}
}

// admit is a source's limit of new sessions as the fast path has it: ten at once, ten a minute; more where people share it.
func (a *Actor) admit(s *Service, now time.Duration) bool {
	scale := 1.0
	if a.lasting >= 8 {
		scale = 8
	}
	each := 6 / scale
	at := math.Max(a.buckets[s.ID], now.Seconds())
	if at-now.Seconds() > 60-each/2 {
		return false
	}
	a.buckets[s.ID] = at + each
	return true
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

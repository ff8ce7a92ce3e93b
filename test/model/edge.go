// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Edge is the whole edge: its configuration, and all that it remembers.
type Edge struct {
	Now     uint64 // ns since the host started
	Chance  uint64 // the state of the generator of chance
	Route   Route
	Secret  uint64    // of the hash by which the host's sources share buckets
	Names   []string  // of services, by number; 0 = this host's own traffic
	Secret2 uint64    // of the greylist and the sketch
	Cookies [2]uint64 // the secret of cookies

	sizes    Sizes
	config   Config
	services []*service // by number
	anyLimit bool
	fronts   map[frontKey]front
	origins  map[frontKey]origin
	own      map[netip.Addr]bool // addresses that services listen on or NAT uses
	nat      []*natAddr
	natPorts map[uint16]bool // that some NAT address gives out

	lists [2]map[EntryKey]Entry
	epoch uint64

	table        map[tuple]way
	slots        map[netip.AddrPort]*Session // by face, under NAT
	used4, used6 int                         // entries of the table
	sessions     []*Session
	sources      map[sourceKey]*source
	parts        map[partKey]*partWay
	nextID       uint32 // of a datagram in fragments, under NAT
	cells        []bool // that are claimed
	lastCell     int    // that was tried

	hops   map[HopKey]*Hop
	links  map[int]Link
	leaves map[int]bool // interfaces that frames may leave by

	serverWays map[*Server]asked // of this configuration's servers

	hostBucket, alwaysBucket, linkBucket, icmpBucket bucket
	hostSources                                      map[uint32]*bucket

	counts map[int]*Count

	gates                map[string]func(*First) Said
	caches               map[cacheKey]*[4]*Answer
	asks                 []AskKey
	states               map[int]State // of services
	grace                map[int]uint64
	doubts               map[EntryKey]uint64
	doubtUntil           map[int]uint64 // by service
	came                 map[int]*[2]bucket
	strangers            map[int]*Tried
	weak                 map[int]int
	grey                 map[tuple]uint64 // the time (ns) at which a stranger was noted
	sketch               map[uint32]*[sketchCells]sketchCell
	prefixes             map[uint32]*bucket
	answerBuckets        [2]bucket // of those who ask, and of those who ask again
	regulars             map[sourceKey]bool
	wide                 map[uint32]*wideUse // by cell
	unproven             map[int]*wideUse    // by service: of all who are not proven
	unproven4, unproven6 *ring
	ruleTold             map[int]*RuleTold // by slot
	ruleBuckets          map[uint32]*bucket
	ruleCells            map[uint32]*bucket
	inHand               *view // the packet
	booked               map[sourceKey]*booked
	players              map[BookKey]uint64
}

// Sizes are the capacities of tables.
type Sizes struct {
	Sessions int // halves, of each family
	Sources  int
	Unproven int // slots of strangers, of each family; 0 = no bound
	Cells    int // of TCP sessions without NAT whose numbers are translated
}

// ticksPerSecond: sessions keep time in ticks of 2^20 ns.
const (
	tickShift      = 20
	ticksPerSecond = 954
)

// New is an edge that has just been made. It needs a configuration.
func New(sizes Sizes) *Edge {
	return &Edge{
		sizes: sizes, Names: []string{""}, services: []*service{{}},
		lists: [2]map[EntryKey]Entry{{}, {}}, table: map[tuple]way{}, slots: map[netip.AddrPort]*Session{},
		sources: map[sourceKey]*source{}, parts: map[partKey]*partWay{},
		hops: map[HopKey]*Hop{}, links: map[int]Link{}, leaves: map[int]bool{}, serverWays: map[*Server]asked{},
		hostSources: map[uint32]*bucket{}, counts: map[int]*Count{},
		gates: Gates(), caches: map[cacheKey]*[4]*Answer{}, states: map[int]State{}, grace: map[int]uint64{}, came: map[int]*[2]bucket{},
		strangers: map[int]*Tried{}, weak: map[int]int{}, grey: map[tuple]uint64{}, sketch: map[uint32]*[sketchCells]sketchCell{},
		prefixes: map[uint32]*bucket{}, regulars: map[sourceKey]bool{}, doubts: map[EntryKey]uint64{}, doubtUntil: map[int]uint64{}, booked: map[sourceKey]*booked{}, players: map[BookKey]uint64{}, ruleTold: map[int]*RuleTold{}, ruleBuckets: map[uint32]*bucket{}, ruleCells: map[uint32]*bucket{},
		wide: map[uint32]*wideUse{}, unproven: map[int]*wideUse{}, unproven4: newRing(sizes.Unproven), unproven6: newRing(sizes.Unproven),
	}
}

func (e *Edge) tick() uint64 { return e.Now >> tickShift }

// Receive says what becomes of a frame that comes in by an interface.
func (e *Edge) Receive(frame []byte) Outcome {
	p, damage := parse(frame)
	e.inHand = p
	var o Outcome
	if damage != None {
		o = e.damaged(p, damage)
	} else {
		o = e.receive(p)
	}
	o.Service, o.Shadow = p.service, p.shadow
	e.count(p, o, 1)
	e.book(p, o)
	return o
}

func (e *Edge) receive(p *view) Outcome {
	if p.hasPorts() {
		if w := e.half(p.tuple()); w.carries() {
			return e.forward(p, w)
		}
	}
	return e.stranger(p)
}

// stranger is a packet of no session that carries packets: whose is it?
func (e *Edge) stranger(p *view) Outcome {
	switch {
	case p.family == 0:
		return e.host(p)
	case p.part == later:
		return e.laterPart(p)
	case p.hasPorts():
		if f, ok := e.front(p.to(), p.proto); ok {
			p.service, p.offset = f.service, f.offset
			return e.admit(p)
		}
		if o, ok := e.admitServer(p); ok {
			return o
		}
	case p.isICMP():
		if o, ok := e.icmpError(p); ok {
			return o
		}
	}
	return e.hostFirst(p)
}

// again sends a packet down the way of its session, which it has since a moment ago.
func (e *Edge) again(p *view) Outcome {
	if w := e.half(p.tuple()); w.carries() {
		return e.forward(p, w)
	}
	return drop(Race)
}

func drop(r Reason) Outcome { return Outcome{Verdict: Drop, Reason: r} }

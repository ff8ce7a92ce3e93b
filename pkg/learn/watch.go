// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"net/netip"
	"time"

	"parry/pkg/frame"
	"parry/pkg/naming"
)

// A session that is silent for so long is over, and what comes then is a first packet again: parry's defaults, less the second that
// a sweep may be late.
const (
	quietOpening = 9 * time.Second
	quietWeak    = 19 * time.Second
	quietUDP     = 10 * time.Minute // of one that has lasted: timeouts.udp is proposed to suit
	lasted       = 30 * time.Second
	synFlag      = 2
	ackFlag      = 16
)

// watcher reads what is said to one service, and by it.
type watcher struct {
	server  Endpoint
	flows   map[netip.AddrPort]*flow // by client
	sources map[netip.Addr]*source
	namer   naming.Namer

	packets, up int // of the service; those that clients sent
	late        int // flows of TCP whose beginning is not in the capture
	unread      int // packets of flows or sources beyond what is kept
	firsts      []first
	longest     [2]int // packets, from the IP header on: to clients, from clients
	begun, end  time.Time
	quiet       time.Duration // the longest that a player was silent in play
	silent      time.Duration // until what a TCP client said first
	alone       int           // packets of a client before the first answer, at most
	sessions    int
	names       map[naming.Label]int
}

// flow is one client port's.
type flow struct {
	source   *source
	naming   naming.Flow
	begun    time.Time // its session
	last     time.Time
	heard    bool // its session has said something with a payload
	asked    int  // packets before the server's first answer
	answered bool
	again    bool // spoke on, having been answered
	named    bool
}

// first is what a session began with.
type first struct {
	source  *source
	at      time.Time
	payload []byte // as much as was kept
	length  int
	known   naming.Label // what it alone is taken for
}

// source is one address; of IPv6 a /64, as limits have it.
type source struct {
	addr     netip.Addr
	answered bool
	flows    int
	second   bin // packets
	bytes    bin
	begin    bin // first packets
	minute   bin // sessions
}

// bin counts what happens in one unit of time, and remembers the most.
type bin struct {
	unit int64
	n    uint64
	most uint64
}

func (b *bin) add(unit int64, n uint64) {
	if unit != b.unit {
		b.unit, b.n = unit, 0
	}
	b.n += n
	b.most = max(b.most, b.n)
}

// anew: another capture begins. Its clients are others, whatever ports they have.
func (w *watcher) anew() {
	w.flows = map[netip.AddrPort]*flow{}
}

func (w *watcher) packet(at time.Time, wire int, p *frame.Packet) {
	proto := protocolOf(p)
	if proto != w.server.Protocol || p.Src != w.server.Address && p.Dst != w.server.Address {
		return
	}
	up := p.Dst == w.server.Address
	client := p.Dst
	if up {
		client = p.Src
	}
	f := w.flow(at, client, up, p)
	if f == nil {
		w.unread++
		return
	}
	w.packets++
	if w.begun.IsZero() || at.Before(w.begun) {
		w.begun = at
	}
	if at.After(w.end) {
		w.end = at
	}
	w.session(f, at, up, p)
	w.measure(f, at, up, wire-14, p)
	w.name(f, up, p)
}

// flow is the client's; nil where there is no room.
func (w *watcher) flow(at time.Time, client netip.AddrPort, up bool, p *frame.Packet) *flow {
	if f := w.flows[client]; f != nil {
		return f
	}
	addr := client.Addr()
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	s := w.sources[addr]
	if len(w.flows) == maxFlows || s == nil && len(w.sources) == maxSources {
		return nil
	}
	if s == nil {
		s = &source{addr: addr}
		w.sources[addr] = s
	}
	proto := naming.UDP
	if w.server.Protocol == "tcp" {
		proto = naming.TCP
		if p.Flags&synFlag == 0 {
			w.late++
		}
	}
	f := &flow{source: s, naming: naming.Begin(proto, w.server.Address.Port(), up)}
	w.flows[client] = f
	s.flows++
	return f
}

// session follows when sessions begin and what they begin with, as the edge will see it.
func (w *watcher) session(f *flow, at time.Time, up bool, p *frame.Packet) {
	tcp := w.server.Protocol == "tcp"
	gap := at.Sub(f.last)
	switch {
	case f.last.IsZero(), tcp && p.Flags&(synFlag|ackFlag) == synFlag && f.heard, !tcp && gap >= f.patience():
		f.begun, f.asked, f.again = at, 0, false
		f.heard = tcp && p.Flags&synFlag == 0 // it began before the capture
		f.answered = !up                      // the server speaks first
		if up {
			w.sessions++
			f.source.minute.add(at.Unix()/60, 1)
		}
	default:
		w.quiet = max(w.quiet, gap)
	}
	f.last = at
	if !up {
		f.answered, f.source.answered = true, true
		return
	}
	if !f.answered {
		f.asked++
		w.alone = max(w.alone, f.asked)
		f.source.begin.add(at.Unix(), 1)
	} else {
		f.again = true
	}
	if f.heard || tcp && p.Length == 0 {
		return
	}
	f.heard = true
	if tcp {
		w.silent = max(w.silent, at.Sub(f.begun))
	} else if f.answered {
		return // a session that the server began: nobody asks what the client says
	}
	w.first(f, at, p)
}

// patience is how long the edge waits for more of a flow.
func (f *flow) patience() time.Duration {
	switch {
	case !f.again:
		return quietOpening
	case f.last.Sub(f.begun) < lasted:
		return quietWeak
	}
	return quietUDP
}

func (w *watcher) first(f *flow, at time.Time, p *frame.Packet) {
	if len(w.firsts) == maxFlows {
		w.unread++
		return
	}
	one := first{source: f.source, at: at, length: p.Length}
	one.payload = append(one.payload, p.Payload[:min(len(p.Payload), keptBytes)]...)
	proto := naming.UDP
	if w.server.Protocol == "tcp" {
		proto = naming.TCP
	}
	alone := naming.Begin(proto, w.server.Address.Port(), true)
	if w.server.Protocol == "tcp" {
		w.namer.Segment(&alone, &naming.Segment{Up: true, Seq: p.Seq, Flags: p.Flags, Options: p.Options, Payload: p.Payload, Length: p.Length})
	} else {
		w.namer.Feed(&alone, true, p.Payload, p.Length)
	}
	one.known = alone.Name().Game
	w.firsts = append(w.firsts, one)
}

// measure takes lengths and rates. size is that of the IP packet.
func (w *watcher) measure(f *flow, at time.Time, up bool, size int, p *frame.Packet) {
	if !up {
		w.longest[0] = max(w.longest[0], size)
		return
	}
	w.up++
	w.longest[1] = max(w.longest[1], size)
	f.source.second.add(at.Unix(), 1)
	f.source.bytes.add(at.Unix(), uint64(max(size, 0)))
}

// name asks which game it is, and counts each flow once.
func (w *watcher) name(f *flow, up bool, p *frame.Packet) {
	if f.named {
		return
	}
	if w.server.Protocol == "tcp" {
		w.namer.Segment(&f.naming, &naming.Segment{Up: up, Seq: p.Seq, Flags: p.Flags, Options: p.Options, Payload: p.Payload, Length: p.Length})
	} else {
		w.namer.Feed(&f.naming, up, p.Payload, p.Length)
	}
	if n := f.naming.Name(); n.Game.Known() && n.Confidence >= 0.8 {
		f.named = true
		if w.names == nil {
			w.names = map[naming.Label]int{}
		}
		w.names[n.Game]++
	}
}

// players are the sources that were answered.
func (w *watcher) players() []*source {
	var all []*source
	for _, s := range w.sources {
		if s.answered {
			all = append(all, s)
		}
	}
	return all
}

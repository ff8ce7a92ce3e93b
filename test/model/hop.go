// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// MAC is a link address.
type MAC [6]byte

// Tag is a VLAN tag, as on the wire.
type Tag struct{ Proto, TCI uint16 }

// HopKey names a next hop as routes do: an interface, and the gateway or destination on it.
type HopKey struct {
	Ifindex int
	Gateway netip.Addr
}

// HopState is what is known of a next hop's link address.
type HopState int

// The states of a next hop.
const (
	Wanted  HopState = iota // nothing
	Learned                 // taken from the frame of somebody who came that way
	Valid                   // by the kernel or the daemon
	Down                    // it was known, and isn't reachable
)

// Hop is a next hop: what a frame that leaves by it is given.
type Hop struct {
	HopKey
	Phys     int // the interface that the frame leaves by
	MTU      int // of the IP packet
	Tags     []Tag
	Dst, Src MAC
	State    HopState
}

func (h *Hop) usable() bool { return h != nil && (h.State == Valid || h.State == Learned) }

// Link is how an interface that routes name is reached.
type Link struct {
	Phys int
	MTU  int
	Tags []Tag
}

// ingress is the interface that every frame comes in by.
const ingress = 1

// Route is the kernel's answer to every question for a way. Ifindex 0: there is none.
type Route struct {
	HopKey
	Dst, Src MAC // the link addresses, where the kernel knows them; else zero
}

func (r Route) known() bool { return r.Dst != MAC{} }

// SetHop is the daemon's word on a next hop.
func (e *Edge) SetHop(h Hop) {
	if have := e.hops[h.HopKey]; have != nil {
		*have = h
		return
	}
	e.hops[h.HopKey] = &h
}

// SetLink makes an interface known, and lets frames leave by it.
func (e *Edge) SetLink(ifindex int, l Link) {
	e.links[ifindex] = l
	e.leaves[l.Phys] = true
}

// way asks the kernel for the way to the far end. nil = there is none. What the kernel knows of its link addresses is noted;
// where it knows none, and p is a frame from that end which came in by that link, they are learned from it.
func (e *Edge) way(p *view) *Hop {
	r := e.Route
	if r.Ifindex == 0 {
		return nil
	}
	link, linked := e.links[r.Ifindex]
	h := e.hops[r.HopKey]
	if h == nil {
		if !linked {
			return nil
		}
		h = &Hop{HopKey: r.HopKey, Phys: link.Phys, MTU: link.MTU, Tags: link.Tags}
		e.hops[r.HopKey] = h
	}
	switch {
	case r.known():
		h.Dst, h.Src, h.State = r.Dst, r.Src, Valid
	case h.State == Wanted && p.learn && linked && link.Phys == ingress:
		h.Dst, h.Src, h.State = MAC(p.frame[6:]), MAC(p.frame), Learned
	}
	return h
}

// asked is the way to a server as the kernel gave it for an earlier session.
type asked struct {
	hop   *Hop
	tick  uint64
	epoch uint64
}

// wayTo is the way to a server, for which the kernel is asked again when policy or the network moved, and after two seconds.
// nil = any server that speaks first: the way is asked for.
func (e *Edge) wayTo(p *view, server *Server) *Hop {
	a, ok := e.serverWays[server]
	if ok && a.epoch == e.epoch && e.tick()-a.tick <= recheckAfter && a.hop.usable() {
		return a.hop
	}
	h := e.way(p)
	if h != nil && server != nil {
		e.serverWays[server] = asked{h, e.tick(), e.epoch}
	}
	return h
}

// usable is the hop that is kept, or, where that can't be used, the one that the kernel names now, which is then kept. nil =
// none can be used.
func (e *Edge) usable(p *view, kept **Hop) *Hop {
	if !(*kept).usable() {
		if h := e.way(p); h != nil {
			*kept = h
		}
		if !(*kept).usable() {
			return nil
		}
	}
	return *kept
}

// leave sends an IP packet out by a next hop, with that one's tags.
func (e *Edge) leave(p *view, h *Hop, ip []byte) Outcome {
	if h.Phys != ingress && !e.leaves[h.Phys] {
		return Outcome{Verdict: Abort, Reason: Internal}
	}
	out := make([]byte, 0, 14+8+len(ip))
	out = append(append(out, h.Dst[:]...), h.Src[:]...)
	for _, t := range h.Tags {
		out = append(out, byte(t.Proto>>8), byte(t.Proto), byte(t.TCI>>8), byte(t.TCI))
	}
	if p.family == 4 {
		out = append(out, 0x08, 0x00)
	} else {
		out = append(out, 0x86, 0xdd)
	}
	o := Outcome{Verdict: Redirect, Out: append(out, ip...)}
	if h.Phys == ingress {
		o.Verdict = TX
	}
	return o
}

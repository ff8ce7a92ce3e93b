// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// sourceKey is a source in one service's eyes: the first address of a prefix. Where a configuration changed how long prefixes
// are, an older and a newer one that begin alike are one source.
type sourceKey struct {
	first   netip.Addr
	service int
}

// source is what a source has used of its limits, and how many sessions it is in.
type source struct {
	packets, bytes, news bucket
	sessions             int
	seen                 uint64 // tick
	dying                bool   // idle: it goes with the next sweep, unless a session begins (life.go)
}

// sourceOf is the source that an address belongs to; of IPv6 never more than a /64.
func sourceOf(a netip.Addr, service, bits int) sourceKey {
	if a.Is6() {
		bits = min(bits, 64)
	}
	prefix, err := a.Prefix(bits)
	if err != nil {
		panic(err)
	}
	return sourceKey{prefix.Addr(), service}
}

func (s *service) prefix(a netip.Addr) int {
	if a.Is4() {
		return s.Limits.Prefix4
	}
	return s.Limits.Prefix6
}

// admitted is one admitted attempt at a session: who is to be told if nothing comes of it.
type admitted struct {
	source *source
	rate   Rate
	news   bool // a unit of the new sessions' bucket was taken
}

func (a admitted) undo() {
	a.source.sessions--
	if a.news {
		a.source.news.give(a.rate, 1)
	}
}

// attempt counts one more session of a source, unless it has too many or began too many. Sessions of the unlimited and
// those that a server starts are counted and never refused.
func (e *Edge) attempt(p *view, client netip.Addr, s *service, free bool) (admitted, Reason) {
	k := sourceOf(client, p.service, s.prefix(client))
	src := e.sources[k]
	if src == nil {
		if len(e.sources) >= e.sizes.Sources {
			return admitted{}, SourcesFull
		}
		src = &source{}
		e.sources[k] = src
	}
	src.seen, src.dying = e.tick(), false
	a := admitted{source: src, rate: s.Limits.News}
	if !free {
		enforced := s.Enforce && s.EnforceLimits
		if s.Limits.Sessions > 0 && src.sessions >= s.Limits.Sessions && e.refuse(p, TooManySessions, enforced) {
			return admitted{}, TooManySessions
		}
		a.news = !p.query && src.news.take(s.Limits.News, e.Now, 1, 0) // a query is no connection
		if !a.news && !p.query && e.refuse(p, RateSessions, enforced) {
			return admitted{}, RateSessions
		}
	}
	src.sessions++
	return a, None
}

// tokens are what a session borrowed from its source and has not used. They go back two seconds after they were borrowed.
type tokens struct {
	packets, bytes uint64
	borrowed       uint64 // tick / 16
}

const (
	loanGrain = 16  // ticks
	loanLasts = 127 // grains: two seconds

	// A session borrows 1/256 of the burst at a time, at least 1; these are the most, and what is lent where there is no
	// limit.
	mostPackets = 1<<12 - 1
	mostBytes   = 1<<20 - 1
)

func batch(r Rate, most uint64) uint64 {
	if r.Units == 0 {
		return most
	}
	return min(max(r.Burst/256, 1), most)
}

// borrow takes a batch, where it is to be had and more than is needed, else just what is needed. 0: not to be had.
func (b *bucket) borrow(r Rate, now, need, batch, back uint64) uint64 {
	if batch > need && b.take(r, now, batch, back) {
		return batch
	}
	if b.take(r, now, need, back) {
		return need
	}
	return 0
}

// spend takes one packet of its session's tokens, or of its source's buckets. What is left of an older loan goes back when
// there is a new one; a packet that is refused uses nothing.
func (e *Edge) spend(p *view, s *Session, svc *service) Reason {
	now, t, need := e.tick()/loanGrain, &s.up.tokens, uint64(p.length)
	if t.packets > 0 && t.bytes >= need && now-t.borrowed <= loanLasts {
		t.packets--
		t.bytes -= need
		return None
	}
	src := e.sources[sourceOf(s.Client.Addr(), s.Service, s.prefix)]
	src.seen = e.tick()
	l, enforced := &svc.Limits, svc.Enforce && svc.EnforceLimits
	t.borrowed = now
	packets := src.packets.borrow(l.Packets, e.Now, 1, batch(l.Packets, mostPackets), t.packets)
	if packets == 0 {
		return refusal(RatePackets, e.refuse(p, RatePackets, enforced))
	}
	t.packets = packets
	bytes := src.bytes.borrow(l.Bytes, e.Now, need, batch(l.Bytes, mostBytes), t.bytes)
	if bytes == 0 && e.refuse(p, RateBytes, enforced) {
		return RateBytes
	}
	t.packets--
	if bytes > 0 {
		t.bytes = bytes - need
	}
	return None
}

func refusal(r Reason, carried bool) Reason {
	if carried {
		return r
	}
	return None
}

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
	lasting              int    // of them, that have lasted
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
	rate   meter
	news   bool // a unit of the new sessions' bucket was taken
}

func (a admitted) undo() {
	a.source.sessions--
	if a.news {
		a.source.news.restore(a.rate, 1)
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
	a, most := admitted{source: src, rate: s.Limits.News.meter()}, s.Limits.Sessions
	if src.shared(s) {
		a.rate, most = a.rate.wider(s.Limits.Shared.Factor), most*s.Limits.Shared.Factor
	}
	if !free {
		enforced := s.Enforce && s.EnforceLimits
		if most > 0 && src.sessions >= most && e.refuse(p, TooManySessions, enforced) {
			return admitted{}, TooManySessions
		}
		a.news = !p.query && src.news.draw(a.rate, e.Now, 1) // a query is no connection
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

// batch is how much a session borrows at once of a service's sources, and no more than of their prefixes: of those an eighth as much.
func (s *service) batch() (packets, bytes uint64) {
	l, w := &s.Limits, &s.Prefix
	eighth := func(r Rate) Rate { r.Burst /= 8; return r }
	return min(batch(l.Packets, mostPackets), batch(eighth(w.Packets), mostPackets)), min(batch(l.Bytes, mostBytes), batch(eighth(w.Bytes), mostBytes))
}

// spend takes one packet of its session's tokens, or of its source's buckets and its prefix's. What is left of an older loan goes back
// first; a packet that is refused uses nothing. Who is not proven borrows for one packet alone where prefixes are limited.
func (e *Edge) spend(p *view, s *Session, svc *service) Reason {
	now, t, need := e.tick()/loanGrain, &s.up.tokens, uint64(p.length)
	if t.packets > 0 && t.bytes >= need && now-t.borrowed <= loanLasts {
		t.packets--
		t.bytes -= need
		return None
	}
	src := e.sources[sourceOf(s.Client.Addr(), s.Service, s.prefix)]
	src.seen = e.tick()
	l := e.loanOf(src, s, svc)
	l.giveBack(t.packets, t.bytes)
	*t = tokens{borrowed: now}
	packets, bytes := svc.batch()
	if l.prefix != nil && s.Proof == Unknown {
		packets, bytes = 0, 0
	}
	r, left := e.lend(p, l, svc, packets, bytes)
	if left {
		t.packets, t.bytes = l.lentPackets-1, l.lentBytes-need
	}
	return r
}

func refusal(r Reason, carried bool) Reason {
	if carried {
		return r
	}
	return None
}

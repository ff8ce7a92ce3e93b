// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// Wide are limits of more than one source: of a prefix of them, or of all together who are not proven. 0 units = none.
type Wide struct {
	Packets, Bytes, News Rate
	Enforce              bool
	Bits4, Bits6         int // how long a prefix is
}

func (w *Wide) any() bool { return w.Packets.Units|w.Bytes.Units|w.News.Units != 0 }

// Shared says when a source is an address that players share: its limits are wider by a factor then.
type Shared struct {
	Sessions int // that have lasted; 0 = never
	Factor   int
}

// Geo is from where a service takes players: Refuses says what becomes of the rest of the world.
type Geo struct {
	Refuses   bool
	Otherwise []netip.Prefix // judged the other way
}

func (g *Geo) refuses(a netip.Addr) bool {
	for _, p := range g.Otherwise {
		if p.Contains(a) {
			return !g.Refuses
		}
	}
	return g.Refuses
}

// meter is a rate as buckets are kept by it, or a part or multiple of it.
type meter struct{ cost, ahead uint64 }

func (r Rate) meter() meter {
	if r.Units == 0 {
		return meter{}
	}
	return meter{r.cost(), max(r.Burst, 1) * r.cost()}
}

// wider has so many times the rate and the burst.
func (m meter) wider(factor int) meter {
	if m.cost == 0 {
		return m
	}
	return meter{max(m.cost/uint64(factor), 1), m.ahead}
}

// share is what a client may use of its prefix's bucket: half of it who is not proven, three quarters who is, all whose session has
// lasted. So nobody is refused for what those use who are less known.
func (m meter) share(p Proof, lasting bool) meter {
	ahead := m.ahead
	switch {
	case p == Unknown:
		ahead /= 2
	case !lasting:
		ahead -= ahead / 4
	}
	return meter{m.cost, max(ahead, m.cost)}
}

func (b *bucket) draw(m meter, now, units uint64) bool {
	if m.cost == 0 {
		return true
	}
	t := int64(now << 8)
	used := max(int64(b.used), t) + int64(units*m.cost)
	if used-t > int64(m.ahead) {
		return false
	}
	b.used = uint64(used)
	return true
}

// lend draws a batch, where it is to be had and more than is needed, else just what is needed. 0: not to be had.
func (b *bucket) lend(m meter, now, need, batch uint64) uint64 {
	if batch > need && b.draw(m, now, batch) {
		return batch
	}
	if b.draw(m, now, need) {
		return need
	}
	return 0
}

func (b *bucket) restore(m meter, units uint64) { b.used -= units * m.cost }

// wideUse is what the sources of a prefix have used of a service's limits.
type wideUse struct{ packets, bytes, news bucket }

const wideCells = 65536

// wideOf is the cell of a client's prefix, nil where its service limits none. Prefixes that collide share one; the model has the same.
func (e *Edge) wideOf(client netip.Addr, service int, w *Wide) *wideUse {
	if !w.any() {
		return nil
	}
	var a, family uint64
	bits := w.Bits6
	if client.Is4() {
		bits = w.Bits4
		a, family = uint64(be32(client.AsSlice())>>(32-bits)), 4
	} else {
		a, family = binary.BigEndian.Uint64(client.AsSlice())>>(64-bits), 6
	}
	i := uint32(mix(mix(a^e.Secret)+(uint64(service)<<16|uint64(bits)<<8|family))>>32) % wideCells
	if e.wide[i] == nil {
		e.wide[i] = &wideUse{}
	}
	return e.wide[i]
}

// begun are units of new sessions that were taken for one that is yet to be made.
type begun struct {
	prefix    *wideUse
	ofPrefix  Rate
	unproven  *bucket
	ofService Rate
}

func (b begun) undo() {
	if b.prefix != nil {
		b.prefix.news.give(b.ofPrefix, 1)
	}
	if b.unproven != nil {
		b.unproven.give(b.ofService, 1)
	}
}

// mayBegin: the limits on new sessions of a prefix, and of all who are not proven. known: its client is proven, allowed, or has played
// before. A query is no connection.
func (e *Edge) mayBegin(p *view, svc *service, known, unlimited bool) (b begun, r Reason) {
	if p.query || unlimited {
		return b, None
	}
	if u := e.wideOf(p.src, p.service, &svc.Prefix); u != nil && svc.Prefix.News.Units > 0 {
		proof := Unknown
		if known {
			proof = Strong
		}
		if u.news.draw(svc.Prefix.News.meter().share(proof, known), e.Now, 1) {
			b.prefix, b.ofPrefix = u, svc.Prefix.News
		} else if e.refuse(p, PrefixSessions, svc.Enforce && svc.Prefix.Enforce) {
			return b, PrefixSessions
		}
	}
	if !known && svc.Unproven.News.Units > 0 {
		all := &e.unprovenOf(p.service).news
		if all.take(svc.Unproven.News, e.Now, 1, 0) {
			b.unproven, b.ofService = all, svc.Unproven.News
		} else if e.refuse(p, ServiceSessions, svc.Enforce && svc.Unproven.Enforce) {
			b.undo()
			return begun{}, ServiceSessions
		}
	}
	return b, None
}

func (e *Edge) unprovenOf(service int) *wideUse {
	if e.unproven[service] == nil {
		e.unproven[service] = &wideUse{}
	}
	return e.unproven[service]
}

// drawUnproven: a packet of a session that is not proven draws on what its service takes from all such together; one that was proven
// before it was taken up again never goes without.
func (e *Edge) drawUnproven(p *view, s *Session, svc *service) Reason {
	if s.Proof != Unknown {
		return None
	}
	u, l, r := e.unprovenOf(s.Service), &svc.Unproven, None
	switch {
	case !u.packets.take(l.Packets, e.Now, 1, 0):
		r = ServicePackets
	case !u.bytes.take(l.Bytes, e.Now, uint64(p.length), 0):
		u.packets.give(l.Packets, 1)
		r = ServiceBytes
	}
	if r == None || s.known {
		return None
	}
	return refusal(r, e.refuse(p, r, svc.Enforce && l.Enforce))
}

// loan is what a packet draws, and those after it: of its source, and of its source's prefix.
type loan struct {
	source         *source
	prefix         *wideUse
	packets, bytes meter // of the source
	widePackets    meter
	wideBytes      meter

	lentPackets, lentBytes uint64
}

func (e *Edge) loanOf(src *source, s *Session, svc *service) *loan {
	l := &loan{source: src, prefix: e.wideOf(s.Client.Addr(), s.Service, &svc.Prefix), packets: svc.Limits.Packets.meter(), bytes: svc.Limits.Bytes.meter()}
	if src.shared(svc) {
		l.packets, l.bytes = l.packets.wider(svc.Limits.Shared.Factor), l.bytes.wider(svc.Limits.Shared.Factor)
	}
	l.widePackets, l.wideBytes = svc.Prefix.Packets.meter().share(s.Proof, s.lasting), svc.Prefix.Bytes.meter().share(s.Proof, s.lasting)
	return l
}

// giveBack returns what an older loan has left.
func (l *loan) giveBack(packets, bytes uint64) {
	l.source.packets.restore(l.packets, packets)
	l.source.bytes.restore(l.bytes, bytes)
	if l.prefix != nil {
		l.prefix.packets.restore(l.widePackets, packets)
		l.prefix.bytes.restore(l.wideBytes, bytes)
	}
}

// keep leaves so much with the session and gives its source the rest.
func (l *loan) keep(packets, bytes uint64) {
	if l.lentPackets > packets {
		l.source.packets.restore(l.packets, l.lentPackets-packets)
		l.lentPackets = packets
	}
	if l.lentBytes > bytes {
		l.source.bytes.restore(l.bytes, l.lentBytes-bytes)
		l.lentBytes = bytes
	}
}

// lend has tokens for a packet, and for others after it up to a batch, drawn from the source and as many from its prefix. Whoever
// refuses for good gets everything back; one that only watches is noted, and the other still draws for this packet. left: a loan for
// the packets after it.
func (e *Edge) lend(p *view, l *loan, svc *service, packets, bytes uint64) (r Reason, left bool) {
	need, left := uint64(p.length), true
	if r := l.ofSource(e.Now, need, packets, bytes); r != None {
		if left = false; e.refuse(p, r, svc.Enforce && svc.EnforceLimits) {
			return r, false
		}
	}
	if l.prefix == nil {
		return None, left
	}
	drawnPackets := l.prefix.packets.lend(l.widePackets, e.Now, 1, l.lentPackets)
	drawnBytes, r := uint64(0), PrefixPackets
	if drawnPackets > 0 {
		if drawnBytes, r = l.prefix.bytes.lend(l.wideBytes, e.Now, need, l.lentBytes), None; drawnBytes == 0 {
			l.prefix.packets.restore(l.widePackets, drawnPackets)
			r = PrefixBytes
		}
	}
	switch {
	case r == None:
		l.keep(drawnPackets, drawnBytes)
		return None, left
	case e.refuse(p, r, svc.Enforce && svc.Prefix.Enforce):
		l.keep(0, 0)
		return r, false
	}
	l.keep(1, need)
	return None, false
}

// ofSource draws both kinds of tokens from the source, or neither.
func (l *loan) ofSource(now, need, packets, bytes uint64) Reason {
	l.lentBytes = 0
	if l.lentPackets = l.source.packets.lend(l.packets, now, 1, packets); l.lentPackets == 0 {
		return RatePackets
	}
	if l.lentBytes = l.source.bytes.lend(l.bytes, now, need, bytes); l.lentBytes == 0 {
		l.keep(0, 0)
		return RateBytes
	}
	return None
}

// shared tells whether a source is an address that players share: so many of its sessions have lasted.
func (s *source) shared(svc *service) bool {
	return svc.Limits.Shared.Sessions > 0 && s.lasting >= svc.Limits.Shared.Sessions
}

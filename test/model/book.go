// SPDX-License-Identifier: Apache-2.0

package model

import (
	"maps"
	"net/netip"
)

// What policy would have refused where it only watches is booked: which sources, for which reasons, and how many of them are players,
// that is proven strongly, or have played for a while. A source counts once for each service and reason, as soon as both are known. What
// is really refused while a service is on trial is booked likewise, apart.

// BookKey names a count of players.
type BookKey struct {
	Service int
	Reason  Reason
	Did     bool // they were refused, by a service on trial; else they would have been
}

// booked is what is known of one source and service.
type booked struct {
	refused, counted map[BookKey]bool
	player           bool
	trial            int // that what was refused is of
}

// Players are how many there are of each, none where there are none.
func (e *Edge) Players() map[BookKey]uint64 { return e.players }

// keepsBooks tells whether there may be anything to book.
func (e *Edge) keepsBooks() bool {
	if !e.config.Enforce {
		return true
	}
	for _, s := range e.services[1:] { // those that went keep what they were told
		if !s.Enforce || !s.EnforceLimits || s.WatchGate || s.Trial != 0 || s.Prefix.any() && !s.Prefix.Enforce || s.Unproven.any() && !s.Unproven.Enforce {
			return true
		}
	}
	return false
}

// judgedClient is whose packet it is: on the way back its receiver's.
func (p *view) judgedClient() netip.Addr {
	if p.down {
		return p.client
	}
	return p.src
}

// book enters what became of a packet.
func (e *Edge) book(p *view, o Outcome) {
	k := BookKey{p.service, o.Shadow, false}
	if o.Shadow == None {
		k = BookKey{p.service, o.Reason, true}
	}
	if k.Reason == None || p.family == 0 || !e.keepsBooks() || k.Did && e.services[p.service].Trial == 0 {
		return
	}
	source := regularOf(p.judgedClient(), p.service)
	b := e.booked[source]
	if b == nil {
		b = &booked{refused: map[BookKey]bool{}, counted: map[BookKey]bool{}}
		e.booked[source] = b
	}
	if k.Did && b.trial != e.services[p.service].Trial {
		b.trial = e.services[p.service].Trial
		for _, m := range []map[BookKey]bool{b.refused, b.counted} { // what was refused in an earlier one is over
			maps.DeleteFunc(m, func(k BookKey, _ bool) bool { return k.Did })
		}
	}
	b.refused[k] = true
	if p.player || p.proof == Strong || b.player || e.regulars[source] {
		b.player = true
		e.countPlayer(b, k)
	}
}

func (e *Edge) countPlayer(b *booked, k BookKey) {
	if !b.counted[k] {
		b.counted[k] = true
		e.players[k]++
	}
}

// proved: the client of the packet in hand has proven himself strongly, or has played for a while.
func (e *Edge) proved(client netip.Addr, service int) {
	e.inHand.player = true
	b := e.booked[regularOf(client, service)]
	if b == nil || !e.keepsBooks() {
		return
	}
	b.player = true
	for k := range b.refused {
		e.countPlayer(b, k)
	}
}

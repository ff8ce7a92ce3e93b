// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// List is one of the two lists of sources.
type List int

// Allow wins over Deny.
const (
	Deny List = iota
	Allow
)

// EntryKey names an entry: a prefix or single address, for one service or (0) for all.
type EntryKey struct {
	Prefix  netip.Prefix
	Service int
}

// Entry is one entry of a list.
type Entry struct {
	Expires   uint64 // the time from which it is none; 0 = never
	Unlimited bool   // of Allow: source limits don't hold
}

// Put lists an entry in place of one of the same key. It does not have sessions check (Bump does).
func (e *Edge) Put(l List, k EntryKey, v Entry) { e.lists[l][k] = v }

// Has tells whether there is such an entry, expired or not.
func (e *Edge) Has(l List, k EntryKey) bool {
	_, ok := e.lists[l][k]
	return ok
}

// Delete takes an entry off.
func (e *Edge) Delete(l List, k EntryKey) { delete(e.lists[l], k) }

// Bump moves the policy epoch: every session checks its client anew at its next packet.
func (e *Edge) Bump() { e.epoch++ }

// find is the entry that judges an address for exactly this service: the one of the single address, else the longest
// prefix, of those that have not expired.
func (e *Edge) find(l List, a netip.Addr, service int) (found Entry, ok bool) {
	longest := -1
	for k, v := range e.lists[l] {
		if k.Service != service || k.Prefix.Bits() <= longest || v.Expires != 0 && v.Expires <= e.Now || !k.Prefix.Contains(a) {
			continue
		}
		found, ok, longest = v, true, k.Prefix.Bits()
	}
	return found, ok
}

// findFor looks at the entries for all services before those of this one.
func (e *Edge) findFor(l List, a netip.Addr, service int) (Entry, bool) {
	v, ok := e.find(l, a, 0)
	if !ok && service != 0 {
		v, ok = e.find(l, a, service)
	}
	return v, ok
}

// judgement is what policy says of a client.
type judgement struct {
	reason    Reason // None: it may pass
	welcome   bool   // it is on the allow list
	unlimited bool
	refused   bool // it would be refused, were policy enforced
}

// judge: allow wins over deny and over where a client is; a service of `access: allowlist` refuses who is on neither.
func (e *Edge) judge(p *view, client netip.Addr, s *service) judgement {
	if v, ok := e.findFor(Allow, client, p.service); ok {
		return judgement{welcome: true, unlimited: v.Unlimited}
	}
	var j judgement
	if _, ok := e.findFor(Deny, client, p.service); ok {
		j.refused = true
		if e.refuse(p, Denied, s == nil || s.Enforce) {
			j.reason = Denied
			return j
		}
	}
	if s != nil && s.Geo != nil && s.Geo.refuses(client) {
		j.refused = true
		if e.refuse(p, WrongPlace, s.Enforce) {
			j.reason = WrongPlace
			return j
		}
	}
	if s != nil && s.Allowlist {
		j.refused = true
		if e.refuse(p, NotAllowed, s.Enforce) {
			j.reason = NotAllowed
		}
	}
	return j
}

// refuse tells whether policy's refusal is carried out. If not, the first one is noted and the packet goes on.
func (e *Edge) refuse(p *view, r Reason, enforced bool) bool {
	if e.config.Enforce && enforced {
		return true
	}
	if p.shadow == None {
		p.shadow = r
	}
	return false
}

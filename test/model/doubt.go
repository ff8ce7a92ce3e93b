// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Doubt is the daemon's word on a source (a /32 or /64) or network (a /24 or /48) of a service, or (0) of all, until a time: nothing of
// it gets in that does not prove its address strongly.
func (e *Edge) Doubt(k EntryKey, until uint64) {
	k.Prefix = k.Prefix.Masked()
	e.doubts[k] = until
	for n := range e.services {
		if n > 0 && (k.Service == 0 || k.Service == n) {
			e.doubtUntil[n] = max(e.doubtUntil[n], until)
		}
	}
}

// doubting: somebody is doubted at a service, so strangers are asked for strong proof where they can give it.
func (e *Edge) doubting(service int) bool {
	return e.config.Doubts && int64(e.doubtUntil[service]-e.Now) > 0
}

// doubted: so is this client's address.
func (e *Edge) doubted(a netip.Addr, service int) bool {
	if !e.doubting(service) {
		return false
	}
	for k, until := range e.doubts {
		if (k.Service == 0 || k.Service == service) && int64(until-e.Now) > 0 && k.Prefix.Contains(a) {
			return true
		}
	}
	return false
}

// doubtedSession: what proved itself strongly, or was played for a while, is let be, and so is who has played before.
func (e *Edge) doubtedSession(w way, j judgement) bool {
	if w.isDown || j.welcome || w.Proof == Strong || w.vouched || w.lasting {
		return false
	}
	return e.doubted(w.Client.Addr(), w.Service) && !e.regulars[regularOf(w.Client.Addr(), w.Service)]
}

// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Pending are faults that the fast path is known to have: where one is set, the model has it, too. Each has a sequence in
// test/diff/testdata/pending that shows it, and a test that fails when it is mended: then both go.
type Pending struct {
	// An IPv6 address whose first half is 0 and whose last byte is 0 is taken for nobody's, as :: is.
	LowAddresses bool
	// Where policy watches, a packet that would be refused for its size or for being a fragment hides that its client
	// would be denied: the next packets are not judged for 2 s.
	MaskedDenial bool
	// What a NAT port's last server sends to that port is nobody's packet even where a service has come to listen there.
	StaleSlot bool
	// An unlimited client to whom a server spoke first is limited until its session is checked again.
	FirstWordLimited bool
}

// AllPending are all of them.
func AllPending() Pending { return Pending{true, true, true, true} }

// taken6 is which addresses LowAddresses takes for nobody's.
func (p Pending) taken6(a netip.Addr) bool {
	b := a.As16()
	return p.LowAddresses && [8]byte(b[:8]) == [8]byte{} && b[15] == 0
}

func (p Pending) masked(j judgement, shadow Reason) judgement {
	if p.MaskedDenial && shadow != Denied && shadow != NotAllowed {
		j.refused = false
	}
	return j
}

// stale tells whether such packets were those of the last session that had this face.
func (e *Edge) isStale(t tuple) bool {
	last, ok := e.faces[t.dst]
	return e.Pending.StaleSlot && ok && last == t
}

// SPDX-License-Identifier: Apache-2.0

package anticheat

import (
	"net/netip"
	"time"
)

// recordsLast is how long a finding is remembered of its player and address.
const recordsLast = 24 * uint64(time.Hour)

// who has findings: a player of a service, or an address.
type who struct {
	service, player string
	source          netip.Prefix
}

// records remembers who had findings: what was not asked for is forgotten in halves, once there are too many.
type records struct {
	half       int
	young, old map[who]uint64 // when it was
}

func newRecords(most int) records {
	return records{half: max(most/2, 1), young: map[who]uint64{}, old: map[who]uint64{}}
}

func (r *records) len() int { return len(r.young) + len(r.old) }

// each visits what a session is known by.
func (r *records) each(s *session, visit func(who)) {
	visit(who{source: source(s.key.Client.Addr())})
	if s.about.Player != "" {
		visit(who{service: s.about.Service, player: s.about.Player})
	}
}

// note remembers a finding.
func (r *records) note(s *session, at uint64) {
	r.each(s, func(w who) {
		if _, is := r.young[w]; !is && len(r.young) >= r.half {
			r.old, r.young = r.young, r.old
			clear(r.young)
		}
		delete(r.old, w)
		r.young[w] = at
	})
}

// known tells whether a session's player or address has earlier findings.
func (r *records) known(s *session, at uint64) (is bool) {
	r.each(s, func(w who) {
		for _, m := range []map[who]uint64{r.young, r.old} {
			if was, ok := m[w]; ok && at-min(was, at) <= recordsLast {
				is = true
			}
		}
	})
	return is
}

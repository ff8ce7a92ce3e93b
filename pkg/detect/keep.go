// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Bucket is where records are kept, under Record.Key.
const Bucket = "detect"

// Record is what is worth keeping of a source or prefix over restarts: its offences, or that people share it.
type Record struct {
	Prefix   netip.Prefix `json:"prefix"`
	Offences int          `json:"offences,omitempty"`
	Until    time.Time    `json:"until,omitzero"` // when its last block ends, or ended
	Reason   string       `json:"reason,omitempty"`
	People   int          `json:"people,omitempty"`
	Seen     time.Time    `json:"seen,omitzero"` // when people were last seen there
}

// Key names a record in a store: 4/198.51.100.7/32 or 6/20010db800050000/64.
func (r *Record) Key() string {
	if a := r.Prefix.Addr(); !a.Is4() {
		b := a.As16()
		return fmt.Sprintf("6/%x/%d", b[:8], r.Prefix.Bits())
	}
	return fmt.Sprintf("4/%v", r.Prefix)
}

// Export gives at most Sizes.Offences + Sizes.Prefixes + Sizes.Sources records, those of no use left out. now is the wall clock's.
func (d *Detector) Export(now time.Time) []Record {
	at := d.clock.now
	wall := func(t int64) time.Time { return now.Add(time.Duration(t - at)).UTC().Truncate(time.Second) }
	all := map[netip.Prefix]*Record{}
	keep := func(p netip.Prefix, f *offence) {
		as := *f
		if as.decay(at, d.p.Block.Forgive); as.level > 0 {
			all[p] = &Record{Prefix: p, Offences: int(as.level), Until: wall(as.until), Reason: as.reason.String()}
		}
	}
	d.offences.each(func(s source, f *offence) { keep(s.prefix(), f) })
	d.netOffences.each(func(n network, f *offence) { keep(n.prefix(), f) })
	d.known.each(func(s source, h *history) {
		if h.people() < d.p.Shared || !h.playing(at) {
			return
		}
		r := all[s.prefix()]
		if r == nil {
			r = &Record{Prefix: s.prefix()}
			all[r.Prefix] = r
		}
		r.People, r.Seen = h.people(), wall(h.player)
	})
	list := make([]Record, 0, len(all))
	for _, r := range all {
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b Record) int { return a.Prefix.Compare(b.Prefix) })
	return list
}

// Import takes over what Export gave in an earlier life. What can't be so is left out, and said; nothing of it decides anything by
// itself: who was blocked is known as flagged until then, and his next offence counts as one more.
func (d *Detector) Import(list []Record, now time.Time) error {
	var errs []error
	for i := range list {
		if err := d.restore(&list[i], now); err != nil && len(errs) < 3 {
			errs = append(errs, fmt.Errorf("detect: record %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

func (d *Detector) restore(r *Record, now time.Time) error {
	s, ok := sourceOf(r.Prefix.Addr())
	net := ok && r.Prefix == s.network().prefix()
	if !ok || !net && r.Prefix != s.prefix() {
		return fmt.Errorf("%v is no source or prefix", r.Prefix)
	}
	if r.Offences < 0 || r.Offences > mostLevel || r.People < 0 || r.People > mostLast || net && r.People > 0 {
		return fmt.Errorf("%v: %d offences and %d people can't be", r.Prefix, r.Offences, r.People)
	}
	at := d.clock.now
	if r.Offences > 0 {
		f := &offence{}
		if net {
			f = d.netOffences.take(s.network())
		} else {
			f = d.offences.take(s)
		}
		until := at + int64(max(min(r.Until.Sub(now), d.p.Block.Longest), -time.Duration(mostLevel)*d.p.Block.Forgive))
		*f = offence{until: max(f.until, until), level: max(f.level, uint8(r.Offences)), reason: reasonOf(r.Reason)}
	}
	if gone := now.Sub(r.Seen); r.People > 0 && gone < 2*time.Duration(peopleFor) {
		h := d.comer(s)
		h.turnOver(at)
		h.peak[0] = max(h.peak[0], uint16(r.People))
		h.player = max(h.player, at-int64(max(gone, 0)))
	}
	return nil
}

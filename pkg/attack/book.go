// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// MaxRecords is how many attacks are remembered; the oldest go first.
const MaxRecords = 1000

// book holds attacks.
type book struct {
	records []*Record       // the oldest first
	dirty   map[string]bool // IDs of those that are to be kept anew
	gone    []string        // IDs that are to be forgotten
}

func (b *book) load(records []Record) {
	b.dirty = map[string]bool{}
	for i := range records {
		r := records[i].clone()
		if r.Drops == nil {
			r.Drops = map[string]uint64{}
		}
		if r.WouldDrop == nil {
			r.WouldDrop = map[string]uint64{}
		}
		b.records = append(b.records, &r)
	}
	slices.SortFunc(b.records, func(x, y *Record) int { return cmp.Or(x.Start.Compare(y.Start), cmp.Compare(x.ID, y.ID)) })
	b.bound()
}

// bound forgets the oldest that are too many.
func (b *book) bound() {
	for len(b.records) > MaxRecords {
		old := b.records[0]
		b.records = b.records[1:]
		delete(b.dirty, old.ID)
		b.gone = append(b.gone, old.ID)
	}
}

// begin opens a record of a service that is under attack from now on.
func (b *book) begin(service string, at time.Time, m *Machine) *Record {
	at = at.UTC()
	id := service + "-" + at.Format("20060102T150405Z")
	for n := 2; slices.ContainsFunc(b.records, func(r *Record) bool { return r.ID == id }); n++ { // a clock that went back
		id = fmt.Sprintf("%s-%s-%d", service, at.Format("20060102T150405Z"), n)
	}
	b.gone = slices.DeleteFunc(b.gone, func(old string) bool { return old == id })
	r := &Record{
		ID: id, Service: service, Start: at, Last: at, Reason: m.why, Usual: m.calm.Strangers, Kinds: []string{},
		Drops: map[string]uint64{}, WouldDrop: map[string]uint64{}, Measures: []Measure{},
	}
	r.say(at, "attack: "+m.why)
	b.records = append(b.records, r)
	b.touch(r)
	b.bound()
	return r
}

// goesOn finds the newest attack on a service that has no end.
func (b *book) goesOn(service string) *Record {
	for _, r := range slices.Backward(b.records) {
		if r.Service == service && r.End == nil {
			return r
		}
	}
	return nil
}

// endOthers ends what goes on and is nobody's any more, when it was last seen.
func (b *book) endOthers(open func(*Record) bool) {
	for _, r := range b.records {
		if r.End == nil && !open(r) {
			end := r.Last
			r.End = &end
			b.touch(r)
		}
	}
}

func (b *book) touch(r *Record) { b.dirty[r.ID] = true }

func (b *book) list() []Record {
	all := make([]Record, 0, len(b.records))
	for _, r := range slices.Backward(b.records) {
		all = append(all, r.clone())
	}
	return all
}

func (b *book) changed() (records []Record, gone []string) {
	for _, r := range b.records {
		if b.dirty[r.ID] {
			records = append(records, r.clone())
		}
	}
	gone = b.gone
	b.dirty, b.gone = map[string]bool{}, nil
	return records, gone
}

func (b *book) unsaved(records []Record, gone []string) {
	for i := range records {
		gone = append(gone, records[i].ID)
	}
	for _, id := range gone {
		if slices.ContainsFunc(b.records, func(r *Record) bool { return r.ID == id }) {
			b.dirty[id] = true
		} else {
			b.gone = append(b.gone, id)
		}
	}
	// An ID that could never be kept need not be forgotten either: there are at most so many to try again.
	if over := len(b.gone) - MaxRecords; over > 0 {
		b.gone = b.gone[over:]
	}
}

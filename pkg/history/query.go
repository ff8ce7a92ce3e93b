// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"time"
)

// Find yields the records that the filter picks, those whose end was told last first; an error ends it. It has one segment in memory at
// a time. Records that come meanwhile are not in it, and a segment that is removed meanwhile is passed over.
func (l *Log) Find(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		select {
		case l.queries <- struct{}{}:
			defer func() { <-l.queries }()
		case <-ctx.Done():
			yield(Record{}, ctx.Err())
			return
		}
		all, left := l.snapshot(), f.Limit
		for i := len(all) - 1; i >= 0; i-- {
			s := &all[i]
			if s.last > 0 && !f.within(time.Unix(s.first, 0), time.Unix(s.last+1, 0)) {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(Record{}, err)
				return
			}
			lines, err := l.read(s)
			if err != nil { // what could be read of it is not lost with the rest
				l.damaged(s, err)
			}
			if !l.pick(s, lines, &f, &left, yield) {
				return
			}
		}
	}
}

// snapshot is all there is now, the oldest first.
func (l *Log) snapshot() []segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.sealed)
	if l.to != nil && l.active.size > 0 {
		all = append(all, l.active)
	}
	return all
}

// read loads a segment, which may have been sealed or removed since.
func (l *Log) read(s *segment) ([]byte, error) {
	if s.size == 0 {
		return nil, nil
	}
	lines, err := s.load(l.dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return lines, err
	}
	for _, now := range l.snapshot() {
		if now.number == s.number {
			if lines, err = now.load(l.dir); !errors.Is(err, fs.ErrNotExist) {
				return lines, err
			}
		}
	}
	return nil, nil // removed: it was too old
}

func (l *Log) damaged(s *segment, err error) {
	l.log.Warn("a segment of history is damaged: what can be read of it is told", "file", s.name(), "err", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Damaged++
}

// pick yields what is picked of a segment's lines, the last first; false = no more is wanted.
func (l *Log) pick(s *segment, lines []byte, f *Filter, left *int, yield func(Record, error) bool) bool {
	needle, bad := []byte(f.needle()), 0
	defer func() {
		if bad > 0 {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.stats.Damaged += uint64(bad)
		}
	}()
	for len(lines) > 0 {
		var line []byte
		line, lines = lastLine(lines)
		if !f.maybe(line, needle) {
			continue
		}
		var r Record
		doc, ok := whole(line)
		if !ok || json.Unmarshal(doc, &r) != nil {
			bad++
			continue
		}
		if !f.Match(&r) {
			continue
		}
		if !yield(r, nil) {
			return false
		}
		if *left--; f.Limit > 0 && *left == 0 {
			return false
		}
	}
	return true
}

// SPDX-License-Identifier: Apache-2.0

package history

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	segmentBytes = 8 << 20          // of lines, when a segment is full: some 15,000 records
	maxSegment   = 2 * segmentBytes // that is ever read of one into memory
	longest      = 6 * time.Hour    // that a segment is written
	queriesMost  = 2                // at a time, each with a segment in memory; more wait
	syncEvery    = 10 * time.Second // a loss of power costs no more; a killed daemon loses nothing that was written
)

// ErrInUse says that another process keeps its history there.
var ErrInUse = errors.New("another process uses it")

// Bounds are how much is kept.
type Bounds struct {
	Keep     time.Duration // after its last session's end a segment is removed
	MaxBytes int64         // on disk; beyond it the oldest segments are removed
}

// Stats is what there is, and what became of records since the log was opened.
type Stats struct {
	Written  uint64 // records
	Unsaved  uint64 // records that the disk did not take
	Damaged  uint64 // lines that were met and can't be read: cut by a crash, or garbled
	Removed  uint64 // segments that were too old, or too many
	Segments int
	Bytes    int64 // on disk
}

// file is what a segment is written to; a test's fails.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// Log is the records in one folder.
type Log struct {
	dir     string
	log     *slog.Logger
	lock    *os.File // held while it is open: one process a folder
	create  func(path string) (file, error)
	queries chan struct{} // a token for each that goes on

	mu     sync.Mutex // guards all below
	bounds Bounds
	sealed []segment // the oldest first
	active segment   // number 0: none is written
	to     file      // what active is written to; nil: none
	opened time.Time // when it was begun
	synced time.Time
	dirty  bool // something was written since
	torn   bool // active's file may have a part of a line at its end
	stats  Stats
	closed bool
}

// Open opens a folder, makes it where it is missing, and seals what a daemon before left off writing. now is the wall clock's.
func Open(dir string, b Bounds, now time.Time, log *slog.Logger) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of histories: %w", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of histories: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), lock.Close())
	}
	l := &Log{dir: dir, log: log, lock: lock, bounds: b, queries: make(chan struct{}, queriesMost), create: createFile}
	if err := l.recover(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	l.bound(now)
	return l, nil
}

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
}

// recover finds what there is. What was being written is sealed; where that fails it stays as it is, and can be read.
func (l *Log) recover() error {
	files, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("read the folder of histories: %w", err)
	}
	for _, f := range files {
		s, ok := parseSegment(f.Name())
		if filepath.Ext(f.Name()) == ".new" { // a seal that was cut off; what it was made of is there
			l.say("remove half a segment", ignoreMissing(os.Remove(filepath.Join(l.dir, f.Name()))))
		}
		info, err := f.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue
		}
		s.size = info.Size()
		l.sealed = append(l.sealed, s)
	}
	slices.SortFunc(l.sealed, func(a, b segment) int { return cmp.Or(cmp.Compare(a.number, b.number), boolOrder(a.sealed, b.sealed)) })
	for i := 0; i < len(l.sealed); i++ {
		s := &l.sealed[i]
		if s.sealed {
			continue
		}
		if i > 0 && l.sealed[i-1].number == s.number { // it was sealed, and its file not yet removed
			l.say("remove a segment that was sealed", ignoreMissing(os.Remove(filepath.Join(l.dir, s.name()))))
			l.sealed = slices.Delete(l.sealed, i, i+1)
			i--
			continue
		}
		l.rescue(s)
	}
	for i := range l.sealed {
		l.stats.Bytes += l.sealed[i].size
	}
	return nil
}

// boolOrder has what is sealed come first.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// rescue seals the whole lines of a segment that nobody writes any more.
func (l *Log) rescue(s *segment) {
	b, err := s.load(l.dir)
	l.say("read a segment", err)
	good, bad := make([]byte, 0, len(b)), 0
	for len(b) > 0 {
		at := slices.Index(b, '\n') + 1
		if at == 0 { // cut
			bad++
			break
		}
		var r Record
		if doc, ok := whole(b[:at-1]); ok && json.Unmarshal(doc, &r) == nil {
			good = append(good, b[:at]...)
			s.covers(&r)
		} else {
			bad++
		}
		b = b[at:]
	}
	if bad > 0 {
		l.stats.Damaged += uint64(bad)
		l.log.Warn("lines of a history are damaged, and skipped: its daemon ended while it wrote them, or the disk garbled them", "file", s.name(), "lines", bad)
	}
	if len(good) == 0 {
		l.say("remove an empty segment", ignoreMissing(os.Remove(filepath.Join(l.dir, s.name()))))
		s.size, s.first, s.last = 0, 0, 0 // nothing is to be read of it
		return
	}
	if done, err := seal(l.dir, *s, good); err != nil {
		l.say("seal a segment", err)
	} else {
		l.say("remove a segment that is sealed", ignoreMissing(os.Remove(filepath.Join(l.dir, s.name()))))
		*s = done
	}
}

func (l *Log) say(what string, err error) {
	if err != nil {
		l.log.Error("could not "+what, "err", err)
	}
}

// Append writes records, in the order in which the sessions ended. Of those that the disk does not take none is there, and they are counted.
func (l *Log) Append(all []Record, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(all) > 0 && !l.closed {
		n, lines, err := l.batch(all)
		if err == nil && n > 0 {
			err = l.write(lines, now)
		}
		if err != nil {
			l.stats.Unsaved += uint64(len(all))
			return err
		}
		for i := range all[:n] {
			l.active.covers(&all[i])
		}
		l.stats.Written += uint64(n)
		all = all[n:]
	}
	return nil
}

// batch is as much of what is to be written as a segment takes at once.
func (l *Log) batch(all []Record) (n int, lines []byte, err error) {
	for n < len(all) && int64(len(lines)) < l.full()/8 {
		if lines, err = appendLine(lines, &all[n]); err != nil {
			return n, nil, err
		}
		n++
	}
	return n, lines, nil
}

// write adds whole lines to the active segment, which it begins if need be. l.mu is held.
func (l *Log) write(lines []byte, now time.Time) error {
	if l.to != nil && (l.active.size+int64(len(lines)) > l.full() || l.torn) {
		if err := l.seal(); err != nil {
			return err
		}
	}
	if l.to == nil {
		if err := l.begin(now); err != nil {
			return err
		}
	}
	if _, err := l.to.Write(lines); err != nil {
		// What was written of it is cut off again, or (where that fails, too) a line that fails its sum ends the segment.
		l.torn = l.to.Truncate(l.active.size) != nil
		return fmt.Errorf("write a history: %w", err)
	}
	l.active.size += int64(len(lines))
	l.stats.Bytes += int64(len(lines))
	l.dirty = true
	return nil
}

// full is how many bytes of lines a segment has: few enough that removing the oldest one leaves most of what may be kept. l.mu is held.
func (l *Log) full() int64 { return min(segmentBytes, max(l.bounds.MaxBytes/8, 1)) }

// begin begins a segment. l.mu is held.
func (l *Log) begin(now time.Time) error {
	next := uint64(1)
	if n := len(l.sealed); n > 0 {
		next = l.sealed[n-1].number + 1
	}
	s := segment{number: next}
	f, err := l.create(filepath.Join(l.dir, s.name()))
	if err != nil {
		return fmt.Errorf("begin a segment of history: %w", err)
	}
	l.say("sync the folder of histories", l.lock.Sync()) // the new name is to outlive a loss of power
	l.active, l.to, l.opened, l.torn = s, f, now, false
	return nil
}

// seal ends the active segment. Where it can't be zipped it stays as it is, and can be read. l.mu is held.
func (l *Log) seal() error {
	err := errors.Join(l.to.Sync(), l.to.Close())
	l.to = nil
	plain := l.active
	l.active = segment{}
	if plain.size == 0 {
		return errors.Join(err, ignoreMissing(os.Remove(filepath.Join(l.dir, plain.name()))))
	}
	lines, failed := plain.load(l.dir)
	if failed == nil {
		var done segment
		if done, failed = seal(l.dir, plain, lines); failed == nil {
			err = errors.Join(err, ignoreMissing(os.Remove(filepath.Join(l.dir, plain.name()))))
			l.stats.Bytes += done.size - plain.size
			plain = done
		}
	}
	l.sealed = append(l.sealed, plain)
	return errors.Join(err, failed)
}

// Tend does what time brings: seals what has been written for long, removes what is too old or too much. now is the wall clock's as it was
// when the daemon started, moved on by what passed since: a step of the clock removes nothing.
func (l *Log) Tend(b Bounds, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.bounds = b
	var err error
	if l.to != nil {
		age := now.Sub(l.opened)
		if age > min(longest, max(b.Keep/24, time.Minute)) || age < -longest {
			err = l.seal()
		} else if l.dirty && now.Sub(l.synced).Abs() > syncEvery {
			l.synced, l.dirty = now, false
			if err = l.to.Sync(); err != nil {
				err = fmt.Errorf("sync a history: %w", err)
			}
		}
	}
	l.bound(now)
	return err
}

// bound removes the oldest segments that are too old or too many. l.mu is held, or nobody else knows of l.
func (l *Log) bound(now time.Time) {
	old := now.Add(-l.bounds.Keep).Unix()
	gone := 0
	for i := range l.sealed {
		s := &l.sealed[i]
		if s.last >= old && l.stats.Bytes <= l.bounds.MaxBytes {
			break
		}
		if err := ignoreMissing(os.Remove(filepath.Join(l.dir, s.name()))); err != nil {
			l.say("remove an old segment", err)
			break
		}
		l.stats.Bytes -= s.size
		l.stats.Removed++
		gone++
	}
	l.sealed = slices.Delete(l.sealed, 0, gone)
}

// Stats says what there is.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Segments = len(l.sealed)
	if l.to != nil {
		s.Segments++
	}
	return s
}

// Close seals what is written and frees the folder.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	if l.to != nil {
		err = l.seal()
	}
	return errors.Join(err, l.lock.Close())
}

// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	suffix  = ".state"
	maxFile = 256 << 20 // bytes of a bucket
)

// Files is a Store of one file a bucket in one folder. A change writes the bucket's file anew beside the old one and puts it
// in its place, so the old one is whole until the new one is on disk. Nothing is kept in memory.
type Files struct {
	dir  string
	log  *slog.Logger
	lock *os.File   // held while it is open: one process a folder
	mu   sync.Mutex // guards the files, and lock's being closed
}

var _ Store = (*Files)(nil)

// OpenFiles opens the folder, and makes it where it is missing. One that another process has open is ErrInUse.
func OpenFiles(dir string, log *slog.Logger) (*Files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the state folder: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("state folder %s: %w: give each edge a `state:` of its own", dir, ErrInUse)
	} else if err != nil {
		err = fmt.Errorf("lock the state folder %s: %w", dir, err)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Files{dir: dir, log: log, lock: lock}, nil
}

// Close frees the folder.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lock == nil {
		return nil
	}
	err := f.lock.Close()
	f.lock = nil
	return err
}

// Get is the value of a key; ErrNotFound where there is none.
func (f *Files) Get(ctx context.Context, bucket, key string) (json.RawMessage, error) {
	all, err := f.List(ctx, bucket)
	if err != nil {
		return nil, err
	}
	i, ok := find(all, key)
	if !ok {
		return nil, fmt.Errorf("state: %s in %s: %w", key, bucket, ErrNotFound)
	}
	return all[i].Value, nil
}

// List is all of a bucket, in the order of its keys.
func (f *Files) List(ctx context.Context, bucket string) ([]Entry, error) {
	if err := errors.Join(ctx.Err(), checkBucket(bucket)); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read(bucket)
}

// Put writes one entry.
func (f *Files) Put(ctx context.Context, bucket, key string, value json.RawMessage) error {
	if value == nil {
		return fmt.Errorf("state: %s has no value", key)
	}
	return f.Apply(ctx, bucket, []Change{{Key: key, Value: value}})
}

// Delete removes one entry, if it is there.
func (f *Files) Delete(ctx context.Context, bucket, key string) error {
	return f.Apply(ctx, bucket, []Change{{Key: key}})
}

// Apply makes all of the changes or, after an error, none.
func (f *Files) Apply(ctx context.Context, bucket string, changes []Change) error {
	errs := []error{ctx.Err(), checkBucket(bucket)}
	for _, c := range changes {
		errs = append(errs, c.check())
	}
	if err := errors.Join(errs...); err != nil || len(changes) == 0 {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old, err := f.read(bucket)
	if err != nil {
		return err
	}
	return f.write(bucket, merge(old, changes))
}

// merge lays changes over entries; of several of one key the last one counts.
func merge(old []Entry, changes []Change) []Entry {
	changes = slices.Clone(changes)
	slices.SortStableFunc(changes, func(a, b Change) int { return cmp.Compare(a.Key, b.Key) })
	all := make([]Entry, 0, len(old)+len(changes))
	for i, c := range changes {
		if i+1 < len(changes) && changes[i+1].Key == c.Key {
			continue
		}
		at, found := find(old, c.Key)
		all = append(all, old[:at]...)
		old = old[at:]
		if found {
			old = old[1:]
		}
		if c.Value != nil {
			all = append(all, Entry(c))
		}
	}
	return append(all, old...)
}

func find(sorted []Entry, key string) (int, bool) {
	return slices.BinarySearchFunc(sorted, key, func(e Entry, k string) int { return cmp.Compare(e.Key, k) })
}

func (f *Files) path(bucket string) string { return filepath.Join(f.dir, bucket+suffix) }

// read returns what a bucket's file holds. One that can't be understood is set aside, in words, and the bucket is empty; one
// that can't be read at all is an error, and stays.
func (f *Files) read(bucket string) ([]Entry, error) {
	if f.lock == nil {
		return nil, fmt.Errorf("state folder %s: %w", f.dir, ErrClosed)
	}
	path := f.path(bucket)
	doc, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	all, err := decode(bucket, doc)
	if err == nil {
		return all, nil
	}
	aside := path + ".unreadable-" + time.Now().UTC().Format("20060102T150405.000000000Z")
	if moved := os.Rename(path, aside); moved != nil {
		return nil, fmt.Errorf("state file %s: %w; and it can't be set aside: %w", path, err, moved)
	}
	f.log.Error("a state file can't be used: it is set aside, and what it kept is forgotten until somebody mends it",
		"file", path, "why", err, "now", aside)
	return nil, nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	doc, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(doc) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return doc, err
}

// write puts a whole new file in the place of a bucket's. After an error the old one is there as it was.
func (f *Files) write(bucket string, all []Entry) error {
	doc, err := encode(bucket, all)
	if err != nil {
		return err
	}
	if len(doc) > maxFile {
		return fmt.Errorf("state: %s would have %d bytes: at most %d", bucket, len(doc), maxFile)
	}
	path := f.path(bucket)
	fresh := path + ".new"
	if err = writeSynced(fresh, doc); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		if gone := os.Remove(fresh); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return fmt.Errorf("write state, what was kept before stays: %w", err)
	}
	if err := f.lock.Sync(); err != nil { // the lock is the folder: the new name is to last, too
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

func writeSynced(path string, doc []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(doc)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

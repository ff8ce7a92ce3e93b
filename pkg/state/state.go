// SPDX-License-Identifier: Apache-2.0

// Package state keeps what is worth keeping over restarts: small JSON documents by key, in named buckets. Store is what the
// rest of parry is written against; Files is the one there is, a file for each bucket. Keys, values and calls are bounded so
// that a store shared by several edges can take its place.
package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// Bounds of what a Store takes.
const (
	MaxKey   = 200      // bytes
	MaxValue = 64 << 10 // bytes
)

// What callers tell errors apart by.
var (
	ErrNotFound = errors.New("no such key")
	ErrInUse    = errors.New("another process uses it")
	ErrClosed   = errors.New("it is closed")
)

// Entry is one thing that is kept.
type Entry struct {
	Key   string
	Value json.RawMessage // one JSON document, at most MaxValue bytes
}

// Change writes an entry, or (without a value) removes it.
type Change Entry

// Store keeps entries. It may be used from several goroutines. A bucket that nothing was put into is empty; bucket names
// are of a-z 0-9 _ -, keys of A-Z a-z 0-9 and - _ . / =.
type Store interface {
	// Get is the value of a key; ErrNotFound where there is none.
	Get(ctx context.Context, bucket, key string) (json.RawMessage, error)
	// List is all of a bucket, in the order of its keys.
	List(ctx context.Context, bucket string) ([]Entry, error)
	// Put writes one entry. When it returns nil, the entry outlives a loss of power.
	Put(ctx context.Context, bucket, key string, value json.RawMessage) error
	// Delete removes one entry, if it is there.
	Delete(ctx context.Context, bucket, key string) error
	// Apply makes changes one after the other, which costs little more than one. After an error none or some of them are made.
	Apply(ctx context.Context, bucket string, changes []Change) error
	// Close frees the store.
	Close() error
}

var (
	bucketForm = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	keyForm    = regexp.MustCompile(`^[A-Za-z0-9_=/-][A-Za-z0-9_=/.-]*$`)
)

func checkBucket(bucket string) error {
	if !bucketForm.MatchString(bucket) {
		return fmt.Errorf("state: %q is no bucket's name: want 1 to 64 of a-z 0-9 _ -", bucket)
	}
	return nil
}

func (c Change) check() error {
	switch {
	case len(c.Key) > MaxKey || !keyForm.MatchString(c.Key):
		return fmt.Errorf("state: %.300q is no key: want 1 to %d of A-Z a-z 0-9 - _ . / =, and no . first", c.Key, MaxKey)
	case len(c.Value) > MaxValue:
		return fmt.Errorf("state: the value of %s has %d bytes: at most %d", c.Key, len(c.Value), MaxValue)
	case c.Value != nil && !json.Valid(c.Value):
		return fmt.Errorf("state: the value of %s is no JSON document", c.Key)
	}
	return nil
}

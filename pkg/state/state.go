// SPDX-License-Identifier: Apache-2.0

// Package state is the one store for what must be remembered, on one machine or many: NATS JetStream, embedded, with files under
// the state folder, listening on nothing.
//
// Two streams hold it, a message for each key. In `local` is what is one edge's own business (attacks, what is usual, evidence): small
// JSON documents by bucket and key, which Store gives. In `shared` is what edges agree upon: blocks, allows, rules, flags, regulars,
// as entries that merge (Entry, registers). Hub holds the shared ones in memory, too: what it has in memory counts, the stream is how that
// outlives the daemon and reaches the others. So a full disk or a damaged store takes nothing from an edge that runs.
//
// Edges that are each other's `peers:` connect to each other by mutual TLS, and each follows the others' `shared` stream from where it
// stopped: a plain JetStream consumer, read-only, for which the listening side lets nothing else through. What is new by the rule
// of merging goes into the edge's own stream, and from there to whoever hears of it late: what one edge told before it died reaches all by any
// other. There is no quorum, no leader and no order of messages to rely on, so that a partition stops nobody and healing is
// reading on. JetStream's own mirrors were not taken: they need leaf nodes, which refuse a mesh as a loop, and let a peer into the
// JetStream API; and clusters of its servers need a quorum. A cluster that is there already (`peers.url`) holds one stream in
// which each edge writes under its own name and which all follow by the same code.
//
// Clocks: an entry says when it was made and when it expires by the wall clock of its edge, for a reboot and another machine have no
// other in common. An entry from the future by more than MaxAhead waits until its time has come. What an edge decides is always later than
// what it knows of (by a nanosecond, if its clock is behind). Nothing is deleted for being expired until it has been so for an hour of the
// monotonic clock: a wall clock that jumps and comes back has lost nothing. JetStream's own expiry is not used at an edge.
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
	ErrNotOpen  = errors.New("there is no store now") // the hub has said why, and tries on
)

// Item is one thing that is kept.
type Item struct {
	Key   string
	Value json.RawMessage // one JSON document, at most MaxValue bytes
}

// Change writes an item, or (without a value) removes it.
type Change Item

// Store keeps items. It may be used from several goroutines. A bucket that nothing was put into is empty; bucket names
// are of a-z 0-9 _ -, keys of A-Z a-z 0-9 and - _ . / = :.
type Store interface {
	// Get is the value of a key; ErrNotFound where there is none.
	Get(ctx context.Context, bucket, key string) (json.RawMessage, error)
	// List is all of a bucket, in the order of its keys.
	List(ctx context.Context, bucket string) ([]Item, error)
	// Put writes one item. When it returns nil, the item outlives the daemon; a loss of power takes what came in the second before it.
	Put(ctx context.Context, bucket, key string, value json.RawMessage) error
	// Delete removes one item, if it is there.
	Delete(ctx context.Context, bucket, key string) error
	// Apply makes changes one after the other, which costs little more than one. After an error none or some of them are made.
	Apply(ctx context.Context, bucket string, changes []Change) error
}

var (
	bucketForm = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	keyForm    = regexp.MustCompile(`^[A-Za-z0-9_=/:-][A-Za-z0-9_=/.:-]*$`)
)

func checkBucket(bucket string) error {
	if !bucketForm.MatchString(bucket) {
		return fmt.Errorf("state: %q is no bucket's name: want 1 to 64 of a-z 0-9 _ -", bucket)
	}
	return nil
}

func checkKey(key string) error {
	if len(key) > MaxKey || !keyForm.MatchString(key) {
		return fmt.Errorf("state: %.300q is no key: want 1 to %d of A-Z a-z 0-9 - _ . / = :, and no . first", key, MaxKey)
	}
	return nil
}

func (c Change) check() error {
	if err := checkKey(c.Key); err != nil {
		return err
	}
	switch {
	case len(c.Value) > MaxValue:
		return fmt.Errorf("state: the value of %s has %d bytes: at most %d", c.Key, len(c.Value), MaxValue)
	case c.Value != nil && !json.Valid(c.Value):
		return fmt.Errorf("state: the value of %s is no JSON document", c.Key)
	}
	return nil
}

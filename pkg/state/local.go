// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// local is the Store of what is one edge's own business: it goes to disk, and is read from there. While there is none its calls fail,
// saying why.
type local struct{ h *Hub }

var _ Store = local{}

// Local is the store of what is this edge's own.
func (h *Hub) Local() Store { return local{h} }

func localSubject(bucket, key string) string { return localPrefix + bucket + "." + subjectKey(key) }

// Get is the value of a key.
func (l local) Get(ctx context.Context, bucket, key string) (json.RawMessage, error) {
	if err := errors.Join(ctx.Err(), checkBucket(bucket), checkKey(key)); err != nil {
		return nil, err
	}
	d, err := l.h.open()
	if err != nil {
		return nil, err
	}
	m, err := d.local.GetLastMsgForSubject(ctx, localSubject(bucket, key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("state: %s in %s: %w", key, bucket, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("state: read %s in %s: %w", key, bucket, err)
	}
	return json.RawMessage(m.Data), nil
}

// List is all of a bucket, in the order of its keys.
func (l local) List(ctx context.Context, bucket string) ([]Item, error) {
	if err := errors.Join(ctx.Err(), checkBucket(bucket)); err != nil {
		return nil, err
	}
	d, err := l.h.open()
	if err != nil {
		return nil, err
	}
	prefix := localPrefix + bucket + "."
	var all []Item
	bad := 0
	err = load(ctx, d.local, prefix+">", func(subject string, data []byte) {
		item := Item{Key: strings.ReplaceAll(strings.TrimPrefix(subject, prefix), "~", "."), Value: json.RawMessage(data)}
		if Change(item).check() != nil {
			bad++
			return
		}
		all = append(all, item)
	})
	if bad > 0 {
		l.h.tell("items of a bucket can't be read and are left out", fmt.Errorf("%d of %s", bad, bucket))
	}
	slices.SortFunc(all, func(a, b Item) int { return cmp.Compare(a.Key, b.Key) })
	return all, err
}

// Put writes one item.
func (l local) Put(ctx context.Context, bucket, key string, value json.RawMessage) error {
	if value == nil {
		return fmt.Errorf("state: %s has no value", key)
	}
	return l.Apply(ctx, bucket, []Change{{Key: key, Value: value}})
}

// Delete removes one item, if it is there.
func (l local) Delete(ctx context.Context, bucket, key string) error {
	return l.Apply(ctx, bucket, []Change{{Key: key}})
}

// Apply makes changes one after the other.
func (l local) Apply(ctx context.Context, bucket string, changes []Change) error {
	errs := []error{ctx.Err(), checkBucket(bucket)}
	for _, c := range changes {
		errs = append(errs, c.check())
	}
	if err := errors.Join(errs...); err != nil || len(changes) == 0 {
		return err
	}
	d, err := l.h.open()
	if err != nil {
		return err
	}
	var writes []message
	flush := func() error {
		_, err := d.write(ctx, writes)
		writes = writes[:0]
		l.h.wrote(err)
		return err
	}
	for _, c := range changes {
		if c.Value != nil {
			writes = append(writes, message{subject: localSubject(bucket, c.Key), data: c.Value})
			continue
		}
		if err := flush(); err != nil { // one after the other
			return err
		}
		if err := d.forget(ctx, d.local, []string{localSubject(bucket, c.Key)}); err != nil {
			return err
		}
	}
	return flush()
}

// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// holds compares a bucket with key=value words.
func holds(t *testing.T, s Store, bucket string, want ...string) {
	t.Helper()
	all, err := s.List(t.Context(), bucket)
	must(t, err)
	got := []string{}
	for _, e := range all {
		got = append(got, e.Key+"="+string(e.Value))
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("bucket %s (-want +got):\n%s", bucket, diff)
	}
}

func TestItemsAreThereAgain(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "made", "here"), t.Context()
	e := openEdge(t, "a", dir)
	s := e.hub.Local()
	holds(t, s, "a")
	must(t,
		s.Put(ctx, "a", "z/1", json.RawMessage(`{"n": 1}`)), s.Put(ctx, "a", "b.2", json.RawMessage(`"two"`)), s.Put(ctx, "b", "x", json.RawMessage(`null`)),
		s.Apply(ctx, "a", []Change{{"c", json.RawMessage(`3`)}, {"z/1", json.RawMessage(`[]`)}, {"c", json.RawMessage(`4`)}, {"b.2", nil}, {"nothing", nil}}),
	)
	holds(t, s, "a", "c=4", "z/1=[]")
	must(t, e.hub.Close())
	again := openEdge(t, "a", dir).hub.Local()
	holds(t, again, "a", "c=4", "z/1=[]")
	holds(t, again, "b", "x=null")
	if v, err := again.Get(ctx, "a", "c"); err != nil || string(v) != "4" {
		t.Errorf("c is %s, %v", v, err)
	}
	if _, err := again.Get(ctx, "a", "b.2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was removed: %v", err)
	}
	must(t, again.Delete(ctx, "a", "c"))
	holds(t, again, "a", "z/1=[]")
	if _, err := s.List(ctx, "a"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed one says %v", err)
	}
}

func TestWhatNoStoreTakesIsRefused(t *testing.T) {
	s := openEdge(t, "a", t.TempDir()).hub.Local()
	one := json.RawMessage(`1`)
	for _, row := range []struct {
		bucket, key string
		value       json.RawMessage
		say         string
	}{
		{"../etc", "k", one, "no bucket's name"}, {"", "k", one, "no bucket's name"}, {"A", "k", one, "no bucket's name"},
		{"b", "", one, "is no key"}, {"b", "a*b", one, "is no key"}, {"b", "a b", one, "is no key"}, {"b", ".a", one, "is no key"}, {"b", "a>", one, "is no key"},
		{"b", strings.Repeat("k", MaxKey+1), one, "is no key"}, {"b", "k\n", one, "is no key"},
		{"b", "k", json.RawMessage(`{`), "no JSON"}, {"b", "k", nil, "no value"},
		{"b", "k", json.RawMessage(`"` + strings.Repeat("v", MaxValue) + `"`), "at most"},
	} {
		if err := s.Put(t.Context(), row.bucket, row.key, row.value); err == nil || !strings.Contains(err.Error(), row.say) {
			t.Errorf("%.30q/%.30q: %v", row.bucket, row.key, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "b", "k", one); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
	must(t, s.Put(t.Context(), "b", strings.Repeat("k", MaxKey), json.RawMessage(`"`+strings.Repeat("v", MaxValue-2)+`"`)))
}

func TestManyWritersLoseNothing(t *testing.T) {
	s := openEdge(t, "a", t.TempDir()).hub.Local()
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for n := range 10 {
				if err := s.Put(context.Background(), "b", fmt.Sprintf("%d/%d", w, n), json.RawMessage(`1`)); err != nil {
					t.Error(err)
				}
				if _, err := s.List(context.Background(), "b"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	all, err := s.List(t.Context(), "b")
	if err != nil || len(all) != 80 {
		t.Errorf("%d items, %v", len(all), err)
	}
}

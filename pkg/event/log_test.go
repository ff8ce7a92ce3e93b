// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ticking is a clock that moves a second each time it is looked at.
func ticking() func() time.Time {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	return func() time.Time { at = at.Add(time.Second); return at }
}

func filled(size, events int) *Log {
	l := New(size, ticking())
	for n := range events {
		l.Publish(Event{Type: "test", Text: fmt.Sprint(n)})
	}
	return l
}

// drain reads what there is.
func drain(t *testing.T, r *Reader) []string {
	t.Helper()
	got := []string{}
	for r.Ready() {
		e, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Text)
	}
	return got
}

func TestReadersBeginWhereTheySay(t *testing.T) {
	l := filled(8, 5)
	first := l.ring[0].Time
	after := func(id string) *Reader {
		r, err := l.After(id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, row := range []struct {
		name string
		r    *Reader
		want string
	}{
		{"now", l.Now(), ""},
		{"all", l.Since(time.Time{}), "0 1 2 3 4"},
		{"since a time", l.Since(first.Add(3 * time.Second)), "3 4"},
		{"since tomorrow", l.Since(first.AddDate(0, 0, 1)), ""},
		{"after one", after(l.run + "-2"), "3 4"},
		{"after the last", after(l.run + "-4"), ""},
		{"after another run's", after("ABCDEFGH-77"), "0 1 2 3 4"},
	} {
		if got := strings.Join(drain(t, row.r), " "); got != row.want {
			t.Errorf("%s: %q, not %q", row.name, got, row.want)
		}
	}
	for _, id := range []string{"", "x", "x-", "x-y", "x--1", l.run + "-5", l.run + "-18446744073709551615"} {
		if _, err := l.After(id); err == nil {
			t.Errorf("%q is taken for an ID", id)
		}
	}
	if _, err := New(8, ticking()).After("ABCDEFGH-0"); err != nil {
		t.Errorf("another run's ID and an empty log: %v", err)
	}
}

func TestWhoLagsIsToldHowMuchIsGone(t *testing.T) {
	l := filled(4, 0)
	r := l.Now()
	for n := range 10 {
		l.Publish(Event{Type: "test", Text: fmt.Sprint(n)})
	}
	e, err := r.Next(t.Context())
	if err != nil || e.Type != Lost || e.Data["events"] != uint64(6) || e.ID != "" {
		t.Fatalf("%+v, %v", e, err)
	}
	if diff := cmp.Diff([]string{"6", "7", "8", "9"}, drain(t, r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadersWaitAndAreWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(4, time.Now)
		var got [3]string
		var readers sync.WaitGroup
		for i := range got {
			r := l.Now()
			readers.Go(func() {
				for {
					e, err := r.Next(t.Context())
					if errors.Is(err, ErrEnded) {
						return
					}
					got[i] += e.Text
				}
			})
		}
		for i, text := range []string{"a", "b", "c"} {
			synctest.Wait()
			l.Publish(Event{Text: text})
			if synctest.Wait(); got != [3]string{"abc"[:i+1], "abc"[:i+1], "abc"[:i+1]} {
				t.Errorf("after %s they have read %q", text, got)
			}
		}
		l.End()
		l.End()
		l.Publish(Event{Text: "too late"})
		readers.Wait()
		if got != [3]string{"abc", "abc", "abc"} {
			t.Errorf("they read %q", got)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := filled(4, 0).Now().Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it says %v", err)
	}
}

// What is published before the end is read, however late.
func TestTheEndComesLast(t *testing.T) {
	l := filled(4, 2)
	r := l.Since(time.Time{})
	l.End()
	if got := strings.Join(drain(t, r), ""); got != "01" {
		t.Errorf("it read %q", got)
	}
	if _, err := r.Next(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("then %v", err)
	}
}

func TestTypesHaveGroups(t *testing.T) {
	e := Event{Type: AttackStart}
	for kind, want := range map[string]bool{"attack": true, "attack.start": true, "attack.end": false, "att": false, "": false, "attack.": false} {
		if e.Is(kind) != want {
			t.Errorf("attack.start is %q: %t", kind, !want)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	l := New(DefaultSize, time.Now)
	for b.Loop() {
		l.Publish(Event{Type: AttackState, Text: "x"})
	}
}

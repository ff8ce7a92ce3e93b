// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
)

// longEdge yields sessions without end, or an error after some.
type longEdge struct {
	*apitest.Edge
	failAfter int
}

func (e longEdge) PickSessions(ctx context.Context, _ api.Filter) iter.Seq2[api.Session, error] {
	return func(yield func(api.Session, error) bool) {
		for i := 0; ctx.Err() == nil; i++ {
			if e.failAfter > 0 && i == e.failAfter {
				yield(api.Session{}, errors.New("the walk ended early"))
				return
			}
			if !yield(api.Session{ID: "1"}, nil) {
				return
			}
		}
	}
}

func TestAStreamOfSessionsThatFailsIsAnError(t *testing.T) {
	for name, row := range map[string]struct {
		after int
		want  string
	}{
		"before the first piece is sent": {1, "the walk ended early"},
		"in the middle":                  {10_000, "broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, longEdge{apitest.World(), row.after})
			got, err := c.Sessions(t.Context(), api.Filter{})
			if err == nil || !strings.Contains(err.Error(), row.want) || len(got) >= row.after {
				t.Errorf("%d sessions, %v: want an error that says %q", len(got), err, row.want)
			}
		})
	}
}

func TestWhoStopsReadingSessionsEndsTheStream(t *testing.T) {
	c := serve(t, longEdge{apitest.World(), 0})
	n := 0
	for _, err := range c.PickSessions(t.Context(), api.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d sessions", n)
	}
}

func TestNoSessionsAreAnEmptyList(t *testing.T) {
	c := serve(t, &apitest.Edge{})
	if got, err := c.Sessions(t.Context(), api.Filter{}); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/history"
)

// asked notes what reaches the edge.
type asked struct {
	*apitest.Edge
	filter  *history.Filter
	players *api.PlayerFilter
	past    *api.PastQuery
	who     *string
}

func (e asked) History(ctx context.Context, f history.Filter) iter.Seq2[history.Record, error] {
	*e.filter = f
	return e.Edge.History(ctx, f)
}

func (e asked) Players(ctx context.Context, f api.PlayerFilter) ([]api.Player, error) {
	*e.players = f
	return e.Edge.Players(ctx, f)
}

func (e asked) Past(ctx context.Context, q api.PastQuery) (api.Past, error) {
	*e.past = q
	return e.Edge.Past(ctx, q)
}

func (e asked) Player(ctx context.Context, who string) (api.PlayerPage, error) {
	*e.who = who
	return e.Edge.Player(ctx, who)
}

func sameShape(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// What is asked for reaches the edge whole, and what it answers comes back as it is.
func TestThePastOverTheSocket(t *testing.T) {
	edge := asked{apitest.World(), new(history.Filter), new(api.PlayerFilter), new(api.PastQuery), new(string)}
	c := serve(t, edge)
	f := history.Filter{
		ID: "9f3a5c7711e0d2b4", Service: "arena", Client: netip.MustParsePrefix("203.0.113.0/24"), Server: "eu-1", Game: "quake3", Player: "grinder", EndedBy: "block",
		Since: apitest.Epoch().Add(-time.Hour), Until: apitest.Epoch().Add(1500 * time.Microsecond), Limit: 7,
	}
	got, err := api.Collect(c.History(t.Context(), f))
	if err != nil {
		t.Fatal(err)
	}
	sameShape(t, "records", apitest.Records()[:1], got)
	sameShape(t, "filter", f, *edge.filter)
	raw, err := api.Collect(c.RawHistory(t.Context(), history.Filter{}))
	if err != nil || len(raw) != 2 || !json.Valid(raw[1]) || strings.ContainsRune(string(raw[1]), '\x1b') {
		t.Errorf("%s, %v", raw, err)
	}
	players := api.PlayerFilter{Name: "Sarge", Client: f.Client, Service: "arena", Lately: time.Hour, Limit: 9}
	if list, err := c.Players(t.Context(), players); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	sameShape(t, "players", players, *edge.players)
	if page, err := c.Player(t.Context(), "a/b?c #%d"); !errors.Is(err, api.ErrNotFound) || *edge.who != "a/b?c #%d" {
		t.Errorf("%+v, %v: asked for %q", page, err, *edge.who)
	}
	if page, err := c.Player(t.Context(), "Grinder"); err != nil || len(page.History) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	for _, q := range []api.PastQuery{
		{Address: netip.MustParseAddr("203.0.113.7"), At: apitest.Epoch().Add(-time.Hour)},
		{Player: "a&b", At: apitest.Epoch().Add(-time.Hour - time.Millisecond)},
	} {
		if p, err := c.Past(t.Context(), q); err != nil || len(p.History) != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		sameShape(t, "past", q, *edge.past)
	}
	if x, err := c.Explain(t.Context(), api.ExplainQuery{Player: "Sarge"}); err != nil || *x.Player != "Sarge" || x.Address != netip.MustParseAddr("198.51.100.7") {
		t.Errorf("%+v, %v", x, err)
	}
	edge.Fail = errors.New("the disk is gone")
	if _, err := api.Collect(c.History(t.Context(), f)); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("a history that fails: %v", err)
	}
}

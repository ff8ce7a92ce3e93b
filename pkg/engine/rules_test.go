// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/event"
	"parry/test/need"
)

// ruledEngine is an engine as far as rules need one.
func ruledEngine(t *testing.T, dir string, edge *loader.Edge, text string) edgeAPI {
	t.Helper()
	hub := hubOf(t, dir)
	e := &Engine{cfg: parse(t, text), log: slog.New(slog.DiscardHandler), edge: edge, events: event.New(16, time.Now), plan: &loader.Plan{},
		health: vitals{errors: map[string]uint64{}}}
	fault := func(what string, err error) { e.fault(what, err) }
	e.memory = &memory{hub: hub, store: hub.Local(), log: e.log, now: time.Now, fault: fault}
	e.rules = recallRules(t.Context(), e.memory)
	return edgeAPI{e: e}
}

func openRuled(t *testing.T, text string) *loader.Edge {
	t.Helper()
	need.Root(t)
	edge, err := loader.Open(loader.Options{Sizes: loader.Sizes{Sessions: 64, Blocks: 64, Allows: 64, Prefixes: 64, Sources: 64, Fragments: 64, Services: 16, NAT4: 1, NAT6: 1},
		Log: slog.New(slog.DiscardHandler), Injected: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = edge.Close() })
	plan, _, err := planOf(parse(t, text), noRoutes{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	g, err := edge.Prepare(plan)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if err := edge.Use(g); err != nil {
		t.Fatal(err)
	}
	return edge
}

const ruledText = `services:
  - {name: one, listen: "203.0.113.10:1", protocol: udp, forward: local}
  - {name: two, listen: "203.0.113.10:2", protocol: [udp, tcp], forward: local}
`

// What is kept of rules is there again, with its numbers and slots; what is refused leaves no trace.
func TestRulesAreKept(t *testing.T) {
	edge, dir := openRuled(t, ruledText), t.TempDir()
	a := ruledEngine(t, dir, edge, ruledText)
	add := func(n api.NewRule) api.Rule {
		t.Helper()
		r, err := a.AddRule(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	add(api.NewRule{Expression: "udp and length > 1200", Action: "drop"})
	add(api.NewRule{Expression: "src port 53", Action: "limit:2k/source", Service: "two", Monitor: true})
	third := add(api.NewRule{Expression: "tcp", Action: "count", Established: true})
	for _, row := range []struct {
		n    api.NewRule
		kind error
		want string
	}{
		{api.NewRule{Expression: "udp and prot 5", Action: "drop"}, api.ErrInvalid, "\"prot\" means nothing here: did you mean port?\n  udp and prot 5\n          ^^^^"},
		{api.NewRule{Expression: "udp", Action: "dorp"}, api.ErrInvalid, "did you mean drop?"},
		{api.NewRule{Expression: "udp", Action: "drop", Service: "tow"}, api.ErrInvalid, `there is no service "tow": did you mean two?`},
		{api.NewRule{Expression: "udp", Action: "drop"}, api.ErrInvalid, "it would drop every packet that players send to service one"},
		{api.NewRule{Expression: "ip", Action: "drop", Service: "two"}, api.ErrInvalid, "service two"},
	} {
		if _, err := a.AddRule(t.Context(), row.n); !errors.Is(err, row.kind) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v, want %q", row.n, err, row.want)
		}
	}
	if err := a.DelRule(t.Context(), third.ID); err != nil {
		t.Fatal(err)
	}
	if err := a.DelRule(t.Context(), third.ID); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("a rule that is gone: %v", err)
	}
	fourth := add(api.NewRule{Expression: "udp", Action: "drop", Service: "one", Force: true, Expires: new(time.Now().Add(time.Hour))})
	if fourth.ID != 4 {
		t.Errorf("the fourth rule is number %d", fourth.ID)
	}
	before, err := a.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.DelRule(context.Background(), 4); err != nil {
		t.Fatal(err)
	}
	must(t, a.e.memory.close())

	a = ruledEngine(t, dir, edge, ruledText)
	after, err := a.Rules(t.Context())
	if err != nil || len(after) != 2 || len(before) != 3 {
		t.Fatalf("%d rules before, %d after: %v", len(before), len(after), err)
	}
	for i := range after {
		if !after[i].Added.Equal(before[i].Added) {
			t.Errorf("rule %d was added at %v, now at %v", after[i].ID, before[i].Added, after[i].Added)
		}
		after[i].Added = before[i].Added
		if after[i] != before[i] {
			t.Errorf("a rule was %+v, is %+v", before[i], after[i])
		}
	}
	if r, err := a.AddRule(t.Context(), api.NewRule{Expression: "tcp", Action: "count"}); err != nil || r.ID != 5 {
		t.Errorf("the fifth rule: %+v, %v", r, err)
	}
}

// Rules whose time is over go, and so do those that were over when the daemon came back.
func TestRulesEnd(t *testing.T) {
	edge, dir := openRuled(t, ruledText), t.TempDir()
	a := ruledEngine(t, dir, edge, ruledText)
	if _, err := a.AddRule(t.Context(), api.NewRule{Expression: "tcp", Action: "count", Expires: new(time.Now().Add(time.Hour))}); err != nil {
		t.Fatal(err)
	}
	a.e.expireRules(t.Context())
	if len(a.e.rules.all) != 1 {
		t.Fatal("it went before its time")
	}
	a.e.rules.all[0].Expires = new(time.Now().Add(-time.Second))
	a.e.expireRules(t.Context())
	if len(a.e.rules.all) != 0 {
		t.Error("its time is over, and it is there")
	}
	if left, err := a.e.rules.store.List(t.Context(), bucketRules); err != nil || len(left) != 1 || left[0].Key != keyNext {
		t.Errorf("%v is kept, %v", left, err)
	}
}

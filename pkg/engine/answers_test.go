// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/answer"
	"parry/pkg/api"
	"parry/pkg/metrics"
	"parry/pkg/query"
)

const games = `
services:
  - {name: arena, listen: ["203.0.113.10:27960", "203.0.113.11:27962"], game: openarena, pool: p}
  - {name: shared, listen: "203.0.113.12:27960-27962", game: quake3, pool: p}
  - {name: other, listen: ["203.0.113.13:27015", "203.0.113.13:27017"], game: tf2, pool: p}
  - {name: silent, listen: "203.0.113.14:27015", game: tf2, pool: q, queries: {answer: "off"}}
  - {name: shooter, listen: "203.0.113.15:27015", game: tf2, pool: q}
  - {name: mine, listen: ["203.0.113.10:19132", "203.0.113.11:19132", "[2001:db8::10]:19133"], game: bedrock, forward: local}
  - {name: plain, listen: "203.0.113.10:5000", protocol: udp, pool: q}
pools:
  - name: p
    servers: [{name: a, address: "10.0.1.11:5000-5002"}, {name: b, address: "10.0.1.12:6000-6002"}]
  - name: q
    servers: [{name: c, address: "10.0.1.13:27015"}]
`

func TestWhoIsAsked(t *testing.T) {
	var got []string
	for _, v := range targetsOf(parse(t, games)) {
		got = append(got, fmt.Sprintf("%s/%s+%d %v %s", v.Pool, v.Server, v.Offset, v.Addr, v.Family))
	}
	want := []string{
		"p/a+0 10.0.1.11:5000 quake3", "p/b+0 10.0.1.12:6000 quake3", "p/a+2 10.0.1.11:5002 quake3", "p/b+2 10.0.1.12:6002 quake3",
		"p/a+1 10.0.1.11:5001 quake3", "p/b+1 10.0.1.12:6001 quake3", "q/c+0 10.0.1.13:27015 source",
		"/mine+0 203.0.113.10:19132 raknet", "/mine+1 [2001:db8::10]:19133 raknet",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestWhoseAnswersAreKept(t *testing.T) {
	p, _ := plan(t, games, oneLAN{})
	got := map[string]bool{}
	for _, s := range p.Services {
		got[s.Name] = s.Answers
	}
	want := map[string]bool{"arena": true, "shared": true, "other": false, "silent": false, "shooter": true, "mine": true, "plain": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if got := uncached(parse(t, games)); len(got) != 1 || got["other"] == "" {
		t.Errorf("not kept: %v", got)
	}
}

func TestCachesAreBounded(t *testing.T) {
	text := `
services:
  - {name: wide, listen: "203.0.113.10:20000-24095", game: quake3, pool: p}
  - {name: wider, listen: "203.0.113.11:20000-24096", game: quake3, pool: q}
  - {name: one, listen: "203.0.113.12:20000", game: quake3, pool: r}
pools:
  - {name: p, servers: [{name: a, address: "10.0.1.11:20000-24095"}]}
  - {name: q, servers: [{name: a, address: "10.0.1.12:20000-24096"}]}
  - {name: r, servers: [{name: a, address: "10.0.1.13:20000"}]}
`
	c := parse(t, text)
	if got := cached(c); len(got) != 1 || !got[0] || len(targetsOf(c)) != mostCaches {
		t.Errorf("kept %v, %d targets", got, len(targetsOf(c)))
	}
	if got := uncached(c); len(got) != 2 {
		t.Errorf("not kept: %v", got)
	}
}

// Services share the cells of their pool: one whose ports reach further than those before it needs more, gaps included.
func TestCachesOfOnePoolAreBounded(t *testing.T) {
	c := parse(t, `
services:
  - {name: one, listen: "203.0.113.10:20000", game: quake3, pool: p}
  - {name: wide, listen: ["203.0.113.11:20000", "203.0.113.11:24095"], game: quake3, pool: p}
  - {name: wider, listen: ["203.0.113.12:20000", "203.0.113.12:24096"], game: quake3, pool: p}
pools:
  - {name: p, servers: [{name: a, address: "10.0.1.11:20000"}]}
`)
	if got := cached(c); len(got) != 2 || !got[0] || !got[1] {
		t.Errorf("kept %v, want the first two", got)
	}
}

func TestAnswersAreTold(t *testing.T) {
	c := parse(t, games)
	target := func(server string, last byte) answer.Target {
		return answer.Target{
			Cell: answer.Cell{Pool: "p", Server: server}, Family: "quake3",
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, last}), 5000),
		}
	}
	states := answerStates{}
	for _, s := range []answer.State{
		{Target: target("a", 11), Kind: query.Quake3Info, Known: true, Age: 1500 * time.Millisecond, Fresh: true},
		{Target: target("b", 12), Kind: query.Quake3Info, Errors: 3, Why: errors.New("no reply")},
		{Target: target("b", 12), Kind: query.Quake3Status, Known: true, Age: time.Minute, Errors: 2},
	} {
		states[s.Cell] = append(states[s.Cell], s)
	}
	ms := func(n int64) *int64 { return &n }
	ap := netip.MustParseAddrPort
	want := []api.Answer{
		{Kind: "info", Server: "a", Address: ap("10.0.1.11:5000"), AgeMS: ms(1500), Fresh: true},
		{Kind: "info", Server: "b", Address: ap("10.0.1.12:5000"), Errors: 3, Detail: "no reply"},
		{Kind: "status", Server: "b", Address: ap("10.0.1.12:5000"), AgeMS: ms(60000), Errors: 2},
	}
	same := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	for _, name := range []string{"arena", "shared"} {
		if diff := cmp.Diff(want, answersOf(states.of(c, c.Service(name))), same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, name := range []string{"other", "silent", "plain"} {
		if got := states.of(c, c.Service(name)); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	sums := map[string]metrics.Answers{
		"info": {Fresh: 1, Stale: 1, Oldest: 1500 * time.Millisecond, Errors: 3}, "status": {Stale: 1, Oldest: time.Minute, Errors: 2},
	}
	if diff := cmp.Diff(sums, answerMetrics(states.of(c, c.Service("arena")))); diff != "" {
		t.Errorf("sums (-want +got):\n%s", diff)
	}
}

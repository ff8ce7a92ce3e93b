// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/blocklist"
)

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func of(change func(*api.Explanation)) *api.Explanation {
	e := &api.Explanation{Address: netip.MustParseAddr("198.51.100.7"), Time: now}
	change(e)
	return e
}

func TestText(t *testing.T) {
	const free, none, quiet = "Your address 198.51.100.7 is not blocked.", "It has no connection to a game of ours at this moment.",
		"None of its packets was dropped lately, as far as the edge remembers."
	ends := now.Add(time.Hour)
	why := func(reason string, ago time.Duration, would bool) api.DropReason {
		return api.DropReason{Service: "arena", Reason: reason, Last: now.Add(-ago), Would: would}
	}
	for _, x := range []struct {
		name string
		e    *api.Explanation
		want []string
	}{
		{"nothing is known", of(func(*api.Explanation) {}), []string{free, none, quiet}},
		{"blocked for a while", of(func(e *api.Explanation) {
			e.Blocked = true
			e.Entries = []api.ListedEntry{{List: api.Block, Entry: blocklist.Entry{Expires: &ends}}}
		}), []string{"Your address 198.51.100.7 is blocked until 2026-01-31 13:00 UTC.", none, quiet}},
		{"blocked for ever", of(func(e *api.Explanation) { e.Blocked = true }), []string{"Your address 198.51.100.7 is blocked.", none, quiet}},
		{"allowed", of(func(e *api.Explanation) { e.Allowed = true }), []string{"Your address 198.51.100.7 is on our list of welcome players.", none, quiet}},
		{"plays", of(func(e *api.Explanation) {
			e.Sessions = []api.Session{{Service: "arena", State: api.Proven}, {Service: "arena", State: api.Proven}, {Service: "craft", State: api.Unproven}}
		}), []string{free, "It is connected to arena.", quiet}},
		{"begins", of(func(e *api.Explanation) { e.Sessions = []api.Session{{Service: "craft", State: api.Unproven}} }),
			[]string{free, "It has begun to connect, and the game server has not answered yet, or nothing came back to it.", quiet}},
		{"at a limit", of(func(e *api.Explanation) {
			e.Limits = []api.LimitUse{{Limit: "sessions", Used: 1}, {Limit: "new_sessions", Used: 0.95, Enforced: true}}
		}), []string{free, none, "It is at its limit at this moment (new sessions).", quiet}},
		{"each cause once, none that only watches, none of long ago", of(func(e *api.Explanation) {
			e.Reasons = []api.DropReason{
				why("greylisted", time.Second, false), why("rate_packets", 30*time.Second, false), why("stranger_rate", 40*time.Second, false),
				why("gate_refused", 10*time.Second, true), why("denied", time.Hour, false), why("of_the_future", 10*time.Minute, false),
			}
		}), []string{free, none,
			"Just now, packets were dropped: during an attack, whom the edge does not know has to knock twice. The game does that by itself: give it some seconds.",
			"30 seconds ago, packets were dropped: more packets came than one player sends. " + network,
			"10 minutes ago, packets were dropped: the edge dropped some of its packets. Tell us when it was.",
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			got := Text(x.e)
			if strings.HasPrefix(got[len(got)-1], "If you can't join") {
				got = got[:len(got)-1]
			}
			if diff := cmp.Diff(x.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Each reason that the fast path knows has words.
func TestEveryReasonHasWords(t *testing.T) {
	names, err := loader.ReadNames()
	if err != nil {
		t.Fatal(err)
	}
	known := reasons()
	for i, name := range names.Reasons {
		if _, ok := known[name]; i > 0 && !ok {
			t.Errorf("%s has no words", name)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("%s is no reason", name)
	}
}

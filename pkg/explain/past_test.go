// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/api"
	"parry/pkg/attack"
	"parry/pkg/blocklist"
	"parry/pkg/history"
)

func TestPast(t *testing.T) {
	me := netip.MustParseAddr("198.51.100.7")
	record := func(from, to time.Duration, by string) history.Record {
		return history.Record{Service: "arena", Start: now.Add(from), End: now.Add(to), EndedBy: by}
	}
	for _, x := range []struct {
		name string
		p    api.Past
		want []string
	}{
		{"nothing is known", api.Past{Address: &me}, []string{"The address 198.51.100.7 had no connection to a game of ours at that moment, as far as is known."}},
		{"played, and was blocked", api.Past{
			Address: &me, History: []history.Record{record(-time.Minute, time.Minute, history.ByBlock)},
			Entries: []api.ListedEntry{{List: api.Allow}, {List: api.Block, Entry: blocklist.Entry{Added: now}}},
			Reasons: []api.DropReason{{Reason: "denied"}, {Reason: "denied"}, {Reason: "rate_packets", Would: true}},
			Attacks: []attack.Record{{Service: "arena", Kinds: []string{"fragments"}}},
		}, []string{
			"The address 198.51.100.7 was connected to arena from 11:59:00 UTC until 12:01:00 UTC; then the address was blocked.",
			"An entry of the block list held for it then, and still does.",
			"Packets of its were dropped around then: the address is blocked. If you think that is a mistake, answer with your player name and when you last played.",
			"arena was under attack at that moment (fragments).",
		}},
		{"plays on", api.Past{Player: new("Steve"), Sessions: []api.Session{{Service: "craft"}}}, []string{"The player was connected to craft, and still is."}},
		{"before and after", api.Past{Player: new("Steve"), History: []history.Record{
			record(4*time.Minute, 5*time.Minute, history.ByIdle), record(2*time.Minute, 3*time.Minute, history.ByClient),
			record(-2*time.Minute, -time.Minute, history.ByLimit), record(-9*time.Minute, -3*time.Minute, history.ByIdle),
		}}, []string{
			"The player had no connection to a game of ours at that moment, as far as is known.",
			"The player had been connected to arena until 11:59:00 UTC: more came than the limits allow.",
			"The player was connected to arena from 12:02:00 UTC on.",
		}},
	} {
		x.p.At = now
		if diff := cmp.Diff(x.want, Past(&x.p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
	}
}

func TestEveryEndHasWords(t *testing.T) {
	known := endings()
	for _, word := range history.EndedBy() {
		if strings.HasPrefix(Ending(word), "it ended by") {
			t.Errorf("%s has no words", word)
		}
		delete(known, word)
	}
	for word := range known {
		t.Errorf("%s is no end", word)
	}
}

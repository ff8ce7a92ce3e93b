// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
)

// rules as `parry rule list --json` shows them.
func (e *edge) rules() []api.Rule {
	e.t.Helper()
	var all []api.Rule
	must(e.t, json.Unmarshal([]byte(e.ok("rule", "list", "--json")), &all))
	return all
}

// wantRule wants there to be one rule.
func (e *edge) wantRule(what string, good func(api.Rule) bool) {
	e.t.Helper()
	all := e.rules()
	if len(all) != 1 || !good(all[0]) {
		e.t.Errorf("want %s, there is %+v", what, all)
	}
}

// An operator's rules come to a running edge, judge strangers' packets and, if they say so, sessions'; they hold while the daemon is dead,
// are there again after a restart with what they counted, and end; a player in a match loses nothing by any of it.
func TestAnOperatorsRules(t *testing.T) {
	t.Parallel()
	s := newSite(t, "rules", siteOptions{})
	s.edge.run(unlimited + yaml(service{name: "mine", listen: at(vip4, 7000).String(), forward: "nat", servers: []string{at(server4, 7000).String()}}))
	s.udpServer(s.servers, at(server4, 7000), "")
	in := s.udpPlayer(s.players, s.playerAt(1), at(vip4, 7000))
	in.join(patience)
	match := in.play(2 * time.Millisecond)
	match.more(20)
	says := func(word string, through bool) {
		t.Helper()
		p := s.udpPlayer(s.players, s.playerAt(1), at(vip4, 7000))
		if !through {
			p.silent([]byte(word), 300*time.Millisecond)
		} else if got, err := p.ask([]byte(word)); err != nil || string(got) != word {
			t.Errorf("%q: answer %q, %v", word, got, err)
		}
	}
	says("cheat", true)

	s.edge.ok("rule", "add", "udp and dst port 7000 and udp[8:4] = 0x63686561", "--action", "drop", "--service", "mine")
	says("cheat", false)
	says("cheer", true)
	s.edge.wantRule("one that dropped", func(r api.Rule) bool {
		return r.ID == 1 && r.Packets > 0 && r.Dropped == r.Packets && r.Service == "mine"
	})
	if s.edge.drops("rule") == 0 {
		t.Error("nothing was counted as dropped by a rule")
	}
	match.more(20)
	for _, row := range []struct{ want, text string }{
		{"it would drop every packet that players send to service mine", "udp"},
		{"there is no service \"mien\": did you mean mine?", "port 53 --service mien"},
		{"\"prot\" means nothing here: did you mean port?\n  udp and prot 53\n          ^^^^", "udp and prot 53"},
	} {
		text, service, _ := strings.Cut(row.text, " --service ")
		args := []string{"rule", "add", text, "--action", "drop"}
		if service != "" {
			args = append(args, "--service", service)
		}
		if o := s.edge.cli("", args...); o.code != 2 || !strings.Contains(o.err, row.want) {
			t.Errorf("parry rule add %s: exit code %d, %q; want it refused with %q", row.text, o.code, o.err, row.want)
		}
	}
	s.edge.wantRule("still the one", func(r api.Rule) bool { return r.ID == 1 })

	s.edge.kill()
	says("cheat", false)
	says("cheer", true)
	s.edge.start()
	s.edge.wantRule("what it counted before", func(r api.Rule) bool { return r.ID == 1 && r.Dropped >= 2 })
	says("cheat", false)
	match.more(20)

	s.edge.ok("reload")
	says("cheat", false)
	s.edge.ok("rule", "del", "1")
	says("cheat", true)
	s.edge.ok("rule", "add", "udp[8:4] = 0x63686561", "--action", "drop", "--ttl", "2s", "--established")
	says("cheat", false)
	s.edge.wantRule("the second", func(r api.Rule) bool { return r.ID == 2 && r.Expires != nil })
	await(t, patience, "the rule ends", func() bool { return len(s.edge.rules()) == 0 })
	says("cheat", true)
	match.more(20)
	if got := match.end(); got.lost > 0 {
		t.Errorf("the player in a match: %v", got)
	}
}

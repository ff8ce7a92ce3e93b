// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/api"
	"parry/pkg/netns"
	"parry/pkg/query"
	"parry/pkg/query/querytest"
)

const (
	sourcePort    = 27015
	quakePort     = 27960
	raknetPort    = 19132
	stalePatience = 40 * time.Second // rules hold for 30 s
)

// querySite is a site whose edge answers for servers of three protocols: by nat at vip4 and vip6, by transparent at
// third4, and for one that runs on the edge's own host at fourth4.
type querySite struct {
	*site
	source *querytest.Source
	quake  *querytest.Quake3
	raknet *querytest.RakNet
}

func newQuerySite(t *testing.T, name, more string) *querySite {
	t.Helper()
	long := strings.Repeat("long ", 220) // what no buffer of a short query has room for unless it is padded
	s := &querySite{
		site: newSite(t, name, siteOptions{}),
		source: &querytest.Source{
			Info:    querytest.Info("A server", "ctf_2fort", 7, 24, "\x20"+long+"\x00"), // keywords
			Players: querytest.Players(70), Rules: querytest.Rules(200),
		},
		quake: &querytest.Quake3{
			Info:   `\hostname\An arena\sv_maxclients\8\mapname\oa_dm1\clients\2\about\` + long,
			Status: `\sv_hostname\An arena\mapname\oa_dm1\sv_maxclients\8\about\` + long, Players: "3 0 \"one\"\n5 48 \"two\"\n",
		},
		raknet: &querytest.RakNet{Text: `MCPE;A world;390;1.20.80;3;20;1234567890;Level;Survival;1;19132;19133;` + long},
	}
	for _, a := range []netip.Addr{server4, server6} {
		s.answerAt(s.servers, at(a, sourcePort), s.source.Handle)
		s.answerAt(s.servers, at(a, quakePort), s.quake.Handle)
		s.answerAt(s.servers, at(a, raknetPort), s.raknet.Handle)
	}
	s.answerAt(s.gate, at(fourth4, sourcePort), s.source.Handle)
	text := "services:\n"
	pools := "pools:\n"
	for _, g := range []struct {
		game string
		port uint16
	}{{"source", sourcePort}, {"quake3", quakePort}, {"raknet", raknetPort}} {
		for _, v := range []struct {
			name, forward string
			vip, server   netip.Addr
		}{{"nat4", "nat", vip4, server4}, {"nat6", "nat", vip6, server6}, {"transparent", "transparent", third4, server4}} {
			name := g.game + "-" + v.name
			text += fmt.Sprintf("  - {name: %s, listen: %q, game: %s, forward: %s, pool: %s}\n", name, at(v.vip, g.port), g.game, v.forward, name)
			pools += fmt.Sprintf("  - {name: %s, servers: [{name: one, address: %q}]}\n", name, at(v.server, g.port))
		}
	}
	text += fmt.Sprintf("  - {name: source-local, listen: %q, game: source, forward: local}\n", at(fourth4, sourcePort))
	s.edge.run(more + text + pools)
	return s
}

func (s *querySite) answerAt(h *netns.Host, at netip.AddrPort, handle querytest.Handler) {
	s.t.Helper()
	querytest.Serve(s.t, s.udp(h, at), handle)
}

// awaitAnswers waits until all answers of a service are fresh, or none is.
func (s *site) awaitAnswers(service string, kinds int, fresh bool, patience time.Duration) {
	s.t.Helper()
	var last []api.Answer
	await(s.t, patience, fmt.Sprintf("%d answers of %s (fresh: %v)", kinds, service, fresh), func() bool {
		n := 0
		for _, v := range s.edge.status().Services {
			if v.Name != service {
				continue
			}
			for last = v.Answers; n < len(last) && last[n].Fresh == fresh; n++ {
			}
		}
		return n == len(last) && n >= kinds
	})
}

// ask asks a service as a player does.
func (s *site) ask(vip netip.AddrPort, q query.Question) (r *query.Reply, err error) {
	err = s.players.Do(func() error {
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		defer cancel()
		r, err = query.Ask(ctx, vip, q)
		return err
	})
	return r, err
}

// sameReply compares replies but for the number that a split one has of its own.
func sameReply(t *testing.T, what string, want, got *query.Reply) {
	t.Helper()
	bare := func(r *query.Reply) [][]byte {
		var all [][]byte
		for _, p := range r.Packets {
			p = bytes.Clone(p)
			if len(p) > 8 && string(p[:4]) == "\xfe\xff\xff\xff" {
				clear(p[4:8])
			}
			all = append(all, p)
		}
		return all
	}
	if diff := cmp.Diff(bare(want), bare(got)); diff != "" {
		t.Errorf("%s: (-the server +the edge)\n%s", what, diff)
	}
}

// The edge answers in its servers' place, byte for byte, and no query becomes a session; once a server is silent, its answers are
// given no more and its players' queries go to it.
func TestQueriesAreAnsweredByTheEdge(t *testing.T) {
	s := newQuerySite(t, "answers", unlimited+"queries: {unproven_kbps: 0}\n") // answers this long are soon over that budget
	s.padded(s.atPlayers)
	questions := map[string][]query.Question{
		"source": {query.SourceInfo, query.SourcePlayers, query.SourceRules}, "quake3": {query.Quake3Info, query.Quake3Status}, "raknet": {query.RakNetPing},
	}
	ports := map[string]uint16{"source": sourcePort, "quake3": quakePort, "raknet": raknetPort}
	vips := map[string]netip.Addr{"nat4": vip4, "nat6": vip6, "transparent": third4, "local": fourth4}
	own := func(v string, game string) netip.AddrPort {
		a := map[string]netip.Addr{"nat6": server6, "local": fourth4}[v]
		if !a.IsValid() {
			a = server4
		}
		return at(a, ports[game])
	}
	for game, asked := range questions {
		for v, vip := range vips {
			if v == "local" && game != "source" {
				continue
			}
			t.Run(game+"-"+v, func(t *testing.T) {
				s := &querySite{site: s.of(t)}
				s.awaitAnswers(game+"-"+v, len(asked), true, patience)
				for _, q := range asked {
					want, err := s.askAt(own(v, game), q, v == "local")
					must(t, err)
					got, err := s.ask(at(vip, ports[game]), q)
					if err != nil {
						t.Errorf("%v: %v", q, err)
						continue
					}
					sameReply(t, q.String(), want, got)
				}
			})
		}
	}
	for range 3 { // what is known outlives a reload: nobody has time to ask anew
		s.edge.ok("reload")
		for game, asked := range questions {
			for _, q := range asked {
				if _, err := s.ask(at(vip4, ports[game]), q); err != nil {
					t.Errorf("after a reload, %s %v: %v", game, q, err)
				}
			}
		}
	}
	if got := s.edge.sessions(api.Filter{}); len(got) > 0 {
		t.Errorf("%d sessions, the first %+v", len(got), got[0])
	}
	if drops := nonZero(s.edge.status().Drops); len(drops) != 1 || drops["answer_queued"] == 0 {
		t.Errorf("dropped: %v", drops)
	}
}

// Where a query's buffer has no room for its answer, as on a veth, the daemon answers who has proven his address, and the server
// the others.
func TestQueriesWithoutRoomAreAnsweredToo(t *testing.T) {
	s := newQuerySite(t, "noroom", unlimited)
	for _, v := range []struct {
		service     string
		vip, server netip.AddrPort
		q           query.Question
		sessions    int
	}{
		{"source-nat4", at(vip4, sourcePort), at(server4, sourcePort), query.SourcePlayers, 0},
		{"source-nat6", at(vip6, sourcePort), at(server6, sourcePort), query.SourceInfo, 0},
		{"source-local", at(fourth4, sourcePort), netip.AddrPort{}, query.SourcePlayers, 0},
		{"quake3-nat6", at(vip6, quakePort), at(server6, quakePort), query.Quake3Status, 1},
		{"raknet-transparent", at(third4, raknetPort), at(server4, raknetPort), query.RakNetPing, 1},
	} {
		t.Run(v.service, func(t *testing.T) {
			s := &querySite{site: s.of(t)}
			s.awaitAnswers(v.service, 1, true, patience)
			got, err := s.ask(v.vip, v.q)
			must(t, err)
			if !v.server.IsValid() {
				v.server = v.vip
			}
			want, err := s.askAt(v.server, v.q, v.service == "source-local")
			must(t, err)
			sameReply(t, v.q.String(), want, got)
			if n := len(s.edge.sessions(api.Filter{Service: v.service})); n != v.sessions {
				t.Errorf("%d sessions, want %d", n, v.sessions)
			}
		})
	}
	if drops := nonZero(s.edge.status().Drops); len(drops) != 1 || drops["answer_queued"] != 3 {
		t.Errorf("dropped: %v", drops)
	}
}

// The daemon hears its servers also where they see players under another address than the host's own.
func TestServersAnswerTheHost(t *testing.T) {
	for _, nat := range []netip.Addr{nat4, addr("10.0.1.2")} {
		t.Run(nat.String(), func(t *testing.T) {
			s := newSite(t, "hosthears", siteOptions{})
			if nat != nat4 {
				must(t, s.toServers.AddAddress(netip.PrefixFrom(nat, 24)))
			}
			raknet := querytest.RakNet{Text: "MCPE;A world;390;1.20.80;3;20;1;Level;Survival;1;19132;19133;"}
			for _, mode := range []string{"nat", "transparent"} {
				querytest.Serve(t, s.udp(s.servers, at(server4, raknetPort+uint16(len(mode)))), raknet.Handle)
			}
			text, pools := fmt.Sprintf("nat: {addresses: [%v]}\nservices:\n", nat), "pools:\n"
			for _, mode := range []string{"nat", "transparent"} {
				port := raknetPort + uint16(len(mode))
				text += fmt.Sprintf("  - {name: %s, listen: %q, game: bedrock, forward: %s, pool: %s}\n", mode, at(vip4, port), mode, mode)
				pools += fmt.Sprintf("  - {name: %s, servers: [{name: one, address: %q}]}\n", mode, at(server4, port))
			}
			s.edge.run(unlimited + text + pools)
			s.awaitAnswers("nat", 1, true, patience)
			s.awaitAnswers("transparent", 1, true, patience)
			if n := len(s.edge.sessions(api.Filter{})); n > 0 {
				t.Errorf("the daemon's questions have become %d sessions", n)
			}
		})
	}
}

// askAt asks a server itself, from its own network.
func (s *querySite) askAt(server netip.AddrPort, q query.Question, local bool) (r *query.Reply, err error) {
	from := s.servers
	if local {
		from = s.gate
	}
	err = from.Do(func() error {
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		defer cancel()
		r, err = query.Ask(ctx, server, q)
		return err
	})
	return r, err
}

// A server that falls silent is not answered for: what it said last is given for some seconds, and then players hear it
// say nothing.
func TestStaleAnswersAreNotServed(t *testing.T) {
	t.Parallel()
	s := newSite(t, "stale", siteOptions{})
	server := querytest.RakNet{Text: "MCPE;A world;390;1.20.80;3;20;1;Level;Survival;1;19132;19133;"}
	silent := make(chan struct{})
	querytest.Serve(t, s.udp(s.servers, at(server4, raknetPort)), func(request []byte, from netip.AddrPort) [][]byte {
		select {
		case <-silent:
			return nil
		default:
			return server.Handle(request, from)
		}
	})
	s.edge.run(unlimited + fmt.Sprintf("services:\n  - {name: craft, listen: %q, game: bedrock, pool: p}\npools:\n  - {name: p, servers: [{name: one, address: %q}]}\n",
		at(vip4, raknetPort), at(server4, raknetPort)))
	s.padded(s.atPlayers)
	s.awaitAnswers("craft", 1, true, patience)
	_, err := s.ask(at(vip4, raknetPort), query.RakNetPing)
	must(t, err)
	close(silent)
	_, err = s.ask(at(vip4, raknetPort), query.RakNetPing)
	must(t, err) // for some seconds
	s.awaitAnswers("craft", 1, false, stalePatience)
	if _, err = s.ask(at(vip4, raknetPort), query.RakNetPing); !errors.Is(err, query.ErrNoReply) {
		t.Errorf("got %v", err)
	}
	if n := len(s.edge.sessions(api.Filter{Service: "craft"})); n != 1 {
		t.Errorf("%d sessions: the query is for the server", n)
	}
}

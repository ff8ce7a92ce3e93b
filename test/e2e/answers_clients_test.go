// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/api"
	"parry/pkg/netns"
)

// queryClient asks a server for all that it tells, and gives what it understood of it.
type queryClient struct {
	name string
	ask  func(h *netns.Host, server netip.AddrPort) map[string]any
}

// of the way and the moment, not of the server
var ofTheWay = []string{"address", "hostname", "ping", "retries"}

// quakestat asks as one of its types.
func (w *world) quakestat(kind string) queryClient {
	path := needProgram(w.t, "quakestat")
	return queryClient{"quakestat " + kind, func(h *netns.Host, server netip.AddrPort) map[string]any {
		w.t.Helper()
		var all []map[string]any
		out := w.run(h, path, "-"+kind, server.String(), "-P", "-R", "-json", "-timeout", "8", "-nh")
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || all[0]["status"] != "online" {
			w.t.Errorf("quakestat -%s %v: %v\n%s", kind, server, err, out)
			return nil
		}
		for _, key := range ofTheWay {
			delete(all[0], key)
		}
		return all[0]
	}}
}

// gamedig asks as one of its types.
func (w *world) gamedig(kind string) queryClient {
	node, dir := nodeFolder(w.t, "query")
	return queryClient{"gamedig " + kind, func(h *netns.Host, server netip.AddrPort) map[string]any {
		w.t.Helper()
		name := fmt.Sprintf("gamedig-%s-%v", h.Name(), server.Port())
		g := w.game(h, name, nil, node, filepath.Join(dir, "query.js"), kind, server.Addr().String(), strconv.Itoa(int(server.Port())))
		var report struct {
			State map[string]any `json:"state"`
		}
		if err := json.Unmarshal([]byte(g.report(gamePatience)), &report); err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
		return report.State
	}}
}

// sameAnswers has clients ask the edge as players and the server from beside it, and compares what they understand, field
// by field. No query may become a session: the edge answers.
func (s *site) sameAnswers(service string, kinds int, vip, server netip.AddrPort, want map[string]any, clients ...queryClient) {
	s.t.Helper()
	s.awaitAnswers(service, kinds, true, gamePatience)
	for _, c := range clients {
		own, got := c.ask(s.servers, server), c.ask(s.players, vip)
		if diff := cmp.Diff(own, got); diff != "" {
			s.t.Errorf("%s of %s (-the server +the edge)\n%s", c.name, service, diff)
		}
		for key, value := range want {
			if v := got[key]; v != nil && !cmp.Equal(v, value) {
				s.t.Errorf("%s of %s: %s is %v, want %v", c.name, service, key, v, value)
			}
		}
		s.t.Logf("%s of %s: %d fields are the same", c.name, service, leaves(got))
	}
	if got := s.edge.sessions(api.Filter{Service: service}); len(got) > 0 {
		s.t.Errorf("%s: %d sessions: the server was asked", service, len(got))
	}
}

// leaves counts what is not made of others.
func leaves(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			n += leaves(x)
		}
	case []any:
		for _, x := range v {
			n += leaves(x)
		}
	default:
		return 1
	}
	return n
}

// Query clients that server lists are made of understand the edge as they understand its servers.
func TestQueryClients(t *testing.T) {
	s := newQuerySite(t, "queryclients", unlimited+"queries: {unproven_kbps: 0}\n")
	s.padded(s.atPlayers)
	a2s := []queryClient{s.quakestat("a2s"), s.gamedig("teamfortress2")}
	for service, vip := range map[string]netip.Addr{"source-nat4": vip4, "source-transparent": third4} {
		s.sameAnswers(service, 3, at(vip, sourcePort), at(server4, sourcePort), map[string]any{"map": "ctf_2fort", "maxplayers": 24.}, a2s...)
	}
	s.sameAnswers("quake3-nat4", 2, at(vip4, quakePort), at(server4, quakePort), map[string]any{"map": "oa_dm1"}, s.quakestat("q3s"), s.gamedig("openarena"))
	s.sameAnswers("raknet-nat4", 1, at(vip4, raknetPort), at(server4, raknetPort), map[string]any{"name": "A world"}, s.gamedig("protocol-minecraftbedrock"))
}

// The same with a stand-in that others wrote: PARRY_A2S_RESPONDER names a program in Python that answers A2S on a port for some
// seconds, with challenges, and with packed parts for --bz2.
func TestA2SResponder(t *testing.T) {
	script := os.Getenv("PARRY_A2S_RESPONDER")
	if script == "" {
		t.Skip("PARRY_A2S_RESPONDER names no program")
	}
	python := needProgram(t, "python3")
	for name, args := range map[string][]string{"split": nil, "packed": {"--bz2"}, "open": {"--nochallenge"}} {
		t.Run(name, func(t *testing.T) {
			s := gameSite(t, "responder", "tf2", "udp", sourcePort, unlimited)
			s.padded(s.atPlayers)
			argv := append([]string{python, script, strconv.Itoa(sourcePort), "600"}, args...)
			s.game(s.servers, "responder", nil, argv...).await(serverPatience, "ready")
			s.sameAnswers("nat", 3, at(vip4, sourcePort), at(server4, sourcePort), map[string]any{"map": "lab_map"},
				s.quakestat("a2s"), s.gamedig("teamfortress2"))
		})
	}
}

// Real servers: what OpenArena and a Bedrock server say by the edge is what they say themselves.
func TestRealServersAreAnsweredFor(t *testing.T) {
	bigGame(t)
	t.Run("openarena", func(t *testing.T) {
		server := needProgram(t, "openarena-server")
		s := gameSite(t, "answeroa", "openarena", "udp", quakePort)
		s.padded(s.atPlayers)
		argv := []string{server}
		for _, v := range []string{"dedicated 1", "net_port 27960", "net_enabled 1", "sv_hostname parry-e2e", "sv_maxclients 8", "sv_pure 0", "sv_master1 none"} {
			argv = append(append(argv, "+set"), strings.Fields(v)...)
		}
		s.game(s.servers, "server", nil, append(argv, "+map", "oa_dm1")...).await(serverPatience, `Opening IP socket|InitGame`)
		s.sameAnswers("nat", 2, at(vip4, quakePort), at(server4, quakePort), map[string]any{"name": "parry-e2e", "map": "oa_dm1"},
			s.quakestat("q3s"), s.gamedig("openarena"))
	})
	t.Run("bedrock", func(t *testing.T) {
		node, dir := nodeFolder(t, "worlds")
		s := gameSite(t, "answermc", "bedrock", "udp", raknetPort)
		s.padded(s.atPlayers)
		s.game(s.servers, "server", nil, node, filepath.Join(dir, "bedrock-server.js"), "1.20.80", strconv.Itoa(raknetPort), "raknet-native").
			await(serverPatience, `"event":"ready"`)
		s.sameAnswers("nat", 1, at(vip4, raknetPort), at(server4, raknetPort), nil, s.gamedig("protocol-minecraftbedrock"))
	})
}

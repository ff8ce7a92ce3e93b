// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
)

// listSite is a site with a service in nat and one in transparent, and an innocent player in each.
func listSite(t *testing.T, name string) (*site, []*udpServer) {
	t.Helper()
	s := newSite(t, name, siteOptions{})
	s.edge.run(everyMode(unlimited))
	var servers []*udpServer
	for _, w := range s.ways() {
		servers = append(servers, s.udpServer(w.host, w.server, ""))
		s.tcpServer(w.host, w.server, "")
	}
	return s, servers
}

// A block ends a live session before its call returns (how soon that is: make figures), another player's session doesn't notice, and an unblock lets it go on.
func TestBlockEndsALiveSession(t *testing.T) {
	s, servers := listSite(t, "block")
	other := s.udpPlayer(s.players, s.playerAt(1), s.ways()[0].vip).play(2 * time.Millisecond)
	other.more(20)
	for i, w := range s.ways() {
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			p := s.udpPlayer(s.players, w.player, w.vip)
			seen, _ := p.seenAs()
			game := p.play(time.Millisecond)
			game.more(50)
			began := time.Now()
			must(t, s.edge.client.Add(t.Context(), api.Block, []blocklist.Entry{{
				Prefix: netip.PrefixFrom(w.player, w.player.BitLen()), Reason: "e2e", Source: blocklist.SourceAPI, Confidence: 1, Added: began,
			}}))
			took, next := time.Since(began), game.next()
			game.awaitSent(100)
			late := max(0, servers[i].lastFrom(seen).Sub(began))
			if n := game.heardFrom(next); n > 0 {
				t.Errorf("%d datagrams that were sent after the call had returned were answered", n)
			}
			s.edge.ok("block", "del", w.player.String())
			game.alive(patience)
			t.Logf("enforced %v after the call's begin (it took %v); goes on after the unblock", late.Round(time.Microsecond), took.Round(time.Microsecond))
			game.stop(0)
		})
	}
	if sum := other.noLoss(); sum.lost == 0 {
		t.Logf("the other player: %v", sum)
	}
}

// The command line's way, on a connection: with a ttl, a prefix, and an allow entry that wins.
func TestBlockAndAllowByCommand(t *testing.T) {
	s, _ := listSite(t, "allow")
	for _, w := range s.ways() {
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			around := netip.PrefixFrom(w.player, w.player.BitLen()-8).Masked().String()
			game := s.udpPlayer(s.players, w.player, w.vip).play(2 * time.Millisecond)
			game.more(20)
			s.edge.ok("block", "add", around, "--reason", "noise", "--ttl", "1h")
			before := game.sum().echoed
			game.awaitSent(50)
			if after := game.sum().echoed; after > before+2 {
				t.Errorf("%d packets came back after `block add %s` returned", after-before, around)
			}
			if _, err := s.dialTCP(s.players, w.player, w.vip, 300*time.Millisecond); err == nil {
				t.Error("a blocked player opens a connection")
			}
			s.edge.ok("allow", "add", w.player.String())
			game.alive(patience)
			s.tcpPlayer(s.players, w.player, w.vip).put(1000)
			s.edge.ok("allow", "del", w.player.String())
			before = game.sum().echoed
			game.awaitSent(50)
			if after := game.sum().echoed; after > before+2 {
				t.Errorf("%d packets came back after the allow entry was removed", after-before)
			}
			var list []blocklist.Entry
			must(t, json.Unmarshal([]byte(s.edge.ok("block", "list", "--json")), &list))
			if len(list) != 1 || list[0].Prefix.String() != around || list[0].Reason != "noise" || list[0].Hits == 0 || list[0].Expires == nil {
				t.Errorf("block list: %+v", list)
			} else {
				t.Logf("%v blocked with %d hits, %v allowed meanwhile", list[0].Prefix, list[0].Hits, w.player)
			}
			s.edge.ok("block", "del", around)
			game.alive(patience)
			game.stop(0)
		})
	}
}

func TestBlockExpires(t *testing.T) {
	s, _ := listSite(t, "expiry")
	w := s.ways()[0]
	game := s.udpPlayer(s.players, w.player, w.vip).play(2 * time.Millisecond)
	game.more(20)
	began := time.Now()
	s.edge.ok("block", "add", w.player.String(), "--ttl", "1s")
	game.alive(5 * time.Second)
	if took := time.Since(began); took < time.Second {
		t.Errorf("a block for 1s held %v", took)
	} else {
		t.Logf("a block for 1s held %v (a session looks again every 2 s)", took.Round(time.Millisecond))
	}
}

func TestImportReportsEachBadLine(t *testing.T) {
	s, _ := listSite(t, "import")
	list := filepath.Join(s.net.Dir(), "list.txt")
	must(t, os.WriteFile(list, []byte("198.51.100.1\nnonsense\n198.51.100.0/24 reason=\"bad range\" ttl=1h\n300.1.1.1\n2001:db8:66::/48\n198.51.100.7/24 x\n"), 0o600))
	o := s.edge.cli("", "block", "import", list)
	if o.code != 1 {
		t.Errorf("exit code %d, want 1: %s%s", o.code, o.out, o.err)
	}
	for _, line := range []int{2, 4, 6} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^%s:%d: .+`, regexp.QuoteMeta(list), line)).MatchString(o.err) {
			t.Errorf("line %d is not reported in:\n%s", line, o.err)
		}
	}
	if got := strings.TrimSpace(s.edge.ok("block", "list", "--json")); got != "[]" {
		t.Errorf("applied all the same: %s", got)
	}
	o = s.edge.cli("", "block", "import", list, "--keep-going")
	var got []blocklist.Entry
	must(t, json.Unmarshal([]byte(s.edge.ok("block", "list", "--json")), &got))
	if o.code != 0 || len(got) != 3 {
		t.Errorf("--keep-going: exit code %d, %d entries, want 0 and 3\n%s", o.code, len(got), o.err)
	}
	o = s.edge.cli("192.0.2.2\n", "block", "import", "-")
	if o.code != 0 {
		t.Errorf("import from stdin: %s", o.err)
	}
	s.udpPlayer(s.players, player4, s.ways()[0].vip).silent([]byte("x"), 100*time.Millisecond)
	t.Logf("3 bad lines of 6 reported by number; %s", strings.TrimSpace(o.out))
}

func TestAllowlistService(t *testing.T) {
	s := newSite(t, "allowlist", siteOptions{})
	s.edge.run(unlimited + yaml(
		service{name: "rcon", listen: `"203.0.113.10:27015"`, protocol: "tcp", forward: "nat", servers: []string{"10.0.1.11:27015"}, more: "access: allowlist"},
		service{name: "game", listen: `"203.0.113.10:27016"`, protocol: "tcp", forward: "nat", servers: []string{"10.0.1.11:27016"}},
	))
	for _, port := range []uint16{27015, 27016} {
		s.tcpServer(s.servers, at(server4, port), "")
	}
	if _, err := s.dialTCP(s.players, player4, at(vip4, 27015), 300*time.Millisecond); err == nil {
		t.Error("a stranger gets in")
	}
	s.tcpPlayer(s.players, player4, at(vip4, 27016)).put(1000)
	s.edge.ok("allow", "add", player4.String(), "--service", "rcon")
	admin := s.tcpPlayer(s.players, player4, at(vip4, 27015))
	admin.put(1000)
	if n := s.edge.drops("not_allowed"); n == 0 {
		t.Error("nothing was dropped as not_allowed")
	} else {
		t.Logf("%d packets of a stranger dropped as not_allowed; in once it is allowed", n)
	}
}

// With no daemon, the commands work on the maps that it left pinned.
func TestListsWithoutADaemon(t *testing.T) {
	s, _ := listSite(t, "nodaemon")
	w := s.ways()[0]
	game := s.udpPlayer(s.players, w.player, w.vip).play(2 * time.Millisecond)
	game.more(20)
	s.edge.kill()
	o := s.edge.cli("", "block", "add", w.player.String(), "--pin", s.edge.pin, "--reason", "night shift")
	if o.code != 0 || !strings.Contains(o.err, "no daemon") {
		t.Fatalf("block add without a daemon: exit code %d, %q", o.code, o.err)
	}
	before := game.sum().echoed
	game.awaitSent(50)
	if after := game.sum().echoed; after > before+2 {
		t.Errorf("%d packets came back", after-before)
	}
	s.edge.start()
	if got := s.edge.ok("block", "list", "--json"); !strings.Contains(got, "night shift") {
		t.Errorf("the new daemon lists %s", got)
	}
	s.edge.kill()
	if o := s.edge.cli("", "block", "del", w.player.String(), "--pin", s.edge.pin); o.code != 0 {
		t.Fatalf("block del: %s", o.err)
	}
	t.Logf("blocked and unblocked on the pinned maps; goes on after %v", game.alive(patience).Round(time.Millisecond))
}

// What bpftool writes works: a host at once for a new session, a prefix within a second (before Linux 6.4 a minute).
func TestEntryByBpftool(t *testing.T) {
	bpftool := needProgram(t, "bpftool")
	s, _ := listSite(t, "bpftool")
	w := s.ways()[0]
	update := func(name string, key []byte) {
		t.Helper()
		argv := []string{bpftool, "map", "update", "pinned", filepath.Join(s.edge.pin, "maps", name), "key", "hex"}
		argv = append(argv, strings.Fields(fmt.Sprintf("% x", key))...)
		argv = append(argv, "value", "hex")
		s.run(s.gate, append(argv, strings.Fields(fmt.Sprintf("% x", make([]byte, s.valueSize(bpftool, name))))...)...)
	}
	host := append(binary.NativeEndian.AppendUint32(nil, 0), w.player.AsSlice()...) // service 0 is every service
	update("deny_host4", host)
	s.udpPlayer(s.players, w.player, w.vip).silent([]byte("x"), 100*time.Millisecond)
	t.Log("a host: refused at once")

	neighbour := s.playerAt(5)
	game := s.udpPlayer(s.players, neighbour, w.vip).play(2 * time.Millisecond)
	game.more(20)
	net := binary.NativeEndian.AppendUint32(nil, 32+24) // bits: the service's, then the prefix's
	net = append(binary.NativeEndian.AppendUint32(net, 0), w.player.AsSlice()...)
	net[len(net)-1] = 0
	answered := s.edge.status().UptimeMS
	await(t, patience, "the daemon to have looked at the lists once", func() bool { return s.edge.status().UptimeMS > answered+2000 })
	update("deny_net4", net)
	within := 1300 * time.Millisecond // a second, and the try that sees it
	if !s.countsEntries() {
		within = 65 * time.Second
	}
	before := s.edge.drops("denied")
	took := await(t, within, "new sessions out of a prefix to be refused", func() bool {
		time.Sleep(20 * time.Millisecond) // each try is a session
		return s.udpPlayer(s.players, neighbour, w.vip).refused(200*time.Millisecond) && s.edge.drops("denied") > before
	})
	t.Logf("a prefix: refused after %v", took.Round(time.Millisecond))
	ended := await(t, 4*time.Second, "the live session to be ended", func() bool {
		before := game.sum().echoed
		game.awaitSent(50)
		return game.sum().echoed == before
	})
	t.Logf("its live session: ended after %v", (took + ended).Round(time.Millisecond))
}

// valueSize is how many bytes a pinned map's values have.
func (s *site) valueSize(bpftool, name string) int {
	s.t.Helper()
	var info struct {
		Value int `json:"bytes_value"`
	}
	must(s.t, json.Unmarshal([]byte(s.run(s.gate, bpftool, "-j", "map", "show", "pinned", filepath.Join(s.edge.pin, "maps", name))), &info))
	return info.Value
}

// refused says if one datagram stays without an answer.
func (p *udpPlayer) refused(within time.Duration) bool {
	p.t.Helper()
	_, err := p.conn.WriteToUDPAddrPort([]byte("x"), p.to)
	must(p.t, err, p.conn.SetReadDeadline(time.Now().Add(within)))
	_, _, err = p.conn.ReadFromUDPAddrPort(make([]byte, 16))
	return err != nil
}

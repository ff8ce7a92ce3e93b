// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/netns"
)

// noLoss ends a stream and wants every packet of it to have come back.
func (s *stream) noLoss() tally {
	s.p.t.Helper()
	sum := s.end()
	if sum.lost > 0 || sum.refused > 0 || sum.strays > 0 {
		s.p.t.Errorf("packets were lost: %v, %d could not be sent, %d came that are another's", sum, sum.refused, sum.strays)
	}
	return sum
}

// playAll starts a UDP stream and an echoing TCP connection in each way.
func (s *site) playAll(t *testing.T) (streams []*stream, lines []*tcpPlayer) {
	t.Helper()
	for _, w := range s.ways() {
		s.udpServer(w.host, w.server, "")
		s.tcpServer(w.host, w.server, "")
		streams = append(streams, s.udpPlayer(s.players, w.player, w.vip).play(2*time.Millisecond))
		lines = append(lines, s.tcpPlayer(s.players, w.player, w.vip))
	}
	for _, st := range streams {
		st.more(50)
	}
	for _, l := range lines {
		l.seenAs()
	}
	return streams, lines
}

// checkAll wants every stream whole and every connection alive.
func checkAll(t *testing.T, streams []*stream, lines []*tcpPlayer) {
	t.Helper()
	for _, l := range lines {
		l.put(1 << 20)
		l.get(1 << 20)
	}
	for i, st := range streams {
		t.Logf("stream %d: %v", i, st.noLoss())
	}
}

func idsOf(all []api.Session) map[string]bool {
	ids := map[string]bool{}
	for _, s := range all {
		ids[s.ID] = true
	}
	return ids
}

func TestPlayOutlivesTheDaemon(t *testing.T) {
	s := newSite(t, "killed", siteOptions{})
	s.edge.run(everyMode(unlimited))
	streams, lines := s.playAll(t)
	before := s.edge.sessions(api.Filter{})

	s.edge.kill()
	for _, st := range streams {
		st.more(100)
	}
	for _, w := range s.ways() { // new players are let in by the program alone
		p := s.udpPlayer(s.players, w.player, w.vip)
		p.echo(100)
		c := s.tcpPlayer(s.players, w.player, w.vip)
		c.put(1 << 20)
	}
	s.edge.start()
	if !strings.Contains(s.edge.said(), "adopted=true") {
		t.Error("the new daemon does not say that it adopted what it found")
	}
	after := idsOf(s.edge.sessions(api.Filter{}))
	for _, b := range before {
		if !after[b.ID] {
			t.Errorf("the new daemon doesn't know session %s of %s any more", b.ID, b.Service)
		}
	}
	for _, st := range streams {
		st.more(100)
	}
	checkAll(t, streams, lines)
	t.Logf("killed, %d sessions played on, %d adopted", len(before), len(after))
}

func TestTerminatedDaemonLeavesTheFastPathForwarding(t *testing.T) {
	s := newSite(t, "terminated", siteOptions{})
	s.edge.run(everyMode(unlimited))
	streams, lines := s.playAll(t)
	s.edge.term()
	for _, st := range streams {
		st.more(100)
	}
	for _, w := range s.ways() {
		s.udpPlayer(s.players, w.player, w.vip).echo(100)
	}
	checkAll(t, streams, lines)
	s.edge.start() // and again by the next
	for _, l := range lines {
		l.seenAs()
	}
}

func TestReloadIsAllOrNothing(t *testing.T) {
	s := newSite(t, "reload", siteOptions{})
	played := service{name: "played", listen: `"203.0.113.10:27960"`, forward: "nat", servers: []string{"10.0.1.11:27960"}, protocol: "[udp, tcp]"}
	later := service{name: "later", listen: `"203.0.113.10:27961"`, forward: "nat", servers: []string{"10.0.1.11:27961"}}
	s.edge.run(unlimited + yaml(played))
	s.udpServer(s.servers, at(server4, 27960), "")
	s.tcpServer(s.servers, at(server4, 27960), "")
	s.udpServer(s.servers, at(server4, 27961), "")
	game := s.udpPlayer(s.players, player4, at(vip4, 27960)).play(2 * time.Millisecond)
	line := s.tcpPlayer(s.players, player4, at(vip4, 27960))
	line.seenAs()
	game.more(50)
	id := idsOf(s.edge.sessions(api.Filter{Service: "played"}))
	second := s.udpPlayer(s.players, player4, at(vip4, 27961))
	second.silent([]byte("early"), 100*time.Millisecond)

	s.checkRefusedReload(strings.Replace(unlimited+yaml(played, later), "listen:", "lisen:", 1))
	s.checkRefusedReload(unlimited + yaml(played, later) + "regions: 7\n")
	second.silent([]byte("refused"), 100*time.Millisecond)

	s.edge.configure(unlimited + yaml(played, later))
	t.Log(strings.TrimSpace(s.edge.ok("reload")))
	second.echo(100)
	game.more(50)

	s.edge.configure(unlimited + yaml(played))
	s.edge.ok("reload")
	second.echo(100) // no reload ends a session, not even one that removes its service
	third := s.udpPlayer(s.players, player4, at(vip4, 27961))
	third.silent([]byte("gone"), 100*time.Millisecond)
	s.edge.configure(unlimited + yaml(later, played)) // the other one is first now: sessions are no numbers
	s.edge.ok("reload")
	third.echo(100)
	game.more(50)
	line.put(1 << 20)
	for k := range idsOf(s.edge.sessions(api.Filter{Service: "played"})) {
		if !id[k] {
			t.Errorf("session %s is a new one", k)
		}
	}
	t.Logf("three reloads and two refused ones while a session played: %v", game.noLoss())
}

// checkRefusedReload wants exit code 2 and a line for editors.
func (s *site) checkRefusedReload(text string) {
	s.t.Helper()
	s.edge.configure(text)
	o := s.edge.cli("", "reload")
	where := regexp.MustCompile("^" + regexp.QuoteMeta(s.edge.file) + `:\d+:\d+: .+`)
	if o.code != 2 || !where.MatchString(o.err) {
		s.t.Errorf("a bad file gave exit code %d and %q, want 2 and FILE:LINE:COLUMN: ...", o.code, o.err)
	}
	line, _, _ := strings.Cut(o.err, "\n")
	s.t.Logf("refused: %s", strings.TrimPrefix(line, filepath.Dir(s.edge.file)+"/"))
}

// sysctls reads what the network of a namespace is set to, neighbour tables' counters aside.
func sysctls(t *testing.T, h *netns.Host) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, h.Do(func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if value, err := os.ReadFile(path); err == nil { // some can only be written
				all[path] = string(value)
			}
			return nil
		})
	}))
	return all
}

func TestDetachLeavesNothing(t *testing.T) {
	s := newSite(t, "detach", siteOptions{})
	bpftool := needProgram(t, "bpftool")
	state := func() string {
		var b strings.Builder
		for _, argv := range [][]string{
			{"ip", "-d", "-o", "link", "show"}, {"ip", "-o", "addr"}, {"ip", "route", "show", "table", "all"}, {"ip", "-6", "route", "show", "table", "all"},
			{"ip", "neigh", "show", "proto", "112"}, {bpftool, "net", "show"},
		} {
			fmt.Fprintln(&b, argv, "\n", s.run(s.gate, argv...))
		}
		return b.String()
	}
	before, keys := state(), sysctls(t, s.gate)
	s.edge.run(everyMode(unlimited))
	streams, _ := s.playAll(t)
	for _, st := range streams {
		st.noLoss()
	}
	during := state()
	if during == before {
		t.Fatal("an attached edge looks like none: the test can't see what it looks for")
	}
	s.edge.term()
	t.Log(strings.TrimSpace(s.edge.ok("detach", "-c", s.edge.file)))
	if after := state(); after != before {
		t.Errorf("left behind:\n%s", diff(before, after))
	}
	for path, value := range sysctls(t, s.gate) {
		if keys[path] != value {
			t.Errorf("%s was %q and is %q", path, keys[path], value)
		}
	}
	if _, err := os.Stat(s.edge.pin); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there (%v)", s.edge.pin, err)
	}
	s.udpPlayer(s.players, player4, at(vip4, natPort)).silent([]byte("anybody?"), 100*time.Millisecond)
	s.edge.start() // it can come back
	s.udpPlayer(s.players, player4, at(vip4, natPort)).echo(10)
}

// A first start that one interface refuses leaves the others, the pins and the host as they were.
func TestFirstStartThatFailsLeavesNothing(t *testing.T) {
	s := newSite(t, "failed", siteOptions{})
	keys := sysctls(t, s.gate)
	s.receiver(s.down) // another's program
	s.edge.configure(everyMode(unlimited))
	o := s.edge.cli("", "run", "-c", s.edge.file)
	if o.code != 1 || !strings.Contains(o.err, "servers already carries an XDP program that is not this parry's") {
		t.Errorf("exit code %d, %q", o.code, o.err)
	}
	if id := s.attached()["players"]; id != 0 {
		t.Errorf("program %d is left on the other interface", id)
	}
	for path, value := range sysctls(t, s.gate) {
		if keys[path] != value {
			t.Errorf("%s was %q and is %q", path, keys[path], value)
		}
	}
	if _, err := os.Stat(s.edge.pin); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left (%v)", s.edge.pin, err)
	}
}

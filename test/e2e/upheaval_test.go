// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/api"
	"parry/pkg/netns"
)

// nextLayout builds a parry whose maps have the next layout, and says which one they have now.
func nextLayout(t *testing.T) (bin string, now int) {
	t.Helper()
	version := regexp.MustCompile(`const layoutVersion = (\d+)\n`)
	files, err := filepath.Glob("../../loader/*.go")
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		found := version.FindSubmatch(text)
		if found == nil {
			continue
		}
		now, err = strconv.Atoi(string(found[1]))
		must(t, err)
		dir := t.TempDir()
		changed := filepath.Join(dir, "changed.go")
		must(t, os.WriteFile(changed, version.ReplaceAll(text, []byte("const layoutVersion = ${1} + 1\n")), 0o600))
		file, err = filepath.Abs(file)
		must(t, err)
		overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
		must(t, err, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
		return buildAs(t, "next-layout", filepath.Join(dir, "overlay.json")), now
	}
	t.Fatal("no file of loader/ says the layout version")
	return "", 0
}

// A parry of another map layout touches nothing and says what to do; the program that is there goes on.
func TestNextLayoutIsRefusedInWords(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("builds a parry of the next layout, which needs Go")
	}
	m := newMortal(t, "layout", deathCounts{players: 2, every: 20 * time.Millisecond})
	e := m.s.edge
	old := e.bin
	next, now := nextLayout(t)
	ids := m.s.attached()
	e.term()
	e.bin = next
	said := len(e.said())
	e.launch()
	select {
	case <-e.proc.Done():
	case <-time.After(startPatience):
		t.Fatal("a daemon of the next layout runs on the maps of this one")
	}
	words := e.said()[said:]
	for _, want := range []string{"another layout", fmt.Sprintf(": %d under %s", now, e.pin), fmt.Sprint("speaks ", now+1), "parry detach --pin " + e.pin, "run the parry that made them"} {
		if !strings.Contains(words, want) {
			t.Errorf("it says %q, nothing of %q", words, want)
		}
	}
	if o := e.cli("", "block", "add", "192.0.2.99", "--pin", e.pin); o.code == 0 || !strings.Contains(o.err, "another layout") {
		t.Errorf("a block by the next layout's parry: exit code %d, %q", o.code, o.err)
	}
	m.more(20)
	for name, id := range m.s.attached() {
		if id == 0 || id != ids[name] {
			t.Errorf("%s carries program %d, before it was %d", name, id, ids[name])
		}
	}
	e.bin = old
	e.start()
	m.meet()
	m.end()
	m.s.books.balance(m.began, "refused in words")
	e.term()
	e.bin = next
	e.ok("detach", "-c", e.file) // which any layout's parry can
	for path, value := range sysctls(t, m.s.gate) {
		if strings.HasSuffix(path, "/lo/forwarding") && value != "0\n" {
			t.Errorf("%s is left at %q", path, value)
		}
	}
	e.start()
	m.s.udpPlayer(m.s.players, player4, at(vip4, natPort)).echo(10)
	t.Log("refused:", strings.TrimSpace(words))
}

// A NIC that goes down or away takes the packets that are on their way with it, and nothing else: no session, no port,
// and nothing of what comes once it is back.
func TestNICsComeAndGoUnderLoad(t *testing.T) {
	ethtool := needProgram(t, "ethtool")
	m := newMortal(t, "nics", deathCounts{players: 2, every: 20 * time.Millisecond})
	s := m.s
	s.keepAddresses(s.gate, "players", "servers")
	for _, v := range []struct {
		what  string
		upset func()
	}{
		{"the players' link was down", func() { s.downAndUp(s.up, m) }},
		{"the servers' link was down", func() { s.downAndUp(s.down, m) }},
		{"the servers' NIC was gone", func() { s.serversAnew(ethtool) }},
		{"the players' NIC was gone", func() { s.playersAnew(ethtool) }},
	} {
		v.upset()
		began := time.Now()
		for _, st := range m.streams {
			st.alive(patience)
		}
		took := time.Since(began)
		m.more(1)
		for _, st := range m.streams {
			st.forgive()
		}
		before := m.books()
		m.more(20)
		m.meet()
		lost := s.books.balance(before, v.what)
		t.Logf("%s: play went on after %v, since then %d packets came in and %d were lost", v.what, took.Round(time.Millisecond), lost.cameIn(), lost.lost())
	}
	players, _ := m.end()
	ports, used := m.ports()
	t.Logf("%d sessions, %d ports, %d of them in sessions: none lost, none leaked", players, ports, used)
}

func (s *site) downAndUp(i *netns.Interface, c *mortal) {
	must(s.t, i.SetUp(false))
	sendOn(c.streams, 20)
	must(s.t, i.SetUp(true))
	s.settle(i)
}

// serversAnew removes the edge's NIC towards the servers and puts another in its place, as a driver that is loaded anew
// does.
func (s *site) serversAnew(ethtool string) {
	s.t.Helper()
	s.gone(s.down)
	s.linkServers(netns.LinkOptions{Offloads: true})
	s.back(ethtool, s.atServers, s.toServers)
	s.defaults(s.servers, "10.0.1.1", "fd00:1::1")
}

func (s *site) playersAnew(ethtool string) {
	s.t.Helper()
	s.gone(s.up)
	s.linkPlayers(netns.LinkOptions{Offloads: true})
	s.back(ethtool, s.atPlayers, s.toPlayers)
	s.defaults(s.players, "192.0.2.1", "2001:db8:1::1")
}

// gone removes a NIC of the edge, and waits until that is known.
func (s *site) gone(i *netns.Interface) {
	s.t.Helper()
	must(s.t, i.Remove())
	await(s.t, protectedWithin, "status to say that the interface is not protected", func() bool { return !s.protected(i.Name) })
}

// back waits for the program on a NIC that is new. It may be there before the link is set up: the peer then can't be told
// by netlink to leave segments whole.
func (s *site) back(ethtool string, far, near *netns.Interface) {
	s.t.Helper()
	await(s.t, patience, near.Name+" to be protected again", func() bool { return s.protected(near.Name) })
	for _, i := range []*netns.Interface{far, near} {
		s.run(i.Host, ethtool, "-K", i.Name, "tx", "off")
	}
	s.books.countAt(far, near)
}

// A disk that is full stops the daemon's words and nothing else; they say so as soon as they can.
func TestFullDisk(t *testing.T) {
	s := newSite(t, "disk", siteOptions{counted: true})
	dir := filepath.Join(s.net.Dir(), "disk")
	must(t, os.Mkdir(dir, 0o700), unix.Mount("small", dir, "tmpfs", 0, "size=256k,nr_inodes=16"))
	s.edge.onDisk(dir)
	s.edge.run(everyMode(guarded))
	began := s.books.read()
	c := s.newCrowd(s.ways(), 2, 20*time.Millisecond)
	fill := filepath.Join(dir, "fill")
	must(t, fillUp(fill))
	for n := range 100 { // each is logged, if it can be: the log's last page has room for some
		_, err := s.edge.client.EndSessions(t.Context(), api.Filter{ID: fmt.Sprint("nobody-", n)})
		must(t, err)
	}
	if calls := strings.Count(s.edge.said(), "api call"); calls >= 100 {
		t.Fatalf("the disk is not full: %d lines are in the log", calls)
	}
	s.edge.ok("block", "add", "192.0.2.99")
	s.edge.ok("reload")
	c.more(10)
	s.edge.kill()
	c.more(5)
	s.edge.noRoomForTheSocket(dir)
	c.more(5)
	s.edge.start()
	c.join(c.ways[0])
	c.more(5)
	c.meet()
	s.edge.ok("block", "del", "192.0.2.99")
	must(t, os.Remove(fill))
	s.edge.ok("reload")
	await(t, patience, "the daemon to say that words were lost", func() bool {
		return regexp.MustCompile(`lines of this log could not be written.* lines=[1-9]`).MatchString(s.edge.said())
	})
	c.end()
	s.books.balance(began, "full disk")
	ports, used := c.ports()
	t.Logf("%d ports, %d of them in sessions", ports, used)
}

// onDisk has everything that the daemon writes be in a folder.
func (e *edge) onDisk(dir string) {
	e.state, e.log, e.socket = filepath.Join(dir, "state"), filepath.Join(dir, "parry.log"), filepath.Join(dir, "parry.sock")
	e.client = api.Dial(e.socket)
}

// noRoomForTheSocket starts the daemon on a disk that takes no file any more. It says that, and what it is for.
func (e *edge) noRoomForTheSocket(dir string) {
	e.t.Helper()
	must(e.t, os.Remove(e.socket), os.Remove(e.socket+".lock"))
	var files []string
	for err := error(nil); err == nil; {
		var f *os.File
		if f, err = os.Create(filepath.Join(dir, fmt.Sprint("file", len(files)))); err == nil {
			files = append(files, f.Name())
			must(e.t, f.Close())
		}
	}
	o := e.cli("", "run", "-c", e.file)
	if o.code != 1 || !strings.Contains(o.err, e.socket) || !strings.Contains(o.err, "no space left on device") {
		e.t.Errorf("on a disk without room for the socket: exit code %d, %q", o.code, o.err)
	}
	for _, f := range files {
		must(e.t, os.Remove(f))
	}
}

// fillUp writes a file until nothing fits any more.
func fillUp(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill the disk: %w", err)
	}
	return f.Close()
}

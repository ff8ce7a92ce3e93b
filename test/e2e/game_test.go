// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/netns"
	"parry/test/need"
)

const (
	serverPatience = 30 * time.Second // until a game server is ready
	gamePatience   = 45 * time.Second // until a client is in
	playSeconds    = 6
)

// bigGame is for games whose packages are too much for every day's tests.
func bigGame(t *testing.T) {
	t.Helper()
	need.Root(t)
	if os.Getenv("PARRY_E2E") == "quick" {
		t.Skip("a big download: `make e2e-all` plays it")
	}
}

// nodeFolder is a folder of scripts whose packages are installed.
func nodeFolder(t *testing.T, name string) (node, dir string) {
	t.Helper()
	node = needProgram(t, "node")
	dir, err := filepath.Abs(filepath.Join("games", name))
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		missing(t, "test/e2e/games/"+name+" has no node_modules: scripts/setup-debian e2e (or e2e-all) installs them")
	}
	return node, dir
}

// screen holds what a program writes, and wakes whoever waits for it.
type screen struct {
	mu      sync.Mutex // guards all below
	text    []byte
	changed chan struct{} // closed at the next change
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	close(s.changed)
	s.changed = make(chan struct{})
	return len(p), nil
}

func (s *screen) read() (text string, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text), s.changed
}

// game is a game's server or client.
type game struct {
	t      *testing.T
	name   string
	home   string
	proc   *netns.Process
	screen *screen
}

// game starts a program with a home of its own; it is ended with the test.
func (w *world) game(h *netns.Host, name string, env []string, argv ...string) *game {
	w.t.Helper()
	g := &game{t: w.t, name: name, home: w.home(name), screen: &screen{changed: make(chan struct{})}}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = g.home, g.screen, g.screen
	cmd.Env = append(os.Environ(), "HOME="+g.home, "XDG_DATA_HOME="+g.home, "XDG_CONFIG_HOME="+g.home, "XDG_RUNTIME_DIR="+g.home)
	cmd.Env = append(cmd.Env, env...)
	var err error
	g.proc, err = h.Start(cmd)
	must(w.t, err)
	w.t.Cleanup(func() {
		if err := g.proc.Stop(2 * time.Second); err != nil {
			w.t.Error(err)
		}
		if w.t.Failed() {
			w.t.Logf("%s wrote:\n%s", name, g.tail())
		}
	})
	return g
}

// home makes a folder for a program of the world.
func (w *world) home(name string) string {
	w.t.Helper()
	home := filepath.Join(w.net.Dir(), "home-"+name)
	must(w.t, os.MkdirAll(home, 0o700))
	return home
}

func (g *game) tail() string {
	text, _ := g.screen.read()
	if cut := len(text) - 3000; cut > 0 {
		text = text[cut:]
	}
	return text
}

// await waits until the program writes what matches, and returns the match and its groups.
func (g *game) await(patience time.Duration, pattern string) []string {
	g.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for ended := false; ; {
		text, changed := g.screen.read()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		if ended {
			g.t.Fatalf("%s ended (%v) without %q", g.name, g.proc.Err(), pattern)
		}
		select {
		case <-changed:
		case <-g.proc.Done():
			ended = true // look once more
		case <-deadline:
			g.t.Fatalf("%s did not write %q within %v", g.name, pattern, patience)
		}
	}
}

// report waits for the program's end and decodes its last line, an object with an "ok".
func (g *game) report(patience time.Duration) string {
	g.t.Helper()
	select {
	case <-g.proc.Done():
	case <-time.After(patience):
		g.t.Fatalf("%s did not end within %v", g.name, patience)
	}
	text, _ := g.screen.read()
	last := ""
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "{") {
			last = lines.Text()
		}
	}
	var result struct {
		OK bool `json:"ok"`
	}
	if err := json.Unmarshal([]byte(last), &result); err != nil || !result.OK {
		g.t.Errorf("%s: %q (%v)", g.name, last, err)
	}
	return last
}

// display starts an X server without a screen in a host and returns the environment of its clients.
func (w *world) display(h *netns.Host) []string {
	w.t.Helper()
	r, wr, err := os.Pipe()
	must(w.t, err)
	defer r.Close()
	cmd := exec.Command(needProgram(w.t, "Xvfb"), "-displayfd", "3", "-screen", "0", "320x240x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{wr}
	p, err := h.Start(cmd)
	must(w.t, err, wr.Close())
	w.t.Cleanup(func() { _ = p.Stop(2 * time.Second) }) // the world ends it otherwise
	must(w.t, r.SetReadDeadline(time.Now().Add(serverPatience)))
	line, err := bufio.NewReader(r).ReadString('\n')
	must(w.t, err)
	// Software rendering on one thread, and no sound: several tests share the machine.
	return []string{"DISPLAY=:" + strings.TrimSpace(line), "LIBGL_ALWAYS_SOFTWARE=1", "LP_NUM_THREADS=1", "SDL_AUDIODRIVER=dummy"}
}

// gameSite is a site whose edge has a service of one game in nat (at vip4) and in transparent (at third4). Without more
// keys its limits are those that a configuration has by itself.
func gameSite(t *testing.T, name, game, protocol string, port uint16, more ...string) *site {
	t.Helper()
	s := newSite(t, name, siteOptions{})
	s.noResolver(s.players)
	s.noResolver(s.servers)
	server := []string{at(server4, port).String()}
	text := yaml(
		service{name: "nat", listen: fmt.Sprintf("%q", at(vip4, port)), protocol: protocol, forward: "nat", servers: server},
		service{name: "transparent", listen: fmt.Sprintf("%q", at(third4, port)), protocol: protocol, forward: "transparent", servers: server},
		service{name: "nat6", listen: fmt.Sprintf("%q", at(vip6, port)), protocol: protocol, forward: "nat", servers: []string{at(server6, port).String()}},
	)
	s.edge.run(strings.Join(more, "") + strings.ReplaceAll(text, "game: auto", "game: "+game))
	return s
}

// noResolver has the names of list servers fail at once rather than after a resolver's patience.
func (w *world) noResolver(h *netns.Host) {
	w.t.Helper()
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return // then there is none
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && !a.IsLoopback() {
			w.run(h, "ip", "route", "add", "unreachable", a.WithZone("").String())
		}
	}
}

// sessionOf is the busiest session of a service by a protocol; its Up is nil where there is none.
func (s *site) sessionOf(service, protocol string) api.Session {
	s.t.Helper()
	var best api.Session
	for _, v := range s.edge.sessions(api.Filter{Service: service}) {
		if v.Protocol == protocol && v.Up != nil && (best.Up == nil || v.Up.Packets > best.Up.Packets) {
			best = v
		}
	}
	return best
}

// brief is the busiest session in words.
func (s *site) brief(service, protocol string) string {
	s.t.Helper()
	v := s.sessionOf(service, protocol)
	if v.Up == nil || v.Down == nil {
		s.t.Errorf("the edge has no session of %s by %s", service, protocol)
		return ""
	}
	return fmt.Sprintf("%s (%s), %d packets up, %d down in %v", v.State, v.Proof, v.Up.Packets, v.Down.Packets, time.Duration(v.AgeMS)*time.Millisecond)
}

// checkDrops wants no packet of play dropped. A segment that comes after its connection's end is none.
func (s *site) checkDrops() {
	s.t.Helper()
	drops := nonZero(s.edge.status().Drops)
	delete(drops, "no_session")
	if len(drops) > 0 {
		s.t.Errorf("the edge dropped %v", drops)
		s.t.Logf("%s%s", s.edge.cli("", "explain", player4.String()).out, s.edge.cli("", "explain", player6.String()).out)
	}
}

// sawPlayer holds an address that a server wrote down against what it should see.
func (s *site) sawPlayer(service, protocol, seen string) {
	s.t.Helper()
	ap, err := netip.ParseAddrPort(seen)
	must(s.t, err)
	ap = at(ap.Addr().Unmap(), ap.Port())
	want := map[string]netip.Addr{"nat": nat4, "nat6": nat6, "transparent": player4}[service]
	if ap.Addr() != want {
		s.t.Errorf("behind %s the server sees %v, want %v", service, ap, want)
	}
	if service == "transparent" {
		return
	}
	behind, err := s.edge.client.Who(s.t.Context(), protocol, ap)
	must(s.t, err)
	if a := behind.Client.Addr(); a != player4 && a != player6 {
		s.t.Errorf("the edge says that %v is behind %v", a, ap)
	}
}

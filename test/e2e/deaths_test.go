// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"parry/loader"
)

// deathCounts is how often the daemon dies. `make deaths` (PARRY_DEATHS=full) asks for what is promised.
type deathCounts struct {
	kills, replacements, reloads, reuses int
	players                              int // UDP players in each mode and family
	every                                time.Duration
}

func deaths() deathCounts {
	if os.Getenv("PARRY_DEATHS") == "full" {
		return deathCounts{kills: 100, replacements: 20, reloads: 20, reuses: 5, players: 8, every: 20 * time.Millisecond}
	}
	return deathCounts{kills: 5, replacements: 2, reloads: 3, reuses: 1, players: 3, every: 20 * time.Millisecond}
}

// guarded has limits that nobody here meets: their code runs.
const guarded = "limits: {source: {packets_per_second: 500000, burst: 500000, new_sessions: 0, sessions: 0}}\n"

// mortal is a crowd whose edge's daemon dies.
type mortal struct {
	*crowd
	rng   *rand.Rand
	began ledger
}

func newMortal(t *testing.T, name string, n deathCounts) *mortal {
	t.Helper()
	s := newSite(t, name, siteOptions{counted: true})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s.edge.run(everyMode(guarded))
	began := s.books.read()
	return &mortal{crowd: s.newCrowd(s.ways(), n.players, n.every), rng: rand.New(rand.NewPCG(seed, 0)), began: began}
}

// TestDeaths kills, replaces and reloads the daemon while many play: no packet may be lost at the edge, no session, no
// port, and none may reach another's.
func TestDeaths(t *testing.T) {
	t.Parallel()
	n := deaths()
	m := newMortal(t, "deaths", n)
	half := 0
	for i := range n.kills {
		if m.killOnce(i) {
			half++
		}
	}
	m.s.books.balance(m.began, fmt.Sprintf("%d kills", n.kills))
	m.replace(n.replacements)
	m.s.books.balance(m.began, fmt.Sprintf("%d replacements", n.replacements))
	m.reload(n.reloads)
	m.more(5)
	m.meet()
	players, datagrams := m.end()
	sum := m.s.books.balance(m.began, "all of it")
	ports, used := m.ports()
	t.Logf("%d kills (%d of them while it started), %d replacements, %d reloads under load", n.kills, half, n.replacements, n.reloads)
	t.Logf("%d packets came in at the edge (%d datagrams of players), %d lost at it", sum.cameIn(), datagrams, sum.lost())
	t.Logf("%d sessions, %d ports, %d of them in sessions: none lost, none leaked, no packet to another's session", players, ports, used)
}

// killOnce ends the daemon at any moment, half the time while it starts, and starts the next. Somebody joins while there
// is none. Returns whether a start was cut short.
func (m *mortal) killOnce(i int) (early bool) {
	m.t.Helper()
	e := m.s.edge
	e.kill()
	w := m.ways[i%len(m.ways)]
	m.join(w)
	m.more(2)
	if early = m.rng.IntN(2) == 0; early {
		e.launch()
		// Nothing is waited for here: the moment of the kill is what is tried, and any of a start's is to be survived.
		time.Sleep(time.Duration(m.rng.IntN(400)) * time.Millisecond)
		e.kill()
		m.more(2)
	}
	said := len(e.said())
	e.start()
	if !strings.Contains(e.said()[said:], "adopted=true") {
		m.t.Error("the new daemon does not say that it adopted what it found")
	}
	if gens, err := filepath.Glob(filepath.Join(e.pin, "gen-*")); err != nil || len(gens) != 1 {
		m.t.Errorf("%d generations are pinned (%v)", len(gens), err)
	}
	m.more(2)
	m.leave(0)
	m.meet()
	return early
}

// replace upgrades the program: the daemon ends, the next one is another build, and what runs on the interfaces after
// that is another generation.
func (m *mortal) replace(times int) {
	t := m.t
	t.Helper()
	e := m.s.edge
	builds := []string{e.bin, buildAs(t, "next", "")}
	for i := range times {
		before := m.s.attached()
		e.bin = builds[(i+1)%2]
		e.term()
		m.more(2)
		e.start()
		m.more(2)
		for name, id := range m.s.attached() {
			if id == 0 || id == before[name] {
				t.Errorf("%s carries program %d, the one before was %d", name, id, before[name])
			}
		}
		if v := e.status().Version; (v == "next") != ((i+1)%2 == 1) {
			t.Errorf("version %q runs", v)
		}
		m.meet()
	}
}

// buildAs builds parry as another version, with the sources that an overlay of `go build` changes, if any.
func buildAs(t *testing.T, version, overlay string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "parry-"+version)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + version}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "-o", bin, "parry/cmd/parry")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build parry: %v\n%s", err, out)
	}
	return bin
}

// attached are the ids of the programs on the edge's interfaces.
func (s *site) attached() map[string]uint32 {
	s.t.Helper()
	ids := map[string]uint32{}
	must(s.t, s.gate.Do(func() error {
		for _, name := range s.edge.interfaces {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if x := l.Attrs().Xdp; x != nil {
				ids[name] = x.ProgId
			}
		}
		return nil
	}))
	return ids
}

// reload adds a service and removes it again, by turns, by command and by signal. Who plays on it plays on.
func (m *mortal) reload(times int) {
	t := m.t
	t.Helper()
	later := service{name: "later", listen: `"203.0.113.10:27990"`, forward: "nat", servers: []string{"10.0.1.11:27990"}}
	m.servers = append(m.servers, m.s.udpServer(m.s.servers, at(server4, laterPort), ""))
	w := way{name: "later", vip: at(vip4, laterPort), player: player4}
	for i := range times {
		text := everyMode(guarded)
		if i%2 == 0 {
			text = everyMode(guarded, later)
		}
		m.s.edge.configure(text)
		m.s.edge.reload(i%4 < 2)
		if i%2 == 0 {
			m.join(w)
		}
		m.more(3)
		m.meet()
	}
}

// reload has the daemon read its configuration again: by command, or by signal.
func (e *edge) reload(command bool) {
	e.t.Helper()
	if command {
		e.ok("reload")
		return
	}
	n := strings.Count(e.said(), "the configuration is reloaded")
	must(e.t, e.proc.Signal(syscall.SIGHUP))
	e.await(startPatience, "the configuration to be reloaded", func() bool {
		return strings.Count(e.said(), "the configuration is reloaded") > n
	})
}

// ports reads where each NAT port is. The daemon must have ended: what is pinned is its own.
func (e *edge) ports() []loader.PortUse {
	e.t.Helper()
	l, err := loader.Open(loader.Options{Pin: e.pin, Log: discard})
	must(e.t, err)
	all, err := l.Ports()
	must(e.t, err, l.Close())
	return all
}

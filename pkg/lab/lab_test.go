// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parry/pkg/config"
	"parry/test/need"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "run" {
		if err := standIn(os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "stand-in:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// traces lists what is left of this process's worlds.
func traces(t *testing.T) []string {
	t.Helper()
	left, err := filepath.Glob("/run/netns/parry-" + pid() + "-*")
	must(t, err)
	dirs, err := filepath.Glob("/run/parry-worlds/parry-" + pid() + "-*")
	must(t, err)
	return append(left, dirs...)
}

func pid() string {
	s, err := os.Readlink("/proc/self")
	if err != nil {
		return "unknown"
	}
	return s
}

func TestLabProvesThatAnEdgeKeepsPlayersPlaying(t *testing.T) {
	var text bytes.Buffer
	r, err := Run(t.Context(), Options{Scenario: "fixed-udp", Duration: shortRun, Rate: 20000, Edge: plain(t),
		View: &Terminal{Out: &text, Title: "plain"}, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	if err := r.Err(); err != nil {
		t.Errorf("the plain edge at a mild flood: %v", err)
	}
	est, fresh, tcp, joins := r.Players[0], r.Players[1], r.Players[2], r.Players[3]
	if joins.Players == 0 || joins.Joined != joins.Players || joins.ByGame[0].Game != "minecraft_java" {
		t.Errorf("by tcp: %+v", joins)
	}
	// 100 players, 60 moves a second, nearly 9 seconds; a starved machine ticks less often.
	if est.Joined != establishedPlayers() || est.Sent < 25000 || est.Received < est.Sent*9/10 {
		t.Errorf("established: %+v", est)
	}
	if fresh.Joined != fresh.Players || fresh.Sent == 0 || fresh.JoinMS <= 0 {
		t.Errorf("new: %+v", fresh)
	}
	if tcp.Joined != tcpPlayers || tcp.Sent < 200 || tcp.Lost != 0 {
		t.Errorf("tcp: %+v", tcp)
	}
	if r.Attack.Packets < 10000 || r.Attack.Sources != fixedAttackers || r.Attack.Reached < 10000 {
		t.Errorf("attack: %+v", r.Attack)
	}
	if b := r.Block; b == nil || !b.Joined || !b.Silenced || !b.Released {
		t.Errorf("block: %+v", b)
	}
	if c := r.Restart; c == nil || c.Lost != 0 || c.DownMS < ms(100*time.Millisecond) {
		t.Errorf("crash: %+v", c)
	}
	for _, want := range []string{"before, UDP   100/100", "parry block add 198.18.0.66", "PASSED"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the view doesn't show %q", want)
		}
	}
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("%s", text.String())
	}
}

func TestLabSeesAnEdgeThatLosesPackets(t *testing.T) {
	maker := plain(t)
	r, err := Run(t.Context(), Options{Scenario: "play", Duration: MinDuration, Short: true, View: Quiet{}, Log: slog.New(slog.DiscardHandler),
		Edge: func(s *Site) (Edge, error) {
			e, err := maker(s)
			return &lossy{e.(*undead)}, err
		}})
	must(t, err)
	est, arena := r.Players[0], r.Players[0].ByGame[arenaGame]
	// One in a hundred of what passes on the way to the lab's own game's servers.
	if arena.Lost < arena.Sent/200 || arena.Lost > arena.Sent/50 || est.Lost != arena.Lost {
		t.Errorf("lost %d of %d, want about one in a hundred: %+v", arena.Lost, arena.Sent, est)
	}
	if r.Err() == nil {
		t.Error("the run passed")
	}
	if r.Attack.Packets != 0 || r.Attack.Sources != 0 {
		t.Errorf("play attacked: %+v", r.Attack)
	}
}

func TestPlainEdgeFailsWhereParryMustNot(t *testing.T) {
	needPlain(t)
	r, err := Run(t.Context(), Options{Scenario: "getstatus", Duration: MinDuration, Short: true, Edge: Nftables(), View: Quiet{},
		Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	if r.Err() == nil || r.Edge != "plain" {
		t.Errorf("the negative control passed: %v\n%+v", r.Err(), r.Checks)
	}
	if r.Queries[0].Asked == 0 || r.Attack.Answers.Frames == 0 {
		t.Errorf("nothing was asked: %+v, %+v", r.Queries, r.Attack)
	}
}

// Nobody joins a game over TCP while its server's room for beginnings is full of SYNs; without them all do.
func TestPlainEdgeLetsASYNFloodThrough(t *testing.T) {
	needPlain(t)
	r, err := Run(t.Context(), Options{Scenario: "syn", Duration: MinDuration, Short: true, Edge: Nftables(), View: Quiet{},
		Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	fresh := r.Players[3]
	if fresh.Players == 0 || fresh.ByGame[0].InTime == fresh.Players || r.Err() == nil || r.Attack.Reached == 0 {
		t.Errorf("the negative control passed: %+v, %v\n%+v", fresh, r.Err(), r.Checks)
	}
}

func TestInterruptedLabLeavesNothingBehind(t *testing.T) {
	maker := plain(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	v := &watcher{at: "attack", do: cancel}
	_, err := Run(ctx, Options{Scenario: "mix", Duration: shortRun, Rate: 20000, Edge: maker, View: v, Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestEdgeThatDoesNotStartIsReported(t *testing.T) {
	need.Root(t)
	_, err := Run(t.Context(), Options{Scenario: "play", Duration: shortRun, Edge: Parry("/bin/false"), View: Quiet{},
		Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "parry run ended") {
		t.Errorf("got %v", err)
	}
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// watcher calls do when a phase begins.
type watcher struct {
	Quiet
	at string
	do func()
}

func (w *watcher) Phase(p PhaseInfo) {
	if p.Name == w.at {
		w.do()
	}
}

func TestReportJSONKeepsItsShape(t *testing.T) {
	r := Report{Scenario: "random-udp", DurationMS: 60000,
		Players: []GroupReport{{Group: "established", Protocol: "udp", Players: 30, Sent: 108000, Received: 107990, Lost: 0,
			Joined: 30, JoinMS: ms(1234567), RTT: rttMS{ms(210 * time.Microsecond), ms(900 * time.Microsecond)}}},
		Attack: AttackReport{Packets: 5, Sources: 4, Dropped: map[string]uint64{"rate_packets": 3}},
		Block:  &BlockResult{Address: "198.18.0.66", Joined: true, Silenced: true, Released: true, EffectMS: ms(2 * time.Millisecond)},
	}
	var got bytes.Buffer
	must(t, r.WriteJSON(&got))
	golden(t, "report.json", got.Bytes())
	var shape struct {
		Scenario   *string
		DurationMS *int64 `json:"duration_ms"`
		Players    []map[string]any
		Attack     *struct {
			Packets, Sources *uint64
			Dropped          map[string]uint64
		}
	}
	must(t, json.Unmarshal(got.Bytes(), &shape))
	if shape.Scenario == nil || shape.DurationMS == nil || shape.Attack == nil || shape.Attack.Dropped == nil {
		t.Errorf("the fixed shape lacks a field: %s", got.String())
	}
	for _, key := range []string{"group", "players", "sent", "received", "lost", "joined", "join_ms", "rtt_ms", "rtt_calm_ms"} {
		if _, ok := shape.Players[0][key]; !ok {
			t.Errorf("players lack %q", key)
		}
	}
}

// golden compares with a file under testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		must(t, os.MkdirAll("testdata", 0o755), os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs (UPDATE_GOLDEN=1 writes it):\n%s", path, got)
	}
}

func TestConfigOfTheWorldIsValid(t *testing.T) {
	s := &Site{legs: plan()}
	c, err := config.Parse("lab.yaml", []byte(s.Config("/run/x/bpf/parry", "/run/x/state", "/run/x/parry.sock")))
	must(t, err)
	if c.Service("arena") == nil || c.Service("arena6") == nil || c.Service("outpost") == nil || len(c.Interfaces) != 3 {
		t.Errorf("services or interfaces are missing: %+v", c)
	}
}

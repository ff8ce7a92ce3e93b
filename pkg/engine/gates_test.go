// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parry/loader"
	ours "parry/loader/gates"
	"parry/pkg/api"
	"parry/pkg/game"
	"parry/test/need"
)

// operatorGate is one of parry's own under another name of as many letters.
func operatorGate(t *testing.T, name string) []byte {
	t.Helper()
	object := ours.Objects()["wireguard"]
	if len(name) != len("wireguard") || !bytes.Contains(object, []byte("wireguard\x00")) {
		t.Fatal("no name to change")
	}
	return bytes.ReplaceAll(object, []byte("wireguard\x00"), []byte(name+"\x00"))
}

// gatedEdge is an engine as far as gates need one: a state folder, and a configuration with a local service on each gate.
func gatedEdge(t *testing.T, gates ...string) edgeAPI {
	t.Helper()
	text := "state: " + t.TempDir() + "\nservices:\n"
	for _, g := range append([]string{"off"}, gates...) {
		text += "  - {name: " + g + "s, listen: \"203.0.113.10:" + []string{"1", "2", "3"}[strings.Count(text, "listen")] + "\", protocol: udp, gate: " + g + ", forward: local}\n"
	}
	e := &Engine{cfg: parse(t, text), log: slog.New(slog.DiscardHandler)}
	var err error
	if e.gates, err = openGates(e.cfg.State); err != nil {
		t.Fatal(err)
	}
	return edgeAPI{e: e}
}

func list(t *testing.T, a edgeAPI) map[string]api.Gate {
	t.Helper()
	all, err := a.Gates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]api.Gate{}
	for _, g := range all {
		m[g.Name] = g
	}
	return m
}

// What the table of games promises is what parry's own gates say of themselves.
func TestEveryGameHasTheGateThatItsProfileNames(t *testing.T) {
	g, err := openGates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(g.builtIn) < len(game.Gates()) {
		t.Errorf("parry's own gates are %v, the table names %v", g.names(), game.Gates())
	}
	for _, p := range game.Profiles() {
		if p.Gate == "" {
			continue
		}
		own, ok := g.builtIn[p.Gate]
		if !ok {
			t.Errorf("%s: parry has no gate %s", p.Name, p.Gate)
			continue
		}
		want := own.Proof.String()
		switch {
		case p.Proto == "tcp":
			want = game.ProofStrong // its handshake
		case want == "none":
			want = game.ProofWeak // a two-way exchange
		case want == game.ProofNetchan && !p.IsFamily() && p.Proof == game.ProofWeak:
			continue // its packets have no checksum
		}
		if p.Proof != want {
			t.Errorf("%s: proof %s, its gate %s says %s: want %s", p.Name, p.Proof, p.Gate, own.Proof, want)
		}
	}
}

func TestGatesAreLoadedKeptAndUnloaded(t *testing.T) {
	need.Root(t)
	a := gatedEdge(t)
	before := len(list(t, a))
	g, err := a.LoadGate(t.Context(), operatorGate(t, "operators"))
	if err != nil {
		t.Fatal(err)
	}
	if g.Name != "operators" || g.Source != api.GateOperator || g.State != api.GateUnused || len(g.Services) != 0 {
		t.Errorf("%+v", g)
	}
	for what, have := range map[string]edgeAPI{"now": a, "after a restart": {e: &Engine{cfg: a.e.cfg, gates: reopened(t, a)}}} {
		if all := list(t, have); len(all) != before+1 || all["operators"].State != api.GateUnused || all["wireguard"].Source != api.GateBuiltIn {
			t.Errorf("%s: %+v", what, all)
		}
	}
	if info, err := os.Stat(filepath.Join(a.e.cfg.State, "gates", "operators.o")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if err := a.UnloadGate(t.Context(), "operators"); err != nil {
		t.Fatal(err)
	}
	if got := len(reopened(t, a).all()); got != before {
		t.Errorf("%d gates, want %d", got, before)
	}
}

func reopened(t *testing.T, a edgeAPI) *gates {
	t.Helper()
	g, err := openGates(a.e.cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	need.Root(t)
	a := gatedEdge(t)
	if _, err := a.LoadGate(t.Context(), operatorGate(t, "operators")); err != nil {
		t.Fatal(err)
	}
	good := operatorGate(t, "operators")
	for _, row := range []struct {
		name   string
		object []byte
		want   string
	}{
		{"junk", []byte("junk"), "not an object"},
		{"half", good[:len(good)/2], "not an object"},
		{"100 MB", make([]byte, 100_000_000), "too large"},
		{"another ABI", bytes.Replace(good, []byte("\x01\x00\x00\x00\x00\x00\x00\x00operators"), []byte("\x02\x00\x00\x00\x00\x00\x00\x00operators"), 1), "gate ABI 2"},
		{"parry's own", ours.Objects()["wireguard"], "wireguard is the name of one of parry's own gates"},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := list(t, a)
			_, err := a.LoadGate(t.Context(), row.object)
			if !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want an ErrInvalid with %q", err, row.want)
			}
			if after := list(t, a); len(after) != len(before) {
				t.Errorf("gates before: %v, after: %v", before, after)
			}
			if kept, err := os.ReadFile(filepath.Join(a.e.cfg.State, "gates", "operators.o")); err != nil || !bytes.Equal(kept, good) {
				t.Errorf("what is kept has changed: %v", err)
			}
		})
	}
}

func TestUnloadIsRefusedInWords(t *testing.T) {
	need.Root(t)
	a := gatedEdge(t, "wireguard")
	if _, err := a.LoadGate(t.Context(), operatorGate(t, "operators")); err != nil {
		t.Fatal(err)
	}
	a.e.cfg.Services[0].Gate = "operators"
	for _, row := range []struct {
		name string
		kind error
		want string
	}{
		{"operators", api.ErrBusy, "gate operators is in use by [offs]"},
		{"wireguard", api.ErrInvalid, "wireguard is one of parry's own gates"},
		{"operator", api.ErrNotFound, "there is no gate operator: did you mean operators?"},
		{"nobody", api.ErrNotFound, "there is no gate nobody"},
	} {
		if err := a.UnloadGate(t.Context(), row.name); !errors.Is(err, row.kind) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %v with %q", row.name, err, row.kind, row.want)
		}
	}
	if got := list(t, a)["operators"]; got.State != api.GateLoaded || len(got.Services) != 1 || got.Services[0] != "offs" {
		t.Errorf("%+v", got)
	}
}

// A gate that is kept but can't be used is shown with the reason, hinders nobody else, and is refused where it is named.
func TestKeptGatesThatCantBeUsed(t *testing.T) {
	a := gatedEdge(t)
	dir := filepath.Join(a.e.cfg.State, "gates")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, object []byte, mode os.FileMode) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, object, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	good := operatorGate(t, "operators")
	write("operators.o", good, 0o600)
	write("renamed.o", good, 0o600)
	write("junk.o", []byte("junk"), 0o600)
	write("anybodys.o", good, 0o666)
	write("wireguard.o", ours.Objects()["wireguard"], 0o600)
	write(".operators.new", []byte("half of one"), 0o600)
	write("notes.txt", []byte("not a gate"), 0o600)
	if err := os.Symlink("operators.o", filepath.Join(dir, "linked.o")); err != nil {
		t.Fatal(err)
	}
	g := reopened(t, a)
	if len(g.own) != 1 || len(g.refused) != 5 {
		t.Errorf("usable: %v, refused: %v", g.own, g.refused)
	}
	for name, want := range map[string]string{
		"renamed": "file renamed.o holds gate operators", "junk": "not an object", "anybodys": "can be written by others", "linked": "too many levels",
		"wireguard": "one of parry's own",
	} {
		if !strings.Contains(g.refused[name], want) {
			t.Errorf("%s: %q, want %q", name, g.refused[name], want)
		}
	}
	if _, ok := g.builtIn["wireguard"]; !ok {
		t.Error("parry's own gate is gone")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if g := reopened(t, a); len(g.own) != 0 || !strings.Contains(g.refused["operators"], "can be written by others") {
		t.Errorf("from a folder that anybody writes: %v, %v", g.own, g.refused)
	}
}

func TestUnknownGatesAreToldWithTheirPlace(t *testing.T) {
	dir := t.TempDir()
	c := parse(t, "state: "+dir+`
services:
  - {name: a, listen: "203.0.113.10:1", protocol: udp, gate: quack3, forward: local}
  - {name: b, listen: "203.0.113.10:2", protocol: udp, gate: mygame, forward: local}
  - {name: c, listen: "203.0.113.10:3", protocol: udp, gate: quake3, forward: local}
  - {name: d, listen: "203.0.113.10:4", protocol: udp, gate: broken, forward: local}
`)
	if err := os.Mkdir(filepath.Join(dir, "gates"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gates", "broken.o"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := gatesFor(c, nil)
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	want := `t.yaml:3:62: there is no gate "quack3": ` + "`parry gate list` shows them, `parry gate load` adds one" + ` (did you mean "quake3"?)
t.yaml:4:62: there is no gate "mygame": ` + "`parry gate list` shows them, `parry gate load` adds one" + `
t.yaml:6:62: gate "broken" can't be used: no gate: not an object that clang makes for BPF, or a damaged one: EOF`
	if err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
}

// Each generation has those gates that are in use, and no others.
func TestOnlyGatesInUseAreInThePlan(t *testing.T) {
	a := gatedEdge(t, "wireguard")
	used := a.e.gates.used(a.e.cfg)
	if len(used) != 1 || used[0].Name != "wireguard" {
		t.Errorf("%d gates: %+v", len(used), used)
	}
	if s := serviceOf(&a.e.cfg.Services[1]); s.Gate != "wireguard" {
		t.Errorf("the service has gate %q", s.Gate)
	}
}

func TestTryGateTellsWhatItCosts(t *testing.T) {
	need.Root(t)
	got, err := TryGate(operatorGate(t, "operators"))
	if err != nil || got.Name != "operators" || !got.Tried || got.Instructions == 0 || got.MachineCode == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := TryGate([]byte("junk")); !errors.Is(err, loader.ErrGate) {
		t.Error(err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/test/need"
)

// The example of docs/gates.md.
const exampleGate = "../../examples/gate/mygame.c"

// hello is what a client of the example's game begins with.
func hello(version byte) []byte {
	return append([]byte{'M', 'G', 1, version}, make([]byte, 12)...)
}

// gates are those of the operator's, as `parry gate list --json` shows them.
func (e *edge) gates() map[string]api.Gate {
	e.t.Helper()
	var all []api.Gate
	must(e.t, json.Unmarshal([]byte(e.ok("gate", "list", "--json")), &all))
	own := map[string]api.Gate{}
	for _, g := range all {
		if g.Source == api.GateOperator {
			own[g.Name] = g
		}
	}
	return own
}

// refuses wants a command refused with words, and the gates as they were.
func (e *edge) refuses(want string, args ...string) {
	e.t.Helper()
	before := e.gates()
	o := e.cli("", args...)
	if o.code != 1 || !strings.Contains(o.err, want) {
		e.t.Errorf("parry %s: exit code %d, %q; want it refused with %q", strings.Join(args, " "), o.code, o.err, want)
	}
	if after := e.gates(); len(after) != len(before) {
		e.t.Errorf("gates %v before, %v after", before, after)
	}
}

// An operator's gate comes to a running edge, judges its service's strangers, is replaced, outlives the daemon and goes;
// and a player in a match loses nothing by any of it.
func TestAnOperatorsGate(t *testing.T) {
	t.Parallel()
	object := need.Gate(t, string(exampleSource(t)))
	s := newSite(t, "gate", siteOptions{})
	mine := service{name: "mine", listen: at(vip4, 7000).String(), forward: "nat", servers: []string{at(server4, 7000).String()}}
	s.edge.run(unlimited + yaml(mine))
	s.udpServer(s.servers, at(server4, 7000), "")
	in := s.udpPlayer(s.players, s.playerAt(1), at(vip4, 7000))
	in.join(patience)
	match := in.play(2 * time.Millisecond)
	match.more(20)

	s.edge.ok("gate", "load", exampleGate)
	if g := s.edge.gates()["mygame"]; g.State != api.GateUnused || g.Proof != "strong" || g.ABI != 1 {
		t.Errorf("%+v", g)
	}
	with := mine
	with.more = "gate: mygame, gate_params: [3]"
	s.edge.configure(unlimited + yaml(with))
	s.edge.ok("reload")
	if g := s.edge.gates()["mygame"]; g.State != api.GateLoaded || len(g.Services) != 1 || g.Services[0] != "mine" {
		t.Errorf("%+v", g)
	}
	s.judges(2, 3)

	newer := filepath.Join(t.TempDir(), "newer.o")
	source := filepath.Join(filepath.Dir(newer), "newer.c")
	must(t, os.WriteFile(source, bytes.Replace(exampleSource(t), []byte("h.version < g->params[0]"), []byte("h.version < 9"), 1), 0o600))
	s.edge.ok("gate", "build", source)
	if out := s.edge.ok("gate", "load", newer); !strings.Contains(out, "mine asks it from now on") {
		t.Errorf("it says %q", out)
	}
	s.judges(8, 9)
	match.more(20)

	s.edge.refusesBadGates(object)
	s.edge.refuses("gate mygame is in use by [mine]", "gate", "unload", "mygame")
	s.judges(8, 9)

	s.edge.kill()
	s.judged(8, false)
	s.judged(9, true)
	s.edge.start()
	s.judges(8, 9)
	match.more(20)

	s.edge.configure(unlimited + yaml(mine))
	s.edge.ok("reload")
	s.edge.ok("gate", "unload", "mygame")
	if all := s.edge.gates(); len(all) != 0 {
		t.Errorf("gates are left: %v", all)
	}
	s.judged(8, true)
	match.more(20)
	if got := match.end(); got.lost > 0 {
		t.Errorf("the player in a match: %v", got)
	}
}

func exampleSource(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(exampleGate)
	must(t, err)
	return text
}

// judges wants one version refused and counted, and another let in.
func (s *site) judges(bad, good byte) {
	s.t.Helper()
	before := s.edge.drops("gate_refused")
	s.judged(bad, false)
	if got := s.edge.drops("gate_refused"); got == before {
		s.t.Errorf("nothing was counted as gate_refused: %d", got)
	}
	s.judged(good, true)
}

// judged has a new player say hello.
func (s *site) judged(version byte, in bool) {
	s.t.Helper()
	p := s.udpPlayer(s.players, s.playerAt(1), at(vip4, 7000))
	if !in {
		p.silent(hello(version), 300*time.Millisecond)
		return
	}
	if got, err := p.ask(hello(version)); err != nil || !bytes.Equal(got, hello(version)) {
		s.t.Errorf("version %d: answer %x, %v", version, got, err)
	}
	p.echo(100)
}

// refusesBadGates hands the daemon what it can't use.
func (e *edge) refusesBadGates(good []byte) {
	e.t.Helper()
	dir := e.t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		must(e.t, os.WriteFile(path, content, 0o600))
		return path
	}
	body := func(text string) []byte { return []byte(need.GateText(text)) }
	for _, row := range []struct{ want, file string }{
		{"it takes too many steps, or loops without end", file("loops.c", body("	__u64 n = 0;\n	for (__u64 i = 0; i < g->now; i++)\n		n += i ^ n << 1;\n	return n;"))},
		{"at reads.c:4: `return ((__u8 *)(long)ctx->data)[99];`: it reads the packet where it may have ended", file("reads.c", body("	return ((__u8 *)(long)ctx->data)[99];"))},
		{"it doesn't compile", file("slips.c", body("	return g->lenght;"))},
		{"gate ABI 2, this parry speaks 1", file("abi.o", bytes.Replace(good, []byte("\x01\x00\x00\x00\x02\x00\x00\x00mygame"), []byte("\x02\x00\x00\x00\x02\x00\x00\x00mygame"), 1))},
		{"not an object that clang makes for BPF", file("half.o", good[:len(good)/2])},
		{"it doesn't say what it is", file("none.c", []byte("int nothing;\n"))},
		{"at most 1048576 bytes", file("large.o", make([]byte, 100_000_000))},
		{"quake3 is the name of one of parry's own gates", file("ours.c", bytes.ReplaceAll(exampleSource(e.t), []byte("PARRY_GATE(mygame"), []byte("PARRY_GATE(quake3")))},
	} {
		e.refuses(row.want, "gate", "load", row.file)
	}
}

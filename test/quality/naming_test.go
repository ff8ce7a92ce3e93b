// SPDX-License-Identifier: Apache-2.0

package quality

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"parry/pkg/naming"
	"parry/test/firsts"
	"parry/test/need"
)

// Targets of issue 6, of flows whose label rests on no classifier and no port.
const (
	leastMacro   = 0.95
	negativesPer = 2000 // of as many that are no game, one at most may be called one
)

// print is where tables go: to who runs `make quality`, else nowhere.
func print() io.Writer {
	if os.Getenv("PARRY_QUALITY") == "" {
		return io.Discard
	}
	return os.Stdout
}

// Sessions that are made up from the protocols' descriptions.
func TestMadeUp(t *testing.T) {
	each := 100
	if os.Getenv("PARRY_QUALITY") != "" {
		each = 3000
	}
	b, namer, wrong := newBoard(), new(naming.Namer), &negatives{}
	for _, s := range firsts.Flows(2026, each) {
		proto := naming.UDP
		if s.TCP {
			proto = naming.TCP
		}
		f := naming.Begin(proto, s.Port, true)
		for _, p := range s.Packets {
			namer.Feed(&f, p.Up, p.Payload, len(p.Payload))
		}
		said := f.Name()
		b.count(s.Label, []string{said.Game.String()}, 1)
		wrong.count(row{label: s.Label}, said)
	}
	out := print()
	fmt.Fprintf(out, "\nMade-up sessions, %d of each kind:\n\n", each)
	b.table(out)
	wrong.check(t, out, b.macro())
}

// negatives counts what is no game, and tells what of it is called one.
type negatives struct {
	all    int
	called []string
}

func (n *negatives) count(r row, said naming.Name) {
	if r.game() {
		return
	}
	n.all++
	if said.Game.Plays() {
		n.called = append(n.called, fmt.Sprintf("%s %s is %s (%s), and called %v: %s", r.file, r.flow, r.label, r.evidence, said.Game, said.Reason))
	}
}

// check prints how it went, and fails where a target is missed.
func (n *negatives) check(t *testing.T, out io.Writer, macro float64) {
	t.Helper()
	fmt.Fprintf(out, "\nmacro-F1 over games and voice: %.3f (target: at least %.2f)\nno game, and called one: %d of %d (target: at most 1 in %d)\n",
		macro, leastMacro, len(n.called), n.all, negativesPer)
	for _, c := range n.called {
		fmt.Fprintln(out, " ", c)
	}
	if macro < leastMacro {
		t.Errorf("macro-F1 is %.3f", macro)
	}
	if len(n.called)*negativesPer > n.all {
		t.Errorf("%d of %d that are no game are called one: %s", len(n.called), n.all, strings.Join(n.called, "\n"))
	}
}

// Flows that were captured, beside nDPI.
func TestCaptured(t *testing.T) {
	flows := judge(t)
	slices.SortFunc(flows, func(a, b judged) int { return strings.Compare(a.file+a.flow, b.file+b.flow) })
	out := print()
	debian, how := askNDPI(t, flows)
	ours, all, wrong := newBoard(), newBoard(), &negatives{}
	others := []column{newColumn("nDPI 4.2"), newColumn("nDPI 2026")}
	var missed []string
	for i := range flows {
		f := &flows[i]
		all.count(f.label, []string{f.said.Game.String()}, 1)
		wrong.count(row{f.file, f.flow, f.label, f.evidence, "", ""}, f.said)
		if !f.strong() {
			continue
		}
		ours.count(f.label, []string{f.said.Game.String()}, 1)
		others[0].count(f, debian[i])
		others[1].count(f, f.newest)
		if f.game() && f.said.Game.String() != f.label {
			missed = append(missed, fmt.Sprintf("%s %s is %s (%s): %s", f.file, f.flow, f.label, f.evidence, f.said.Reason))
		}
	}
	fmt.Fprintf(out, "\nCaptured flows whose label rests on bytes, on having made them, or on where they come from. nDPI 4.2 is Debian's: %s.\n"+
		"nDPI 2026 is what is on record. Names of nDPI that stand for several labels count as right for each. Its F1 is over the flows that it\n"+
		"was asked about, beside ours over the same.\n\n", how)
	ours.table(out, others...)
	for _, m := range missed {
		fmt.Fprintln(out, "  missed:", m)
	}
	fmt.Fprint(out, "\nAll captured flows, those whose label is nDPI's own word or a port's, too:\n\n")
	all.table(out)
	wrong.check(t, out, ours.macro())
	for _, l := range naming.Labels() {
		for _, c := range others {
			if us, them := c.ours.of(l.String()), c.theirs.of(l.String()); l.Plays() && us.right+us.missed > 0 && us.f1() < them.f1() {
				t.Errorf("%v: F1 %.3f, of %s %.3f", l, us.f1(), c.name, them.f1())
			}
		}
	}
}

// askNDPI tells what Debian's nDPI calls each flow: by running it under `make quality` if it is there, else by the column that says
// what it said.
func askNDPI(t *testing.T, flows []judged) (names []string, how string) {
	names, how = make([]string, len(flows)), "what labels.tsv says of it, for it was not run"
	for i := range flows {
		names[i] = flows[i].ndpi
	}
	if os.Getenv("PARRY_QUALITY") == "" {
		return names, how
	}
	dir, scratch := need.Captures(t), t.TempDir()
	read, latest := map[tuple]string{}, ""
	ran := 0
	for i := range flows {
		f := &flows[i]
		if f.file != latest {
			latest = f.file
			var err error
			if read, err = ndpiReads(t, filepath.Join(dir, f.file), scratch); errors.Is(err, errNoReader) {
				return names, "what labels.tsv says of it, for " + err.Error()
			} else if err != nil {
				t.Error(err)
			}
		}
		if k, ok := tupleOf(f.flow); ok && read[k] != "" {
			names[i] = read[k]
			ran++
		}
	}
	return names, fmt.Sprintf("ndpiReader was run, and told of %d of all %d flows; of the rest labels.tsv says what it said", ran, len(flows))
}

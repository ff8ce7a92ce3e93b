// SPDX-License-Identifier: Apache-2.0

package quality

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"parry/pkg/naming"
)

// tally counts of one label: right, called so and another, another and not called so.
type tally struct{ right, extra, missed int }

func (t tally) precision() float64 { return share(t.right, t.right+t.extra) }
func (t tally) recall() float64    { return share(t.right, t.right+t.missed) }

func (t tally) f1() float64 {
	return share(2*t.right, 2*t.right+t.extra+t.missed)
}

func share(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// board is how somebody does over all labels. Who says a name that stands for several labels is right if one of them is.
type board struct {
	labels map[string]*tally
	said   map[string]map[string]int // by label: what was said instead
}

func newBoard() *board {
	return &board{labels: map[string]*tally{}, said: map[string]map[string]int{}}
}

func (b *board) of(label string) *tally {
	if b.labels[label] == nil {
		b.labels[label] = &tally{}
	}
	return b.labels[label]
}

// count counts a flow that is truth and was called one of guesses.
func (b *board) count(truth string, guesses []string, n int) {
	if slices.Contains(guesses, truth) {
		b.of(truth).right += n
		return
	}
	b.of(truth).missed += n
	if b.said[truth] == nil {
		b.said[truth] = map[string]int{}
	}
	b.said[truth][strings.Join(guesses, "|")] += n
	for _, g := range guesses {
		b.of(g).extra += n
	}
}

// instead tells what a label's flows were called instead, the most frequent first.
func (b *board) instead(label string) string {
	var names []string
	for name := range b.said[label] {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		if d := b.said[label][y] - b.said[label][x]; d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	var parts []string
	for _, name := range names[:min(len(names), 4)] {
		parts = append(parts, fmt.Sprintf("%s %d", name, b.said[label][name]))
	}
	return strings.Join(parts, ", ")
}

// macro is the mean F1 over game and voice labels that have flows.
func (b *board) macro() float64 {
	sum, n := 0.0, 0
	for _, l := range naming.Labels() {
		if t := b.labels[l.String()]; l.Plays() && t != nil && t.right+t.missed > 0 {
			sum, n = sum+t.f1(), n+1
		}
	}
	return sum / float64(max(n, 1))
}

// column is somebody whose F1 stands beside ours, over the flows that both were asked about.
type column struct {
	name         string
	theirs, ours *board
}

func newColumn(name string) column { return column{name, newBoard(), newBoard()} }

// count counts a flow, if they were asked about it.
func (c *column) count(f *judged, said string) {
	if said != "" {
		c.theirs.count(f.label, ndpiMeans(said), 1)
		c.ours.count(f.label, []string{f.said.Game.String()}, 1)
	}
}

// table prints precision, recall and F1 of each label that has flows, and others' F1.
func (b *board) table(out io.Writer, others ...column) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "label\tflows\tprecision\trecall\tF1\t")
	for _, o := range others {
		fmt.Fprintf(w, "F1 of %s\t(ours)\t", o.name)
	}
	fmt.Fprintln(w, "  called instead")
	for _, l := range naming.Labels() {
		t := b.labels[l.String()]
		if t == nil || t.right+t.missed == 0 {
			continue
		}
		fmt.Fprintf(w, "%v\t%d\t%.3f\t%.3f\t%.3f\t", l, t.right+t.missed, t.precision(), t.recall(), t.f1())
		for _, o := range others {
			us, them := o.ours.of(l.String()), o.theirs.of(l.String())
			if !l.Plays() || us.right+us.missed == 0 {
				fmt.Fprint(w, "\t\t")
				continue
			}
			fmt.Fprintf(w, "%.3f\t%.3f\t", them.f1(), us.f1())
		}
		fmt.Fprintf(w, "  %s\n", b.instead(l.String()))
	}
	_ = w.Flush() // to memory or a terminal
}

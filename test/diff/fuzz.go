// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"context"
	"errors"
	"math/rand/v2"

	"parry/test/model"
)

// coverage is what was reached.
type coverage struct {
	Packets   uint64
	Sequences uint64
	Verdicts  map[model.Verdict]uint64
	Reasons   map[model.Reason]uint64
	Shadows   map[model.Reason]uint64
	Sent      map[model.Reason]uint64 // of frames that this host sent
	Strangers model.Tried             // of whole sequences
	Regulars  int
	Shaken    uint64 // servers' answers to the SYN proxy that became two packets
	Watched   int    // halves that were being watched, at every look
}

func newCoverage() *coverage {
	return &coverage{Verdicts: map[model.Verdict]uint64{}, Reasons: map[model.Reason]uint64{}, Shadows: map[model.Reason]uint64{}, Sent: map[model.Reason]uint64{}}
}

func (c *coverage) packet(o model.Outcome) {
	c.Packets++
	c.Verdicts[o.Verdict]++
	c.Reasons[o.Reason]++
	c.Shadows[o.Shadow]++
	if o.ToServer != nil && o.ToClient != nil {
		c.Shaken++
	}
}

func (c *coverage) sent(o model.Outcome) {
	c.Packets++
	c.Sent[o.Reason]++
}

// add adds what another world reached.
func (c *coverage) add(o *coverage) {
	c.Packets += o.Packets
	c.Sequences += o.Sequences
	c.Strangers.Add(o.Strangers)
	c.Regulars += o.Regulars
	c.Shaken += o.Shaken
	c.Watched += o.Watched
	for k, n := range o.Verdicts {
		c.Verdicts[k] += n
	}
	for _, m := range []struct{ to, from map[model.Reason]uint64 }{{c.Reasons, o.Reasons}, {c.Shadows, o.Shadows}, {c.Sent, o.Sent}} {
		for k, n := range m.from {
			m.to[k] += n
		}
	}
}

const (
	movesInSequence = 2400
	settleEvery     = 400 // moves
)

// failure is a sequence by which the edge and its model came apart.
type failure struct {
	kind  string
	moves []uint64
	steps []step // what the moves came to
	why   error
}

func (f *failure) Error() string { return f.why.Error() }

// sequence is the moves of one sequence, each a seed of its own. Its first says when it begins; now and then one is a reload.
func sequence(seed uint64) []uint64 {
	r := rand.New(rand.NewPCG(seed, 1))
	all := make([]uint64, movesInSequence)
	for i := range all {
		all[i] = r.Uint64()
	}
	return all
}

// reloads tells whether a move is a reload: one sequence in four has one, for it and the way back from it cost as much as
// tens of thousands of packets.
func reloads(seed uint64) bool { return seed>>32%(4*movesInSequence) == 0 }

// play puts a fresh world through moves. A *failure says where it came apart; steps are kept only if keep is set.
func (w *world) play(moves []uint64, keep bool) error {
	if err := w.reset(); err != nil {
		return err
	}
	f := &failure{kind: w.kind}
	fail := func(i int, err error) error {
		var d *difference
		if !errors.As(err, &d) {
			return err
		}
		f.moves, f.why, w.apart = moves[:i+1], err, true
		return f
	}
	for i, seed := range moves {
		for _, s := range w.stepsOf(i, seed) {
			if keep {
				f.steps = append(f.steps, s)
			}
			if err := w.do(s); err != nil {
				return fail(i, err)
			}
		}
		if i%settleEvery == settleEvery-1 || i == len(moves)-1 {
			if err := w.settle(); err != nil {
				return fail(i, err)
			}
		}
	}
	return nil
}

func (w *world) stepsOf(i int, seed uint64) []step {
	d := w.draw(seed)
	switch {
	case i == 0 && d.one(4):
		return []step{{op: "clock", n: d.IntN(len(clocks))}}
	case len(w.edge.plans) > 1 && reloads(seed):
		return d.reload()
	}
	return w.choose.next(d)
}

// replay puts a fresh world through steps, and compares all at the end.
func (w *world) replay(steps []step) error {
	if err := w.reset(); err != nil {
		return err
	}
	for _, s := range steps {
		if err := w.do(s); err != nil {
			return err
		}
	}
	return w.settle()
}

// fuzz plays so many sequences, until the context ends, or one fails: then it returns that *failure.
func (w *world) fuzz(ctx context.Context, seed uint64, most int) error {
	for ; most > 0 && ctx.Err() == nil; seed, most = seed+1, most-1 {
		if err := w.play(sequence(seed), false); err != nil {
			return err
		}
		w.seen.Sequences++
		w.seen.Regulars += w.model.Regulars()
		for i := range w.model.Names {
			w.seen.Strangers.Add(w.model.Tried(i))
		}
	}
	return nil
}

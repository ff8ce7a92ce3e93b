// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"context"
	"errors"
	"slices"
)

// shrink cuts a failing sequence down: as long as it still fails, by whatever difference, its moves go in ever smaller runs,
// and then its steps likewise. It stops where nothing more can go, or when the context ends.
func (w *world) shrink(ctx context.Context, f *failure) (*failure, error) {
	fails := func(some []uint64) (bool, error) { return isFailure(w.play(some, false)) }
	moves := f.moves
	quick := append(moves[:1:1], slices.DeleteFunc(slices.Clone(moves[1:]), reloads)...) // reloads take the most time
	if failed, err := fails(quick); err != nil {
		return f, err
	} else if failed {
		moves = quick
	}
	moves, err := reduce(ctx, moves, fails)
	if err != nil {
		return f, err
	}
	var last *failure
	if err := w.play(moves, true); !errors.As(err, &last) {
		f.why = differ("%v\n(played again it does not come apart: something of the sequence before it was left)", f.why)
		return f, err
	}
	var why error
	last.steps, err = reduce(ctx, last.steps, func(some []step) (bool, error) {
		err := w.replay(some)
		failed, err2 := isFailure(err)
		if failed {
			why = err
		}
		return failed, err2
	})
	if why != nil {
		last.why = why
	}
	return last, err
}

func isFailure(err error) (bool, error) {
	var f *failure
	var d *difference
	if errors.As(err, &f) || errors.As(err, &d) {
		return true, nil
	}
	return false, err
}

// reduce is delta debugging (ddmin's complements): the shortest it finds of which the test still holds.
func reduce[T any](ctx context.Context, all []T, fails func([]T) (bool, error)) ([]T, error) {
	for size := (len(all) + 1) / 2; size > 0; {
		removed := false
		for at := 0; at < len(all) && ctx.Err() == nil; {
			end := min(at+size, len(all))
			rest := append(append([]T{}, all[:at]...), all[end:]...)
			failed, err := fails(rest)
			if err != nil {
				return all, err
			}
			if failed {
				all, removed = rest, true
				continue
			}
			at = end
		}
		switch {
		case ctx.Err() != nil:
			return all, nil
		case size > 1:
			size = (size + 1) / 2
		case !removed:
			return all, nil
		}
	}
	return all, nil
}

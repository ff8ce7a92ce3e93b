// SPDX-License-Identifier: Apache-2.0

package classify_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"parry/pkg/classify"
	"parry/pkg/naming"
	"parry/pkg/pcap"
	"parry/test/need"
)

// A session that is picked up later, when its first packets went unseen, may have no name; but it has no other game's, and what is no game
// becomes none.
func TestPickedUpLater(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(need.Captures(t), "*.pcap*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	flows, named := 0, 0
	for _, file := range files {
		frames, tuples := frames(t, file)
		whole := names(t, frames, tuples, 0)
		for _, skip := range []int{1, 3, 9} {
			for flow, later := range names(t, frames, tuples, skip) {
				flows++
				if !later.Game.Plays() {
					continue
				}
				if named++; later.Game != whole[flow].Game {
					t.Errorf("%s: %v is %v, and from its packet %d on %v: %s", filepath.Base(file), flow, whole[flow].Game, skip+1, later.Game, later.Reason)
				}
			}
		}
	}
	t.Logf("%d flows picked up later, %d of them named as games", flows, named)
}

// frames are those of a capture, each with its flow.
func frames(t *testing.T, file string) (frames [][]byte, tuples []any) {
	t.Helper()
	r, err := pcap.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		p, err := r.Next()
		if errors.Is(err, pcap.ErrPacket) {
			continue
		}
		if err != nil {
			if err != io.EOF {
				t.Log(err)
			}
			return frames, tuples
		}
		if tuple, ok := classify.Tuple(p.Data); ok {
			frames, tuples = append(frames, slices.Clone(p.Data)), append(tuples, tuple)
		}
	}
}

// names classifies what is left of each flow without its first packets.
func names(t *testing.T, frames [][]byte, tuples []any, skip int) map[any]naming.Name {
	t.Helper()
	var left [][]byte
	var order []any
	seen, begun := map[any]int{}, map[any]bool{}
	for i, frame := range frames {
		if seen[tuples[i]]++; seen[tuples[i]] <= skip {
			continue
		}
		if left = append(left, frame); !begun[tuples[i]] {
			begun[tuples[i]] = true
			order = append(order, tuples[i])
		}
	}
	byFlow := map[any]naming.Name{}
	if err := classify.Read(bytes.NewReader(capture(1, 1<<16, nil, left...)), 1<<20, func(f *classify.Flow) error {
		byFlow[order[len(byFlow)]] = f.Name
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(byFlow) != len(order) {
		t.Fatalf("%d flows of %d", len(byFlow), len(order))
	}
	return byFlow
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPaceKeepsToItsShare(t *testing.T) {
	for _, row := range []struct {
		name string
		took time.Duration
		want int // runs in a minute of looks, one a second
	}{
		{"quick: as often as it is looked at", time.Millisecond, 60},
		{"half a second of a tenth: every five seconds", 500 * time.Millisecond, 12},
		{"longer than the minute allows", 10 * time.Second, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, runs := pace{share: 0.1, floor: 500 * time.Millisecond}, 0
				for range 60 {
					p.do(func() time.Duration { runs++; return row.took })
					time.Sleep(time.Second)
				}
				if runs != row.want {
					t.Errorf("%d runs, not %d", runs, row.want)
				}
			})
		})
	}
}

func TestTimedTellsHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if took := timed(func() { time.Sleep(3 * time.Second) })(); took != 3*time.Second {
			t.Errorf("%v", took)
		}
	})
}

func TestTrimGivesMemoryBack(t *testing.T) {
	var h heap
	block := make([]byte, 4*heapKept)
	for i := range block {
		block[i] = 1
	}
	held := heapHeld()
	block = nil
	h.trim()
	if now := heapHeld(); now >= held-2*heapKept {
		t.Errorf("%d bytes held, of %d before: %v", now, held, block)
	}
}

// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
)

// Who says that policy was loosened, or that the network moved (loader/epoch.go).

func (w *world) loosened(t *testing.T) uint32 {
	t.Helper()
	v, err := w.edge.Peek("loosened", make([]byte, 4))
	must(t, err)
	return binary.NativeEndian.Uint32(v)
}

// Changes by the API beside the daemon's own looks: each move counts, so none can turn the number back to one of before
// another's change.
func TestLooseningsBesideEachOther(t *testing.T) {
	t.Parallel()
	const looks = 200
	w := newWorld(t, basePlan())
	before, moves := w.loosened(t), uint32(looks)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := w.lists.Bump(); err != nil {
				t.Error(err)
				return
			}
			moves++
		}
	})
	for range looks {
		if _, err := w.lists.Refilter(); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	wg.Wait()
	if got := w.loosened(t) - before; got != moves {
		t.Errorf("policy was loosened %d times, the number moved by %d", moves, got)
	}
}

// Routes that move are nothing to who is denied: a network that is never quiet doesn't empty the cells.
func TestMovedRoutesLeaveDenials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	w.list(t, deny("192.0.2.1/32"))
	for range 3 {
		w.tries(t, "192.0.2.1", natPort, 2, true)
		must(t, w.lists.Recheck())
	}
	if n := w.told(t, netip.MustParseAddr("192.0.2.1")); n != 1 {
		t.Errorf("the entry was told of %d packets: what was noted is not believed", n)
	}
}

// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

const (
	idleTime = 10 * time.Second
	settle   = 3 * time.Second // after work, until it is done with: sweeps and filters come once a second
	idleCPU  = 0.01            // of one core
	idleRSS  = 64 << 20
)

func TestIdleDaemonCostsNextToNothing(t *testing.T) {
	all(t)
	e := newEdge(t, "idle", arena("", ""))
	e.start(t)
	e.idle(t, "default sizes")
	list := filepath.Join(e.world.Dir(), "list.txt")
	writeList(t, list)
	e.parry(t, "block", "import", list, "--socket", e.socket)
	e.idle(t, "1,100,000 blocks listed")
}

func (e *edge) idle(t *testing.T, what string) {
	t.Helper()
	time.Sleep(settle)
	before := e.cpuTime(t)
	time.Sleep(idleTime)
	share := float64(e.cpuTime(t)-before) / float64(idleTime)
	figure(t, "idle daemon's CPU, "+what, fmt.Sprintf("%.2f %%", share*100), fmt.Sprintf("under %g %% of a core", idleCPU*100))
	if share >= idleCPU {
		t.Errorf("%s: the idle daemon takes %.2f %% of a core", what, share*100)
	}
	rss := e.rss(t)
	figure(t, "idle daemon's memory (RSS), "+what, mib(rss), "under "+mib(idleRSS))
	if rss >= idleRSS {
		t.Errorf("%s: the idle daemon holds %s", what, mib(rss))
	}
}

func mib(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

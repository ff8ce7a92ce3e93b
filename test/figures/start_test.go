// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"slices"
	"testing"
	"time"
)

const starts = 5

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func TestStartToAttachedInUnderASecond(t *testing.T) {
	all(t)
	e := newEdge(t, "start", arena("", ""))
	var cold, adopting []time.Duration
	for range starts {
		cold = append(cold, e.start(t))
		e.stop(t)
		adopting = append(adopting, e.start(t))
		e.stop(t)
		e.parry(t, "detach", "-c", e.config)
	}
	t.Logf("cold %v, adopting %v", cold, adopting)
	within(t, "start to attached, nothing there (median of 5)", median(cold), time.Second)
	within(t, "start to attached, adopting what is there (median of 5)", median(adopting), time.Second)
}

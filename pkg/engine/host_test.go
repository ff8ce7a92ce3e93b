// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"
	"testing"

	"parry/pkg/hostfacts"
)

// What is said is compared with what kernels do by test/e2e on three of them (make kernels).
func TestWhatAnOlderKernelLacksIsSaid(t *testing.T) {
	for _, tt := range []struct {
		major, minor int
		want         []string
	}{{6, 1, []string{"TCX", "prefix"}}, {6, 4, []string{"TCX"}}, {6, 6, nil}, {7, 0, nil}} {
		got := lessThanNewest(hostfacts.Kernel{Major: tt.major, Minor: tt.minor})
		if len(got) != len(tt.want) {
			t.Errorf("of Linux %d.%d it says %q", tt.major, tt.minor, got)
			continue
		}
		for i, word := range tt.want {
			if !strings.Contains(got[i], word) {
				t.Errorf("of Linux %d.%d it says %q, nothing of %s", tt.major, tt.minor, got[i], word)
			}
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"math"
	"slices"
	"time"
)

// quantile returns the smallest value that at least the share q (over 0 to 1) of the sorted values don't exceed; 0
// of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// distinct is how many different values are to be expected among n picks out of space.
func distinct(n, space float64) float64 { return -space * math.Expm1(-n/space) }

// spread is a distribution in two numbers.
type spread struct{ P50, P99 time.Duration }

func spreadOf(values []time.Duration) spread {
	sorted := slices.Sorted(slices.Values(values))
	return spread{P50: quantile(sorted, 0.50), P99: quantile(sorted, 0.99)}
}

// subtract is a - b, or 0 where b is more: two counters read one after the other.
func subtract(a, b uint64) uint64 { return a - min(a, b) }

// since returns what counters grew by, without those that stood still.
func since(now, before map[string]uint64) map[string]uint64 {
	grown := map[string]uint64{}
	for k, n := range now {
		if d := subtract(n, before[k]); d > 0 {
			grown[k] = d
		}
	}
	return grown
}

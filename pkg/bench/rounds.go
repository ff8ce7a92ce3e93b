// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"slices"
)

// Ratios are of two figures of each round.
func Ratios(a, b []float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = a[i] / b[i]
	}
	return all
}

// Median is the middle one over the rounds, of an even number the mean of the middle two; 0 of none.
func Median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	n := len(s)
	if n == 0 {
		return 0
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Round leaves three decimals, for reports.
func Round(v float64) float64 { return math.Round(v*1000) / 1000 }

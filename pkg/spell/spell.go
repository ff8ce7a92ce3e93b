// SPDX-License-Identifier: Apache-2.0

// Package spell finds the word that a person most likely meant to type.
package spell

import (
	"strings"
	"unicode/utf8"
)

// MaxWord bounds the words that are compared, in bytes: a longer one is no slip
// of the finger, and the comparison costs the product of both lengths.
const MaxWord = 64

// Nearest returns the candidate with the smallest edit distance to word (letter
// case, '-', '_' and ' ' count as equal) and whether one is close enough to be worth
// suggesting: at most a third of the word's letters differ, or one is the other's
// beginning. Of equally near ones it returns the first.
func Nearest(word string, candidates []string) (string, bool) {
	folded := fold(word)
	if folded == "" || len(word) > MaxWord {
		return "", false
	}
	best, bestDistance := "", maxDistance(folded)+1
	for _, c := range candidates {
		if len(c) > MaxWord {
			continue
		}
		if d := distance(folded, fold(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best, true
	}
	return byPrefix(folded, candidates)
}

// byPrefix catches abbreviations ("pps" is not one, "interf" is).
func byPrefix(folded string, candidates []string) (string, bool) {
	if len(folded) < 3 {
		return "", false
	}
	for _, c := range candidates {
		f := fold(c)
		if strings.HasPrefix(f, folded) || (len(f) >= 3 && strings.HasPrefix(folded, f)) {
			return c, true
		}
	}
	return "", false
}

func maxDistance(folded string) int {
	n := utf8.RuneCountInString(folded)
	return max(1, n/3)
}

var folding = strings.NewReplacer("_", "", "-", "", " ", "")

func fold(s string) string { return folding.Replace(strings.ToLower(s)) }

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours cost one each. Swaps matter because they
// are the commonest slip at a keyboard ("lisetn").
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, prev, cur := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		cur[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(y)]
}

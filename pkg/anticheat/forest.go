// SPDX-License-Identifier: Apache-2.0

package anticheat

import "math/rand/v2"

// Half-space trees: S. C. Tan, K. M. Ting, T. F. Liu, "Fast anomaly detection for streaming data", IJCAI 2011. Trees that halve a random
// space are made once; each window of points leaves its masses in them, by which the points of the next are scored.
const (
	trees      = 25
	depth      = 8
	nodes      = 1<<(depth+1) - 1
	windowSize = 250
	sizeLimit  = windowSize / 10
)

// forest scores points of a game's behaviour. Each coordinate is between 0 and 1.
type forest struct {
	tree   [trees][nodes]node
	seen   int
	filled bool    // one window was
	usual  float64 // score of an ordinary point, smoothed
}

type node struct {
	split       float32
	dim         uint8
	mass, fresh uint16
}

func newForest(seed uint64) *forest {
	f, rnd := &forest{}, rand.New(rand.NewPCG(seed, trees))
	for i := range f.tree {
		var low, high [features]float64
		for d := range low {
			s := rnd.Float64()
			reach := 2 * max(s, 1-s)
			low[d], high[d] = s-reach, s+reach
		}
		f.grow(rnd, i, 0, 0, &low, &high)
	}
	return f
}

func (f *forest) grow(rnd *rand.Rand, tree, at, level int, low, high *[features]float64) {
	if level == depth {
		return
	}
	d := rnd.IntN(features)
	middle := (low[d] + high[d]) / 2
	f.tree[tree][at] = node{split: float32(middle), dim: uint8(d)}
	was := high[d]
	high[d] = middle
	f.grow(rnd, tree, 2*at+1, level+1, low, high)
	high[d], was = was, low[d]
	low[d] = middle
	f.grow(rnd, tree, 2*at+2, level+1, low, high)
	low[d] = was
}

// step goes down from a node.
func (n *node) step(at int, x *[features]float64) int {
	if x[n.dim] < float64(n.split) {
		return 2*at + 1
	}
	return 2*at + 2
}

// update leaves a point's mass.
func (f *forest) update(x *[features]float64) {
	for i := range f.tree {
		for at, level := 0, 0; level <= depth; level++ {
			n := &f.tree[i][at]
			n.fresh++
			at = n.step(at, x)
		}
	}
	if f.seen++; f.seen < windowSize {
		return
	}
	f.seen, f.filled = 0, true
	for i := range f.tree {
		for k := range f.tree[i] {
			n := &f.tree[i][k]
			n.mass, n.fresh = n.fresh, 0
		}
	}
}

// score is 0 for what is as usual as most, to 1 for what was never seen. Until a window is full everything is usual.
func (f *forest) score(x *[features]float64) float64 {
	if !f.filled {
		return 0
	}
	sum := 0.0
	for i := range f.tree {
		at, weight := 0, 1.0
		n := &f.tree[i][at]
		for level := 0; level < depth && n.mass > sizeLimit; level++ {
			at = n.step(at, x)
			n = &f.tree[i][at]
			weight *= 2
		}
		sum += float64(n.mass) * weight
	}
	if f.usual == 0 {
		f.usual = sum
	}
	score := 1 - min(sum/max(f.usual, 1), 1)
	f.usual += (sum - f.usual) / 64
	return score
}

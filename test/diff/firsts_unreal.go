// SPDX-License-Identifier: Apache-2.0

package diff

import "parry/test/model"

// bitWriter writes bits, the lowest of each byte first.
type bitWriter struct {
	b  []byte
	at int
}

func (w *bitWriter) put(v uint64, n int) {
	for i := range n {
		if w.at%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.at/8] |= byte(v>>i&1) << (w.at % 8)
		w.at++
	}
}

func (r firsts) unreal(g *model.First) []byte {
	w := &bitWriter{}
	w.put(g.Params[1], int(g.Params[0]))
	if r.one(8) {
		w.put(r.Uint64(), r.IntN(33))
	}
	five := g.Params[2] == 5
	if r.one(8) || g.Params[2] == 0 {
		five = r.one(2)
	}
	if !five {
		w.put(uint64(choose(r, 1, 1, 1, 0, 3)), 2)
		for range 225 {
			w.put(0, 1)
		}
		if r.one(8) {
			w.put(0, r.IntN(9))
		}
		w.put(1, 1)
		return w.b
	}
	w.put(r.Uint64(), 5)
	w.put(uint64(choose(r, 1, 1, 1, 1, 0, 3)), 2)
	w.put(uint64(choose(r, 3, 3, 1, 4, 8, 9)), 8)
	w.put(uint64(choose(r, 3, 4, 8, 9, 2)), 8)
	w.put(uint64(choose(r, 0, 0, 0, 0, 1, 2)), 8)
	w.put(uint64(choose(r, 1, 1, 2, 0, 255)), 8)
	w.put(r.Uint64(), 48)
	for range 225 {
		w.put(0, 1)
	}
	for want := choose(r, 40, 44, 47, 56, 64, 65, 39)*8 - 1 - r.IntN(7); w.at < want; {
		w.put(r.Uint64(), 1)
	}
	w.put(1, 1)
	return w.b
}

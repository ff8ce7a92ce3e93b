// SPDX-License-Identifier: Apache-2.0

package detect

import "unsafe"

// room holds a bounded number of values by key, and knows which was used longest ago: that one makes place. All of it is allocated
// when it is made and nothing after, and V must hold no pointers, so that the collector never walks it.
type room[K ~uint64, V any] struct {
	seed    uint64
	cells   []cell[K] // 0 is no cell: its newer is the oldest cell, its older the newest
	values  []V       // of the cells; apart, for to find and to order them is to touch many cells
	index   []int32   // the first cell of each chain; 0 = none
	n       int
	evicted uint64
}

type cell[K ~uint64] struct {
	key                 K
	chain, newer, older int32
}

func newRoom[K ~uint64, V any](size int, seed uint64) *room[K, V] {
	chains := 1
	for chains < size {
		chains *= 2
	}
	return &room[K, V]{seed: seed, cells: make([]cell[K], size+1), values: make([]V, size+1), index: make([]int32, chains)}
}

// bytes is all that it will ever take.
func (r *room[K, V]) bytes() int {
	var v V
	return len(r.cells)*int(unsafe.Sizeof(cell[K]{})+unsafe.Sizeof(v)) + len(r.index)*int(unsafe.Sizeof(int32(0)))
}

func (r *room[K, V]) chainOf(k K) *int32 {
	return &r.index[mix(r.seed, uint64(k))&uint64(len(r.index)-1)]
}

func (r *room[K, V]) find(k K) int32 {
	i := *r.chainOf(k)
	for i != 0 && r.cells[i].key != k {
		i = r.cells[i].chain
	}
	return i
}

// get finds a value without counting as use; nil: there is none. What it points to may be another's after the next take.
func (r *room[K, V]) get(k K) *V {
	if i := r.find(k); i != 0 {
		return &r.values[i]
	}
	return nil
}

// take finds a value or makes it, as zero, in the place of the one used longest ago if need be.
func (r *room[K, V]) take(k K) *V {
	i := r.find(k)
	if i != 0 {
		r.unlink(i)
	} else {
		i = r.fresh()
		head := r.chainOf(k)
		var none V
		r.cells[i], r.values[i] = cell[K]{key: k, chain: *head}, none
		*head = i
	}
	r.link(i)
	return &r.values[i]
}

func (r *room[K, V]) fresh() int32 {
	if r.n < len(r.cells)-1 {
		r.n++
		return int32(r.n)
	}
	i := r.cells[0].newer
	r.unlink(i)
	r.unchain(i)
	r.evicted++
	return i
}

// remove forgets a key. The last cell moves to its place, so cells in use stay together.
func (r *room[K, V]) remove(k K) {
	i := r.find(k)
	if i == 0 {
		return
	}
	r.unlink(i)
	r.unchain(i)
	if last := int32(r.n); i != last {
		c := &r.cells[last]
		at := r.chainOf(c.key)
		for *at != last {
			at = &r.cells[*at].chain
		}
		*at = i
		r.cells[c.newer].older, r.cells[c.older].newer = i, i
		r.cells[i], r.values[i] = *c, r.values[last]
	}
	r.cells[r.n] = cell[K]{}
	r.n--
}

func (r *room[K, V]) unchain(i int32) {
	at := r.chainOf(r.cells[i].key)
	for *at != i {
		at = &r.cells[*at].chain
	}
	*at = r.cells[i].chain
}

func (r *room[K, V]) link(i int32) {
	newest := r.cells[0].older
	r.cells[i].older, r.cells[i].newer = newest, 0
	r.cells[newest].newer, r.cells[0].older = i, i
}

func (r *room[K, V]) unlink(i int32) {
	c := &r.cells[i]
	r.cells[c.newer].older, r.cells[c.older].newer = c.older, c.newer
}

// each shows all values, the one used last first.
func (r *room[K, V]) each(show func(K, *V)) {
	for i := r.cells[0].older; i != 0; i = r.cells[i].older {
		show(r.cells[i].key, &r.values[i])
	}
}

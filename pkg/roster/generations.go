// SPDX-License-Identifier: Apache-2.0

package roster

// generations is a bounded map that forgets what was not used for the longest time, roughly: what is asked for moves to the younger of
// two halves; once that is full, the older one is thrown away whole.
type generations[V any] struct {
	half       int
	young, old map[Key]V
}

func newGenerations[V any](most int) generations[V] {
	return generations[V]{half: max(most/2, 1), young: map[Key]V{}, old: map[Key]V{}}
}

// peek looks without using it.
func (g *generations[V]) peek(k Key) (v V, ok bool) {
	if v, ok = g.young[k]; !ok {
		v, ok = g.old[k]
	}
	return v, ok
}

func (g *generations[V]) get(k Key) (v V, ok bool) {
	if v, ok = g.young[k]; ok {
		return v, true
	}
	if v, ok = g.old[k]; ok {
		g.put(k, v)
	}
	return v, ok
}

func (g *generations[V]) put(k Key, v V) {
	if _, ok := g.young[k]; !ok && len(g.young) >= g.half {
		g.old, g.young = g.young, g.old
		clear(g.young)
	}
	delete(g.old, k)
	g.young[k] = v
}

func (g *generations[V]) drop(k Key) {
	delete(g.young, k)
	delete(g.old, k)
}

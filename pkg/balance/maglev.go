// SPDX-License-Identifier: Apache-2.0

// Package balance spreads new players over servers: it builds the weighted
// consistent-hash tables in which the fast path looks up a server by the hash
// of a player's address.
package balance

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
)

// ErrNoServers is returned for a set without any server of weight above 0.
var ErrNoServers = errors.New("no server takes new players")

// MaxSize bounds a table, in slots.
const MaxSize = 1 << 20

// slotsPerServer keeps shares within 1 % of equal weights (Eisenbud et al., "Maglev:
// A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 5.3).
const slotsPerServer = 100

// Weighted is a server and its share of new players.
type Weighted struct {
	// Name identifies the server on every edge. The table depends on names and
	// weights alone, not on the order of servers.
	Name string
	// Weight is relative to the other servers' weights. 0 gives no new players: the
	// server drains, and its live sessions are no business of this table.
	Weight uint32
}

// sizes are primes a little below powers of two, from 251 to 1048573.
var sizes = [...]int{251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071, 262139, 524287, 1048573}

// Size returns a table size (a prime) that keeps the shares of n servers of equal
// weight within 1 %: the smallest listed prime that gives each at least 100 slots, or the
// largest listed one.
func Size(n int) int {
	for _, s := range sizes {
		if s >= n*slotsPerServer {
			return s
		}
	}
	return sizes[len(sizes)-1]
}

// Table builds a weighted Maglev table of size slots (a prime, at most MaxSize): a slot holds the
// index into servers of the server that new players go to. Each server of weight above 0
// gets at least one slot, and differs from its exact share by at most one slot and
// len(servers)/size of that share. The same names and weights give the same assignment
// everywhere, whatever their order. When a server comes or goes its share moves, and of the rest up
// to 3 % of the table at a hundred slots a server, 1 % at several hundred (tested).
func Table(servers []Weighted, size int) ([]uint32, error) {
	if size > MaxSize || !isPrime(size) {
		return nil, fmt.Errorf("maglev table of %d slots: not a prime up to %d", size, MaxSize)
	}
	turns, err := newTurns(servers, size)
	if err != nil {
		return nil, err
	}
	const free = ^uint32(0)
	table := make([]uint32, size)
	for i := range table {
		table[i] = free
	}
	for filled := 0; ; {
		for i := range turns {
			t := &turns[i]
			if !t.due() {
				continue
			}
			// A permutation visits every slot, so a free one is met before it repeats.
			slot := t.next(size)
			for table[slot] != free {
				slot = t.next(size)
			}
			table[slot] = t.index
			if filled++; filled == size {
				return table, nil
			}
		}
	}
}

// turn is one server's place in the rounds: its credit grows by its weight every
// round, and each time it reaches the largest weight the server takes a slot.
type turn struct {
	name       string
	index      uint32
	weight     uint64
	credit     uint64
	price      uint64
	slot, skip int
}

func (t *turn) due() bool {
	t.credit += t.weight
	if t.credit < t.price {
		return false
	}
	t.credit -= t.price
	return true
}

// next returns the server's next preferred slot. offset and skip are its permutation of
// the slots: all of them, since the size is prime and 0 < skip < size.
func (t *turn) next(size int) int {
	slot := t.slot
	if t.slot += t.skip; t.slot >= size {
		t.slot -= size
	}
	return slot
}

// newTurns lists the servers of weight above 0 in the order of their names.
func newTurns(servers []Weighted, size int) ([]turn, error) {
	var turns []turn
	var price uint64
	for i, s := range servers {
		if s.Weight == 0 {
			continue
		}
		offset, skip := permutation(s.Name, size)
		turns = append(turns, turn{name: s.Name, index: uint32(i), weight: uint64(s.Weight), slot: offset, skip: skip})
		price = max(price, uint64(s.Weight))
	}
	if len(turns) == 0 {
		return nil, ErrNoServers
	}
	if len(turns) > size {
		return nil, fmt.Errorf("maglev table of %d slots: too small for %d servers", size, len(turns))
	}
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(a.name, b.name) })
	for i := range turns {
		if i > 0 && turns[i].name == turns[i-1].name {
			return nil, fmt.Errorf("maglev table: server %q is there twice", turns[i].name)
		}
		// The first round pays for everybody, so that even the lightest server has a slot.
		turns[i].price = price
		turns[i].credit = price - turns[i].weight
	}
	return turns, nil
}

// permutation derives a server's first slot and step from its name. FNV-1a is stable
// over releases and machines; the finaliser spreads names that differ in one digit.
func permutation(name string, size int) (offset, skip int) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails to write
	sum := h.Sum64()
	if size <= 2 { // a table of two slots has only one step
		return int(mix(sum) % uint64(size)), 1
	}
	return int(mix(sum) % uint64(size)), int(mix(^sum)%uint64(size-1)) + 1
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func isPrime(n int) bool {
	if n < 2 {
		return false
	}
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}

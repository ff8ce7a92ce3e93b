// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
)

// SketchError is the standard error of Book.Sources: 1.04 / sqrt(1024) of it (Flajolet et al. 2007).
const SketchError = 0.0325

// Book is what was booked of one service's refusals for one reason, since the maps were made.
type Book struct {
	Service uint16
	Reason  string
	Sources float64 // that policy would have refused, where it only watched: an estimate
	Players uint64  // of those, that are players: proven strongly, or have played for a while
	Hit     uint64  // players that were really refused while the service was on trial
}

// Books reads all of them, in no particular order.
func (e *Edge) Books() ([]Book, error) {
	const atOnce = 64
	keys, books := make([]uint32, atOnce), make([]bpfShadowBook, atOnce)
	var all []Book
	var cursor ebpf.MapBatchCursor
	for {
		n, err := e.state[bpfMapShadowBook].BatchLookup(&cursor, keys, books, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, fmt.Errorf("read map shadow_book: %w", err)
		}
		for i := range n {
			all = append(all, Book{
				Service: uint16(keys[i] / reasonsMax), Reason: nameOf(e.names.Reasons, keys[i]%reasonsMax), Sources: sources(books[i].Registers[:]),
				Players: books[i].Players[bpfBookKindBOOK_WOULD], Hit: books[i].Players[bpfBookKindBOOK_DID],
			})
		}
		if err != nil {
			return all, nil
		}
	}
}

// sources is HyperLogLog's estimate, and linear counting's where that is better.
func sources(registers []uint8) float64 {
	m, sum, zeros := float64(len(registers)), 0.0, 0.0
	for _, r := range registers {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			zeros++
		}
	}
	n := 0.7213 / (1 + 1.079/m) * m * m / sum
	if n <= 2.5*m && zeros > 0 {
		n = m * math.Log(m/zeros)
	}
	return n
}

// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"net/netip"

	"parry/loader"
)

const (
	manyHosts   = 100_000
	mostHosts   = 1_000_000
	manyNets    = 4_000
	listedChunk = 65536
)

// openLists is an edge whose deny list holds this many strangers, by address or by prefixes around them.
func (b *bench) openLists(n int, bits func(i int) int) (*edge, error) {
	s := sizes()
	s.Blocks, s.Prefixes = listSize, 131072 // the defaults
	e, err := b.openEdge(s)
	if err != nil {
		return nil, err
	}
	e.reasons = []string{"denied"}
	p := newPlan()
	lead(p, loader.NAT, crowdVIP(), at("198.51.100.9", gamePort), netip.MustParseAddr("198.51.100.6"))
	if err := e.use(p); err != nil {
		return nil, err
	}
	var entries []loader.Entry
	for i := range n {
		prefix := netip.PrefixFrom(spread(uint32(i)), bits(i)).Masked()
		entries = append(entries, loader.Entry{EntryKey: loader.EntryKey{Prefix: prefix}})
	}
	for len(entries) > 0 {
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		chunk := min(len(entries), listedChunk)
		if err := e.Lists().Add(loader.Deny, entries[:chunk]); err != nil {
			return nil, err
		}
		entries = entries[chunk:]
	}
	return e, nil
}

func wholeAddress(int) int { return 32 }

// netBits has prefixes as published lists have them: /16 to /24.
func netBits(i int) int { return 24 - i%9 }

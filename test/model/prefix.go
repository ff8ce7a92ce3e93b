// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// Some bounds are kept by prefix, in as many cells as there are and no more: prefixes that collide share one. The model has the
// same cells.

// prefixKind is what is kept.
type prefixKind uint32

const (
	prefixAdmissions prefixKind = iota // of strangers, a /16 or /32 of a service
	prefixAnswers                      // to unproven sources, a /24 or /48
	prefixQueries                      // of a source to a service
	prefixWeak                         // a count of weakly proven sessions, a /24 or /48 of a service
	prefixChallenge                    // what its server told a client, and in which session

	prefixCells = 65536
)

// prefixCell is the cell of a prefix of that many bits of an IPv4 or IPv6 address.
func (e *Edge) prefixCell(kind prefixKind, client netip.Addr, bits4, bits6, service int) *bucket {
	var a, family uint64
	if client.Is4() {
		a, family = uint64(be32(client.AsSlice())>>(32-bits4)), 4
	} else {
		a, family = binary.BigEndian.Uint64(client.AsSlice())>>(64-bits6), 6
	}
	return e.cell(kind, uint32(mix(mix(a^e.Secret)+(uint64(service)<<8|family))>>32))
}

func (e *Edge) cell(kind prefixKind, hash uint32) *bucket {
	i := uint32(kind)*prefixCells + hash%prefixCells
	if e.prefixes[i] == nil {
		e.prefixes[i] = &bucket{}
	}
	return e.prefixes[i]
}

// PrefixCells are those that somebody has used.
func (e *Edge) PrefixCells() []uint32 {
	var all []uint32
	for i := range e.prefixes {
		all = append(all, i)
	}
	return all
}

// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// source is whom connections are counted by: an IPv4 address, or the upper half of an IPv6 one. Both fit one word, for no IPv6
// network lies in ::/32.
type source uint64

// network is a source's /24 or /48, in the same form.
type network uint64

// sourceOf reads an address; ok = false: nobody can have it.
func sourceOf(a netip.Addr) (s source, ok bool) {
	switch {
	case a.Is4(), a.Is4In6():
		b := a.As4()
		s = source(binary.BigEndian.Uint32(b[:]))
		return s, s != 0
	case a.Is6():
		b := a.As16()
		s = source(binary.BigEndian.Uint64(b[:8]))
		return s, s.six()
	}
	return 0, false
}

func (s source) six() bool { return s>>32 != 0 }

func (s source) network() network {
	if s.six() {
		return network(s &^ 0xffff)
	}
	return network(s &^ 0xff)
}

func (s source) prefix() netip.Prefix { return prefixOf(uint64(s), 32, 64) }

func (n network) prefix() netip.Prefix { return prefixOf(uint64(n), 24, 48) }

func prefixOf(n uint64, bits4, bits6 int) netip.Prefix {
	if n>>32 == 0 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(n))
		return netip.PrefixFrom(netip.AddrFrom4(b), bits4)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], n)
	return netip.PrefixFrom(netip.AddrFrom16(b), bits6)
}

// mix hashes a word by a secret, so that nobody can choose addresses that meet in one place.
func mix(seed, n uint64) uint64 {
	hi, lo := bits.Mul64(n^seed, 0x9e3779b97f4a7c15^bits.RotateLeft64(seed, 32)|1)
	n = hi ^ lo
	hi, lo = bits.Mul64(n^seed>>7, 0xd6e8feb86659fd93)
	return hi ^ lo
}

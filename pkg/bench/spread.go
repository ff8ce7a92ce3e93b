// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/binary"
	"net/netip"
)

// spread is the i-th stranger's address: its twin in bpf/bench/drive.bpf.c makes packets of it.
func spread(i uint32) netip.Addr {
	const first, mask = 0x10000000, 0x3fffffff
	x := i * 0x2c1b3c6d & mask
	x ^= x >> 15
	x = x * 0x297a2d39 & mask
	x ^= x >> 15
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], first+x)
	return netip.AddrFrom4(b)
}

// firstPort is where strangers' ports begin.
const firstPort = 1024

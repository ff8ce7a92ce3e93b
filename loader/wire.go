// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Protocols of IP, as in the map keys.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
)

const (
	tickShift   = 20 // a tick is 2^20 ns (bpf/abi.h)
	portsOfAddr = 65536
	maglevSize  = 4093
	reasonsMax  = 128
	flowPhases  = 0x7
	hopsMax     = 4096
	reapBatch   = 256
	noServer    = ^uint32(0)
)

// What a service has ever been (bpf/abi.h, struct service).
const (
	everIPv4 = 1 << iota
	everIPv6
	everTransparent
	everLocal
	everProxied
)

// MaglevSize is the number of cells of a pool's table.
const MaglevSize = maglevSize

// be32 is an IPv4 address as the maps hold it: the bytes of the wire in memory order.
func be32(a netip.Addr) uint32 {
	b := a.Unmap().As4()
	return binary.NativeEndian.Uint32(b[:])
}

func addr4(v uint32) netip.Addr {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

// be16 is a port as the maps hold it; it is its own inverse.
func be16(p uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], p)
	return binary.NativeEndian.Uint16(b[:])
}

// addr16 is an address of either family in 16 bytes, IPv4 in the first four.
func addr16(a netip.Addr) (b [16]byte) {
	a = a.Unmap()
	if a.Is4() {
		v4 := a.As4()
		copy(b[:], v4[:])
		return b
	}
	return a.As16()
}

func addrOf(b [16]byte, v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

// ticks rounds a duration up to whole ticks.
func ticks(d time.Duration) uint32 {
	return uint32((uint64(d) + 1<<tickShift - 1) >> tickShift)
}

func tickDuration(t uint32) time.Duration { return time.Duration(t) << tickShift }

// text is a C string in a fixed field.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

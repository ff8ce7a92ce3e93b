// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/binary"
	"fmt"
)

// loadFloors loads the floors, with tables as large as those of sessions, and one way out.
func (b *bench) loadFloors() error {
	spec, err := loadFloor()
	if err != nil {
		return fmt.Errorf("floors: %w", err)
	}
	for _, name := range []string{floorMapFloorFlow4, floorMapFloorFlow6} {
		spec.Maps[name].MaxEntries = tableSize
	}
	if err := spec.LoadAndAssign(&b.floor, nil); err != nil {
		return fmt.Errorf("floors: %w", err)
	}
	b.closers = append(b.closers, b.floor.Close)
	if err := b.floor.FloorTx.Put(uint32(0), uint32(b.out.Index)); err != nil {
		return fmt.Errorf("floors: %w", err)
	}
	return b.hold(b.floor.Empty)
}

// rewriting is what makes packets of one tuple those of another.
type rewriting struct{ from, to tuple }

func (r rewriting) back() rewriting { return rewriting{r.to, r.from} }

// carry has the NAT floors do so.
func (b *bench) carry(all ...rewriting) error {
	var keys4 []floorFloorKey4
	var ways4 []floorFloorWay4
	var keys6 []floorFloorKey6
	var ways6 []floorFloorWay6
	macs := b.macs()
	for _, r := range all {
		rest := uint64(nativeWord(r.from.ports())) | uint64(r.from.proto)<<32
		ports, l3, l4 := nativeWord(r.to.ports()), r.l3Delta(), r.l4Delta()
		from, to := longs(r.from.addrs()), longs(r.to.addrs())
		if r.from.is4() {
			keys4 = append(keys4, floorFloorKey4{Addrs: from[0], Rest: rest})
			ways4 = append(ways4, floorFloorWay4{Addrs: to[0], Ports: ports, L3Delta: l3, L4Delta: l4, Macs: macs})
		} else {
			keys6 = append(keys6, floorFloorKey6{Addrs: [4]uint64(from), Rest: rest})
			ways6 = append(ways6, floorFloorWay6{Addrs: [4]uint64(to), Ports: ports, L4Delta: l4, Macs: macs})
		}
	}
	if len(keys4) > 0 {
		if _, err := b.floor.FloorFlow4.BatchUpdate(keys4, ways4, nil); err != nil {
			return fmt.Errorf("fill the floors: %w", err)
		}
	}
	if len(keys6) > 0 {
		if _, err := b.floor.FloorFlow6.BatchUpdate(keys6, ways6, nil); err != nil {
			return fmt.Errorf("fill the floors: %w", err)
		}
	}
	return nil
}

// macs are the link addresses that frames leave with, in the frame's order.
func (b *bench) macs() [6]uint16 {
	both := append(append([]byte{}, b.peer.MAC...), b.out.MAC...)
	var m [6]uint16
	for i := range m {
		m[i] = binary.NativeEndian.Uint16(both[2*i:])
	}
	return m
}

// l3Delta is what rewriting adds to the checksum of IPv4's header (RFC 1624): addresses, and the TTL, one less, in the
// first byte of its word.
func (r rewriting) l3Delta() uint16 {
	return fold(difference(r.from.addrs(), r.to.addrs()) + difference([]byte{1, 0}, []byte{0, 0}))
}

// l4Delta is what it adds to that of UDP or TCP: addresses and ports.
func (r rewriting) l4Delta() uint16 {
	return fold(difference(r.from.addrs(), r.to.addrs()) + difference(r.from.ports(), r.to.ports()))
}

// difference is the one's-complement sum of what is new less what is old, in words as this machine reads them.
func difference(from, to []byte) uint32 {
	var s uint32
	for i := 0; i < len(from); i += 2 {
		s += uint32(^binary.NativeEndian.Uint16(from[i:])) + uint32(binary.NativeEndian.Uint16(to[i:]))
	}
	return s
}

func nativeWord(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

func longs(b []byte) []uint64 {
	var w []uint64
	for ; len(b) > 0; b = b[8:] {
		w = append(w, binary.NativeEndian.Uint64(b))
	}
	return w
}

// addrs are the addresses as they stand in a packet.
func (t tuple) addrs() []byte {
	return append(t.from.Addr().AsSlice(), t.to.Addr().AsSlice()...)
}

// ports are the ports as they stand in a packet.
func (t tuple) ports() []byte {
	b := binary.BigEndian.AppendUint16(nil, t.from.Port())
	return binary.BigEndian.AppendUint16(b, t.to.Port())
}

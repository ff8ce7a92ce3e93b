// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"parry/loader"
	"parry/test/packet"
)

// fillFloors has the NAT floors carry the pair's packets to and fro.
func (b *bench) fillFloors(t *testing.T, x4, x6 pair) {
	t.Helper()
	for i := range 2 * costPairs {
		for _, x := range []pair{x4.nth(i), x6.nth(i)} {
			b.fillFloor(t, x.frame(), x.out(), x)
			b.fillFloor(t, x.out(), x.frame(), x)
		}
	}
}

func (b *bench) fillFloor(t *testing.T, there, back []byte, x pair) {
	t.Helper()
	proto := uint64(loader.ProtoUDP)
	if x.isTCP() {
		proto = loader.ProtoTCP
	}
	if x.player.Addr().Is4() {
		k := floorKey4{Addrs: words(there[26:34])[0], Rest: uint64(binary.NativeEndian.Uint32(there[34:])) | proto<<32}
		must(t, b.floor.FloorFlow4.Put(k, wayFrom(there, back, 24, 26, 34, proto)))
		return
	}
	k := floorKey6{Addrs: [4]uint64(words(there[22:54])), Rest: uint64(binary.NativeEndian.Uint32(there[54:])) | proto<<32}
	must(t, b.six.FloorFlow6.Put(k, wayFrom(there, back, 0, 22, 54, proto)))
}

func words(b []byte) []uint64 {
	var w []uint64
	for ; len(b) > 0; b = b[8:] {
		w = append(w, binary.NativeEndian.Uint64(b))
	}
	return w
}

// wayFrom is what makes one frame of another, both with a TTL of 64: the headers' checksum (0: none), addresses and
// ports are at these offsets.
func wayFrom(from, to []byte, sumAt, addrsAt, l4 int, proto uint64) floorWay {
	v := floorWay{Ports: binary.NativeEndian.Uint32(to[l4:])}
	copy(v.Addrs[:], words(to[addrsAt:l4]))
	difference := func(at int, also uint32) uint16 { // RFC 1624: ~new - ~old, in one's complement
		sum := uint32(^binary.NativeEndian.Uint16(to[at:])) + uint32(binary.NativeEndian.Uint16(from[at:])) + also
		sum = sum&0xffff + sum>>16
		return uint16(sum&0xffff + sum>>16)
	}
	if sumAt > 0 {
		v.L3Delta = difference(sumAt, 0xfffe) // the TTL, one less, in the low byte of its word
	}
	if proto == loader.ProtoUDP {
		v.L4Delta = difference(l4+6, 0)
	} else {
		v.L4Delta = difference(l4+16, 0)
	}
	return v
}

// again is a case whose packet goes round and round.
func (f *floorObjects) again(name string, p *ebpf.Program, frames [][]byte, want uint32) *oneCase {
	return &oneCase{name: name, wrapper: f.Again, target: f.FloorTarget, program: p, frames: frames, want: want}
}

// checkFloors: a floor that is wrong is no floor.
func (b *bench) checkFloors(t *testing.T) {
	t.Helper()
	for name, c := range map[string]struct {
		prog *ebpf.Program
		pair pair
		ttl  int
	}{"udp4": {b.floor.FloorNat4, pair4, 22}, "tcp4": {b.floor.FloorNat4, pair4.nth(costPairs), 22}, "udp6": {b.six.FloorNat6, pair6, 21}} {
		out := make([]byte, 256)
		opts := ebpf.RunOptions{Data: c.pair.frame(), DataOut: out, Repeat: 1}
		code, err := c.prog.Run(&opts)
		must(t, err)
		got := opts.DataOut
		if got[c.ttl] != 63 || code != loader.XDPTX {
			t.Errorf("%s: XDP code %d, TTL %d", name, code, got[c.ttl])
		}
		if err := packet.Check(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := c.pair.out(); !slices.Equal(got[26:34], want[26:34]) {
			t.Errorf("%s: leaves as % x, not % x", name, got[14:], want[14:])
		}
	}
}

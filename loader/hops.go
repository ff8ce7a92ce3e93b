// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Tag is a VLAN tag, outer first.
type Tag struct {
	Proto uint16 // 0x8100 or 0x88a8
	VID   uint16
}

// HopKey names a next hop as routes do: an interface, and the gateway or on-link address that is asked for.
type HopKey struct {
	Ifindex int
	Gateway netip.Addr
}

// Hop is what egress writes. Its index is what sessions hold.
type Hop struct {
	HopKey
	Index    uint32
	Phys     int // the interface that the frame leaves by
	MTU      int
	Tags     []Tag
	Dst, Src [6]byte
	Valid    bool
	Learned  bool // Dst was taken from a client's own frame
}

// LinkInfo is how XDP reaches an interface that routes name.
type LinkInfo struct {
	Ifindex int
	Phys    int
	MTU     int
	Tags    []Tag
	MAC     [6]byte
}

func tagsOf(tags []Tag) (n uint8, out [2]bpfVlanTag) {
	for i, t := range tags[:min(len(tags), 2)] {
		out[i] = bpfVlanTag{Proto: be16(t.Proto), Tci: be16(t.VID)}
		n++
	}
	return n, out
}

func (k HopKey) raw() bpfHopKey {
	return bpfHopKey{Ifindex: uint32(k.Ifindex), Family: family(k.Gateway), Gateway: addr16(k.Gateway)}
}

func family(a netip.Addr) uint32 {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}

// Hops lists the next hops that there are.
func (e *Edge) Hops() ([]Hop, error) {
	keys, hops := make([]uint32, hopsMax), make([]bpfHop, hopsMax)
	var cursor ebpf.MapBatchCursor
	n, err := e.state[bpfMapHop].BatchLookup(&cursor, keys, hops, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("read map hop: %w", err)
	}
	var all []Hop
	for i := range n {
		if hops[i].State != uint8(bpfHopStateHOP_EMPTY) {
			all = append(all, hopOf(keys[i], hops[i]))
		}
	}
	return all, nil
}

func hopOf(i uint32, h bpfHop) Hop {
	out := Hop{
		HopKey: HopKey{Ifindex: int(h.Key.Ifindex), Gateway: addrOf(h.Key.Gateway, h.Key.Family == 4)},
		Index:  i, Phys: int(h.Ifindex), MTU: int(h.Mtu), Dst: h.Dst, Src: h.Src,
		Valid:   h.State == uint8(bpfHopStateHOP_VALID) || h.State == uint8(bpfHopStateHOP_LEARNED),
		Learned: h.State == uint8(bpfHopStateHOP_LEARNED),
	}
	for _, t := range h.Tag[:min(h.Tags, 2)] {
		out.Tags = append(out.Tags, Tag{be16(t.Proto), be16(t.Tci)})
	}
	return out
}

// SetHop writes a next hop, making it if there is none of its key yet. Returns its index.
func (e *Edge) SetHop(h Hop) (uint32, error) {
	var i uint32
	raw := h.raw()
	err := e.state[bpfMapHopIndex].Lookup(raw, &i)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return e.makeHop(raw, h)
	}
	if err != nil {
		return 0, fmt.Errorf("read map hop_index: %w", err)
	}
	return i, e.writeHop(i, raw, h)
}

func (e *Edge) writeHop(i uint32, key bpfHopKey, h Hop) error {
	out := bpfHop{Ifindex: uint32(h.Phys), Mtu: uint16(min(h.MTU, 65535)), Dst: h.Dst, Src: h.Src, Key: key}
	out.Tags, out.Tag = tagsOf(h.Tags)
	out.State = uint8(bpfHopStateHOP_WANTED)
	switch {
	case h.Valid && h.Learned:
		out.State = uint8(bpfHopStateHOP_LEARNED)
	case h.Valid:
		out.State = uint8(bpfHopStateHOP_VALID)
	case h.Dst != [6]byte{}:
		out.State = uint8(bpfHopStateHOP_DOWN)
	}
	if err := e.state[bpfMapHop].Put(i, out); err != nil {
		return fmt.Errorf("write map hop: %w", err)
	}
	return nil
}

// makeHop takes an index from the end, where the fast path's own counter has not been: it counts up from 1, this
// counts down from the last.
func (e *Edge) makeHop(key bpfHopKey, h Hop) (uint32, error) {
	for i := uint32(hopsMax - 1); i > hopsMax/2; i-- {
		var have bpfHop
		if err := e.state[bpfMapHop].Lookup(i, &have); err != nil {
			return 0, fmt.Errorf("read map hop: %w", err)
		}
		if have.State != uint8(bpfHopStateHOP_EMPTY) {
			continue
		}
		if err := e.writeHop(i, key, h); err != nil {
			return 0, err
		}
		err := e.state[bpfMapHopIndex].Update(key, i, ebpf.UpdateNoExist)
		if errors.Is(err, ebpf.ErrKeyExist) { // a packet made it meanwhile
			if err := e.state[bpfMapHop].Put(i, bpfHop{}); err != nil {
				return 0, fmt.Errorf("write map hop: %w", err)
			}
			return e.SetHop(h)
		}
		if err != nil {
			return 0, fmt.Errorf("write map hop_index: %w", err)
		}
		return i, nil
	}
	return 0, errors.New("no room for another next hop")
}

// SetLink tells the fast path how to reach an interface, and lets frames be sent out by it.
func (e *Edge) SetLink(l LinkInfo) error {
	out := bpfLink{Ifindex: uint32(l.Phys), Mtu: uint16(min(l.MTU, 65535)), Mac: l.MAC}
	out.Tags, out.Tag = tagsOf(l.Tags)
	if err := e.state[bpfMapLink].Put(uint32(l.Ifindex), out); err != nil {
		return fmt.Errorf("write map link: %w", err)
	}
	if err := e.state[bpfMapTxPort].Put(uint32(l.Phys), uint32(l.Phys)); err != nil {
		return fmt.Errorf("write map tx_port: %w", err)
	}
	return nil
}

// DropLink forgets an interface that went. Its device map entry goes with the device itself.
func (e *Edge) DropLink(ifindex int) error {
	if err := e.state[bpfMapLink].Delete(uint32(ifindex)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("write map link: %w", err)
	}
	return nil
}

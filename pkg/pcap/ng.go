// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"time"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete, still written
	blockSimple    = 3
	blockEnhanced  = 6
)

const (
	sectionMagic = 0x1a2b3c4d
	optEnd       = 0
	optTSResol   = 9
	optTSOffset  = 14

	maxIfaces     = 4096
	maxIfaceBlock = 64 << 10
)

// iface is one interface of a pcapng section.
type iface struct {
	link   uint32
	snap   uint32
	units  uint64 // of its clock in a second
	offset int64  // seconds to add
}

func (r *Reader) openNG() error {
	if err := r.full(r.scrap[:8]); err != nil {
		return fmt.Errorf("pcapng header: %w", err)
	}
	if err := r.section(r.scrap[4:8]); err != nil {
		return fmt.Errorf("pcapng header: %w", err)
	}
	return nil
}

// section reads a section header behind its type and length, whose byte order only
// shows now. Each section has its own.
func (r *Reader) section(length []byte) error {
	var lengthBytes [4]byte
	copy(lengthBytes[:], length)
	b := r.scrap[8:24]
	if err := r.full(b); err != nil {
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(b) == sectionMagic:
		r.order = binary.LittleEndian
	case binary.BigEndian.Uint32(b) == sectionMagic:
		r.order = binary.BigEndian
	default:
		return fmt.Errorf("a section without its byte-order mark (%x)", b[:4])
	}
	total := r.order.Uint32(lengthBytes[:])
	if total < 28 || total%4 != 0 {
		return fmt.Errorf("a section header of %d bytes", total)
	}
	if major := r.order.Uint16(b[4:]); major != 1 {
		return fmt.Errorf("pcapng version %d: only 1 is known", major)
	}
	r.ifaces = r.ifaces[:0]
	return r.endBlock(total, 24)
}

// endBlock passes over what is left of a block of which done bytes are read, and
// checks that its length stands at its end again.
func (r *Reader) endBlock(total uint32, done int64) error {
	if err := r.skip(int64(total) - done - 4); err != nil {
		return err
	}
	b := r.scrap[:4]
	if err := r.full(b); err != nil {
		return err
	}
	if again := r.order.Uint32(b); again != total {
		return fmt.Errorf("a block that begins with length %d and ends with %d", total, again)
	}
	return nil
}

// nextBlock reads blocks until one holds a packet.
func (r *Reader) nextBlock() (record, error) {
	for {
		if r.atEnd() {
			return record{}, io.EOF
		}
		r.at = r.off
		h := r.scrap[:8]
		if err := r.full(h); err != nil {
			return record{}, err
		}
		if binary.BigEndian.Uint32(h) == blockSection {
			if err := r.section(h[4:]); err != nil {
				return record{}, err
			}
			continue
		}
		typ, total := r.order.Uint32(h), r.order.Uint32(h[4:])
		if total < 12 || total%4 != 0 {
			return record{}, fmt.Errorf("a block of %d bytes: the file is damaged", total)
		}
		switch typ {
		case blockEnhanced, blockPacket, blockSimple:
			return r.packetBlock(typ, total)
		case blockInterface:
			if err := r.interfaceBlock(total); err != nil {
				return record{}, err
			}
		default:
			if err := r.endBlock(total, 8); err != nil {
				return record{}, err
			}
		}
	}
}

// packetBlock reads a block that holds a packet.
func (r *Reader) packetBlock(typ, total uint32) (record, error) {
	fixed := uint32(20)
	if typ == blockSimple {
		fixed = 4
	}
	if total < 12+fixed {
		return record{}, fmt.Errorf("a packet block of %d bytes: the file is damaged", total)
	}
	b := r.scrap[8 : 8+fixed]
	if err := r.full(b); err != nil {
		return record{}, err
	}
	room := total - 12 - fixed // for the packet, its padding and options
	var id, size, wire uint32
	var ticks uint64
	switch typ {
	case blockSimple:
		wire = r.order.Uint32(b)
		size = min(wire, room)
	case blockPacket:
		id = uint32(r.order.Uint16(b))
	default:
		id = r.order.Uint32(b)
	}
	if typ != blockSimple {
		ticks = uint64(r.order.Uint32(b[4:]))<<32 | uint64(r.order.Uint32(b[8:]))
		size, wire = r.order.Uint32(b[12:]), r.order.Uint32(b[16:])
	}
	if int64(id) >= int64(len(r.ifaces)) {
		return record{}, fmt.Errorf("interface %d, where the section has %d", id, len(r.ifaces))
	}
	i := r.ifaces[id]
	if typ == blockSimple && i.snap != 0 {
		size = min(size, i.snap)
	}
	if size > room {
		return record{}, fmt.Errorf("a packet of %d bytes in a block with room for %d", size, room)
	}
	if err := r.data(size); err != nil {
		return record{}, err
	}
	if err := r.endBlock(total, int64(8+fixed+size)); err != nil {
		return record{}, err
	}
	rec := record{link: i.link, size: int(size), wireLen: clampLen(wire)}
	if typ != blockSimple {
		rec.time = i.time(ticks)
	}
	return rec, nil
}

// time turns ticks of the interface's clock into a time.
func (i *iface) time(ticks uint64) time.Time {
	sec, rest := ticks/i.units, ticks%i.units
	hi, lo := bits.Mul64(rest, 1e9)
	ns, _ := bits.Div64(hi, lo, i.units) // rest < units, so that it fits
	return time.Unix(int64(sec)+i.offset, int64(ns)).UTC()
}

// interfaceBlock reads the description of an interface.
func (r *Reader) interfaceBlock(total uint32) error {
	switch {
	case total < 20:
		return fmt.Errorf("an interface block of %d bytes: the file is damaged", total)
	case total > maxIfaceBlock:
		return fmt.Errorf("an interface block of %d bytes, above %d", total, maxIfaceBlock)
	case len(r.ifaces) >= maxIfaces:
		return fmt.Errorf("more than %d interfaces in a section", maxIfaces)
	}
	b := make([]byte, total-12)
	if err := r.full(b); err != nil {
		return err
	}
	i := iface{link: uint32(r.order.Uint16(b)), snap: r.order.Uint32(b[4:]), units: 1e6}
	for o := b[8:]; len(o) >= 4; {
		code, n := r.order.Uint16(o), int(r.order.Uint16(o[2:]))
		if code == optEnd {
			break
		}
		if 4+n > len(o) {
			return fmt.Errorf("an interface option of %d bytes in a block with room for %d", n, len(o)-4)
		}
		v := o[4 : 4+n]
		switch {
		case code == optTSResol && n == 1:
			var err error
			if i.units, err = resolution(v[0]); err != nil {
				return err
			}
		case code == optTSOffset && n == 8:
			i.offset = int64(r.order.Uint64(v))
		}
		o = o[min((4+n+3)&^3, len(o)):]
	}
	r.ifaces = append(r.ifaces, i)
	return r.endBlock(total, int64(total)-4)
}

// resolution returns the ticks in a second: a negative power of 2 or of 10.
func resolution(b byte) (uint64, error) {
	exp := b & 0x7f
	switch {
	case b&0x80 != 0 && exp <= 63:
		return 1 << exp, nil
	case b&0x80 == 0 && exp <= 19:
		units := uint64(1)
		for range exp {
			units *= 10
		}
		return units, nil
	}
	return 0, fmt.Errorf("an interface clock of resolution %#x, finer than 64 bits can count", b)
}

// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Magic numbers of pcap files, as their writer's byte order has them.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34
)

// openClassic reads the header of a pcap file (draft-ietf-opsawg-pcap).
func (r *Reader) openClassic(magic []byte) error {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic) {
		case magicMicro:
			r.order = order
		case magicNano:
			r.order, r.nanos = order, true
		case magicModified:
			return fmt.Errorf("the old \"modified\" pcap format: convert it with: editcap -F pcap IN OUT")
		}
	}
	if r.order == nil {
		return fmt.Errorf("not a pcap or pcapng file: it begins with %x", magic)
	}
	h := r.scrap[:24]
	if err := r.full(h); err != nil {
		return fmt.Errorf("pcap header: %w", err)
	}
	if major, minor := r.order.Uint16(h[4:]), r.order.Uint16(h[6:]); major != 2 || minor < 3 {
		return fmt.Errorf("pcap version %d.%d: only 2.3 and 2.4 are known", major, minor)
	}
	// The snap length is not looked at: many writers exceed their own. The upper
	// half of the link type tells of frame check sequences.
	r.link = r.order.Uint32(h[20:]) & 0xffff
	return checkLink(r.link)
}

func (r *Reader) nextClassic() (record, error) {
	if r.atEnd() {
		return record{}, io.EOF
	}
	r.at = r.off
	h := r.scrap[:16]
	if err := r.full(h); err != nil {
		return record{}, err
	}
	sec, frac, size, wire := r.order.Uint32(h), r.order.Uint32(h[4:]), r.order.Uint32(h[8:]), r.order.Uint32(h[12:])
	ns := int64(frac)
	if !r.nanos {
		ns *= 1000
	}
	if err := r.data(size); err != nil {
		return record{}, err
	}
	return record{
		time: time.Unix(int64(sec), ns).UTC(), link: r.link,
		size: int(size), wireLen: clampLen(wire),
	}, nil
}

// clampLen keeps a made-up length in an int of any size.
func clampLen(n uint32) int { return int(min(n, 1<<31-1)) }

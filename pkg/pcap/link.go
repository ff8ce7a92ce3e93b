// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	ethLen    = 14
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// Link types (https://www.tcpdump.org/linktypes.html).
const (
	linkNull     = 0
	linkEthernet = 1
	linkRawBSD   = 12 // DLT_RAW as most systems write it
	linkRawOBSD  = 14 // as OpenBSD does
	linkRaw      = 101
	linkLoop     = 108
	linkSLL      = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

// linkName returns how Packet.Link calls a link type; empty for what is not read.
func linkName(link uint32) string {
	switch link {
	case linkEthernet:
		return "ethernet"
	case linkRaw, linkRawBSD, linkRawOBSD, linkIPv4, linkIPv6:
		return "raw"
	case linkNull:
		return "null"
	case linkLoop:
		return "loop"
	case linkSLL:
		return "sll"
	case linkSLL2:
		return "sll2"
	}
	return ""
}

// checkLink refuses link types whose packets can't become Ethernet frames.
func checkLink(link uint32) error {
	if linkName(link) != "" {
		return nil
	}
	foreign := map[uint32]string{
		105: " (802.11)", 127: " (802.11 with radiotap)", 9: " (PPP)", 195: " (802.15.4)", 220: " (USB)", 201: " (Bluetooth)",
	}[link]
	return fmt.Errorf("link type %d%s is none of Ethernet, raw IP, null/loop and Linux cooked", link, foreign)
}

// frame makes an Ethernet frame of the record, whose bytes are in r.buf behind the
// headroom: a header in front of the packet, where its own was, or none.
func (r *Reader) frame(p *Packet, rec record) error {
	if err := checkLink(rec.link); err != nil {
		return fmt.Errorf("%w: %w", ErrPacket, err)
	}
	p.Link = linkName(rec.link)
	b := r.buf[headroom : headroom+rec.size]
	own, err := 0, error(nil) // bytes of the capture's own header
	var typ uint16
	src := [6]byte{2, 0, 0, 0, 0, 2}
	switch rec.link {
	case linkEthernet:
		if len(b) < ethLen {
			return tooShort(b, "an Ethernet header")
		}
		p.Data = b
		return nil
	case linkNull, linkLoop:
		own = 4
		typ, err = r.family(b, rec.link)
	case linkSLL:
		own = 16
		typ, err = cooked(b, own, 14, 4, 6, &src)
	case linkSLL2:
		own = 20
		typ, err = cooked(b, own, 0, 11, 12, &src)
	default:
		typ, err = ipType(b)
	}
	if err != nil {
		return err
	}
	if typ < 0x0600 { // 802.2 and its like: Ethernet has a length there
		typ = uint16(min(len(b)-own, 1500))
	}
	f := r.buf[headroom+own-ethLen : headroom+rec.size]
	copy(f, []byte{2, 0, 0, 0, 0, 1})
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], typ)
	p.Data = f
	p.WireLen += ethLen - own
	return nil
}

// cooked reads a Linux cooked header: where its protocol, address length and
// address stand depends on the version. An Ethernet address becomes src.
func cooked(b []byte, size, protoAt, lenAt, addrAt int, src *[6]byte) (uint16, error) {
	if len(b) < size {
		return 0, tooShort(b, "a Linux cooked header")
	}
	n := int(b[lenAt])
	if size == 16 { // two bytes in the first version
		n = int(binary.BigEndian.Uint16(b[lenAt:]))
	}
	if n == len(src) {
		copy(src[:], b[addrAt:])
	}
	return binary.BigEndian.Uint16(b[protoAt:]), nil
}

// family reads the address family in front of packets of loopback interfaces. Each
// system has its own number for IPv6, and "null" the byte order of its writer.
func (r *Reader) family(b []byte, link uint32) (uint16, error) {
	if len(b) < 4 {
		return 0, tooShort(b, "a loopback header")
	}
	family := binary.BigEndian.Uint32(b)
	if link == linkNull {
		if family = r.order.Uint32(b); family > 0xffff {
			family = bits.ReverseBytes32(family)
		}
	}
	switch family {
	case 2:
		return etherIPv4, nil
	case 10, 24, 28, 30:
		return etherIPv6, nil
	}
	return 0, fmt.Errorf("%w: address family %d is neither IPv4 nor IPv6", ErrPacket, family)
}

// ipType tells the ethertype of a bare IP packet. A damaged version stays visible
// to whoever parses the frame: it goes as IPv4.
func ipType(b []byte) (uint16, error) {
	if len(b) == 0 {
		return 0, tooShort(b, "an IP header")
	}
	if b[0]>>4 == 6 {
		return etherIPv6, nil
	}
	return etherIPv4, nil
}

func tooShort(b []byte, what string) error {
	return fmt.Errorf("%w: %d captured bytes are too few for %s", ErrPacket, len(b), what)
}

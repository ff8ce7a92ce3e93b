// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// View is where things are in a frame.
type View struct {
	L3, L4  int // offsets; L4 = what follows the IP header and its extensions
	Len     int // of the IP packet, by its own header
	Proto   uint8
	Version int
	Frag    bool // any fragment
	Later   bool // not the first one
}

// Look finds the parts of a frame that holds IP.
func Look(frame []byte) (View, error) {
	v := View{L3: 14}
	if len(frame) < 14 {
		return v, fmt.Errorf("a frame of %d bytes", len(frame))
	}
	typ := binary.BigEndian.Uint16(frame[12:])
	for typ == TypeVLAN || typ == TypeQinQ {
		if len(frame) < v.L3+4 {
			return v, errors.New("a VLAN tag is cut short")
		}
		typ = binary.BigEndian.Uint16(frame[v.L3+2:])
		v.L3 += 4
	}
	switch typ {
	case TypeIPv4:
		return v, v.ipv4(frame[v.L3:])
	case TypeIPv6:
		return v, v.ipv6(frame[v.L3:])
	}
	return v, fmt.Errorf("ethertype %#x is not IP", typ)
}

func (v *View) ipv4(b []byte) error {
	if len(b) < 20 || b[0]>>4 != 4 {
		return errors.New("no IPv4 header")
	}
	v.Version, v.Proto, v.Len = 4, b[9], int(binary.BigEndian.Uint16(b[2:]))
	v.L4 = v.L3 + int(b[0]&15)*4
	off := binary.BigEndian.Uint16(b[6:])
	v.Frag, v.Later = off&0x3fff != 0, off&0x1fff != 0
	if v.Len > len(b) || v.L4-v.L3 < 20 || v.L4-v.L3 > v.Len {
		return fmt.Errorf("an IPv4 packet of %d bytes in %d, header %d", v.Len, len(b), v.L4-v.L3)
	}
	return nil
}

func (v *View) ipv6(b []byte) error {
	if len(b) < 40 || b[0]>>4 != 6 {
		return errors.New("no IPv6 header")
	}
	v.Version, v.Proto, v.Len = 6, b[6], 40+int(binary.BigEndian.Uint16(b[4:]))
	if v.Len > len(b) {
		return fmt.Errorf("an IPv6 packet of %d bytes in %d", v.Len, len(b))
	}
	at := 40
	for !v.Later && isExtension(v.Proto) {
		if at+8 > v.Len {
			return errors.New("an extension header overruns the packet")
		}
		size := (int(b[at+1]) + 1) * 8
		switch v.Proto {
		case Auth:
			size = (int(b[at+1]) + 2) * 4
		case Fragment:
			size = 8
			off := binary.BigEndian.Uint16(b[at+2:])
			v.Frag, v.Later = off&^6 != 0, off&^7 != 0
		}
		v.Proto = b[at]
		at += size
	}
	if at > v.Len {
		return errors.New("an extension header overruns the packet")
	}
	v.L4 = v.L3 + at
	return nil
}

func isExtension(proto uint8) bool {
	switch proto {
	case HopByHop, Routing, Destination, Auth, Fragment:
		return true
	}
	return false
}

// Check recomputes every checksum of a frame, and of what its ICMP error quotes, from scratch. A fragment's payload
// can't be checked alone: give the whole datagram's to CheckDatagram.
func Check(frame []byte) error {
	v, err := Look(frame)
	if err != nil {
		return err
	}
	ip := frame[v.L3 : v.L3+v.Len]
	if err := checkHeader(ip, &v); err != nil {
		return err
	}
	if v.Frag {
		return nil
	}
	return checkPayload(ip, v.Proto, ip[v.L4-v.L3:])
}

// CheckDatagram puts fragments together, in their order, and checks the whole.
func CheckDatagram(frames [][]byte) error {
	var whole, head []byte
	var proto uint8
	for i, frame := range frames {
		if err := Check(frame); err != nil {
			return fmt.Errorf("fragment %d: %w", i, err)
		}
		v, _ := Look(frame)
		if i == 0 {
			head, proto = frame[v.L3:v.L4], v.Proto
		}
		whole = append(whole, frame[v.L4:v.L3+v.Len]...)
	}
	return checkPayload(head, proto, whole)
}

func checkHeader(ip []byte, v *View) error {
	if v.Version != 4 {
		return nil
	}
	if got := onesSum(ip[:v.L4-v.L3]); got != 0xffff {
		return fmt.Errorf("IPv4 header checksum %#04x: the header sums up to %#04x", binary.BigEndian.Uint16(ip[10:]), got)
	}
	return nil
}

// addresses is the pseudo-header's first part.
func addresses(ip []byte) []byte {
	if ip[0]>>4 == 4 {
		return ip[12:20]
	}
	return ip[8:40]
}

func checkPayload(ip []byte, proto uint8, l4 []byte) error {
	var n [8]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(l4)))
	n[7] = proto
	switch proto {
	case UDP:
		if len(l4) < 8 || int(binary.BigEndian.Uint16(l4[4:])) != len(l4) {
			return fmt.Errorf("UDP length is not %d", len(l4))
		}
		if l4[6] == 0 && l4[7] == 0 {
			if ip[0]>>4 == 4 {
				return nil
			}
			return errors.New("UDP over IPv6 without a checksum")
		}
	case TCP:
		if len(l4) < 20 {
			return fmt.Errorf("TCP header of %d bytes", len(l4))
		}
	case ICMPv6, ICMP:
		if len(l4) < 8 {
			return fmt.Errorf("an ICMP header of %d bytes", len(l4))
		}
	}
	switch proto {
	case UDP, TCP, ICMPv6:
	case ICMP:
		if got := onesSum(l4); got != 0xffff {
			return fmt.Errorf("ICMP checksum: the message sums up to %#04x", got)
		}
		return checkQuoted(l4)
	default:
		return nil
	}
	if got := onesSum(addresses(ip), n[:], l4); got != 0xffff {
		return fmt.Errorf("checksum of protocol %d: it sums up to %#04x", proto, got)
	}
	if proto == ICMPv6 {
		return checkQuoted(l4)
	}
	return nil
}

// checkQuoted checks the IPv4 header in an ICMP error, and the payload where it is quoted whole.
func checkQuoted(icmp []byte) error {
	typ, ip := icmp[0], icmp[8:]
	if typ != 3 && typ != 11 && typ != 12 && (typ > 4 || len(ip) < 40 || ip[0]>>4 != 6) || len(ip) < 20 {
		return nil
	}
	frame := append(make([]byte, 12), 0x08, 0)
	if ip[0]>>4 == 6 {
		frame = append(make([]byte, 12), 0x86, 0xdd)
	}
	v, err := Look(append(frame, ip...))
	if v.Version == 4 && len(ip) >= v.L4-v.L3 {
		if herr := checkHeader(ip, &v); herr != nil {
			return fmt.Errorf("quoted: %w", herr)
		}
	}
	if err != nil || v.Frag { // cut short
		return nil
	}
	if err := checkPayload(ip, v.Proto, ip[v.L4-v.L3:v.Len]); err != nil {
		return fmt.Errorf("quoted: %w", err)
	}
	return nil
}

// onesSum is written another way than the builder's: it adds with the carry brought around at once.
func onesSum(parts ...[]byte) uint16 {
	var s uint16
	odd := false
	for _, p := range parts {
		for _, c := range p {
			w := uint16(c)
			if !odd {
				w <<= 8
			}
			odd = !odd
			if s += w; s < w {
				s++
			}
		}
	}
	return s
}

// Length is the length of a frame's IP packet, 0 where it has none.
func Length(frame []byte) int {
	v, err := Look(frame)
	if err != nil {
		return 0
	}
	return v.Len
}

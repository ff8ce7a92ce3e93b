// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
)

// Describe says in a few words what the beginning of a frame is: "udp 198.51.100.7:40000 > 203.0.113.10:27960".
func Describe(frame []byte) string {
	if len(frame) < 14 {
		return "a cut frame"
	}
	kind, at := binary.BigEndian.Uint16(frame[12:]), 14
	for range 2 {
		if (kind == etherVLAN || kind == etherQinQ) && len(frame) >= at+4 {
			kind, at = binary.BigEndian.Uint16(frame[at+2:]), at+4
		}
	}
	b := frame[at:]
	switch {
	case kind == etherIPv4 && len(b) >= 20 && int(b[0]&15)*4 >= 20 && len(b) >= int(b[0]&15)*4:
		src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return fmt.Sprintf("a later fragment %v > %v", src, dst)
		}
		return describeL4(b[9], src, dst, b[int(b[0]&15)*4:])
	case kind == etherIPv6 && len(b) >= 40:
		return describeL4(b[6], netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[40:])
	case kind == etherIPv4, kind == etherIPv6:
		return "cut or damaged IP"
	}
	return fmt.Sprintf("ethertype %#04x", kind)
}

func describeL4(proto byte, src, dst netip.Addr, b []byte) string {
	name, ported := map[byte]string{1: "icmp", 6: "tcp", 17: "udp", 44: "fragment", 58: "icmpv6"}[proto], proto == 6 || proto == 17
	if name == "" {
		name = fmt.Sprintf("protocol %d", proto)
	}
	if !ported || len(b) < 4 {
		return fmt.Sprintf("%s %v > %v", name, src, dst)
	}
	text := fmt.Sprintf("%s %v > %v", name, netip.AddrPortFrom(src, binary.BigEndian.Uint16(b)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:])))
	if proto == 6 && len(b) >= 14 {
		text += tcpFlags(b[13])
	}
	return text
}

func tcpFlags(flags byte) string {
	text := ""
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"} {
		if flags>>i&1 != 0 {
			text += " " + name
		}
	}
	return text
}

// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"parry/test/packet"
)

// describe says in short what a frame is.
func describe(frame []byte) string {
	v, err := packet.Look(frame)
	if v.Version == 0 {
		return err.Error()
	}
	var src, dst netip.Addr
	ip := frame[v.L3:]
	if v.Version == 4 {
		src, dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	} else {
		src, dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	}
	var notes []string
	if err != nil {
		notes = append(notes, err.Error())
	}
	if v.L3 > 14 {
		notes = append(notes, "tagged")
	}
	if v.Frag {
		notes = append(notes, "a fragment")
	}
	from, to := src.String(), dst.String()
	name := map[uint8]string{packet.UDP: "UDP", packet.TCP: "TCP", packet.ICMP: "ICMP", packet.ICMPv6: "ICMPv6"}[v.Proto]
	if name == "" {
		name = fmt.Sprint("protocol ", v.Proto)
	}
	if l4 := v.L4; (v.Proto == packet.UDP || v.Proto == packet.TCP) && !v.Later && l4 > 0 && l4+14 <= len(frame) {
		from = netip.AddrPortFrom(src, binary.BigEndian.Uint16(frame[l4:])).String()
		to = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(frame[l4+2:])).String()
		if v.Proto == packet.TCP {
			notes = append(notes, flagNames(frame[l4+13]))
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s > %s, %d bytes %s", name, from, to, v.Len, strings.Join(notes, ", ")))
}

func flagNames(flags uint8) string {
	var names []string
	for i, n := range []string{"FIN", "SYN", "RST", "PSH", "ACK"} {
		if flags>>i&1 != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, "+")
}

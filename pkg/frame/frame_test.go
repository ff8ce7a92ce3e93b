// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"parry/test/packet"
)

var four, six = netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("[2001:db8::7]:40000")

// framed is one that says "hello", and what of that is found in it.
type framed struct {
	name   string
	frame  []byte
	want   string
	length int
}

// frames are such frames, whole and cut, damaged and padded.
func frames() []framed {
	v4 := func(proto byte, l4 []byte) []byte {
		b := append(make([]byte, 14+20), l4...)
		binary.BigEndian.PutUint16(b[12:], etherIPv4)
		b[14], b[14+9] = 0x45, proto
		binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
		return b
	}
	udp := append([]byte{0, 1, 0, 2, 0, 13, 0, 0}, "hello"...)
	tcp := append([]byte{1: 1, 3: 2, 12: 6 << 4, 23: 0}, "hello"...)
	v6 := func(proto byte, rest []byte) []byte {
		b := append(make([]byte, 14+40), rest...)
		binary.BigEndian.PutUint16(b[12:], etherIPv6)
		b[14], b[20] = 6<<4, proto
		binary.BigEndian.PutUint16(b[18:], uint16(len(rest)))
		return b
	}
	later := v4(17, udp)
	later[21] = 3
	tagged := append(append(bytes.Clone(v4(17, udp)[:12]), 0x81, 0, 0, 5), v4(17, udp)[12:]...)
	short, long, odd, fragment := v4(17, udp), v4(17, udp), v4(6, tcp), v4(17, udp)
	short[14+20+5], long[14+20+5], odd[14+20+12], fragment[14+3] = 10, 200, 15<<4, 26
	return []framed{
		{"UDP", v4(17, udp), "hello", 5},
		{"with padding", append(v4(17, udp), make([]byte, 13)...), "hello", 5},
		{"cut within", v4(17, udp)[:44], "he", 5},
		{"cut before", v4(17, udp)[:42], "", 5},
		{"cut within its header", v4(17, udp)[:41], "", 0},
		{"cut within IP's header", v4(17, udp)[:30], "", 0},
		{"cut within Ethernet's header", v4(17, udp)[:10], "", 0},
		{"nothing", nil, "", 0},
		{"a shorter length than IP's", short, "he", 2},
		{"a longer one", long, "hello", 5},
		{"a part of a datagram", fragment, "", 0},
		{"TCP with options", v4(6, tcp), "hello", 5},
		{"TCP cut before", v4(6, tcp)[:14+20+24], "", 5},
		{"a header longer than the packet", odd, "", 0},
		{"IPv6", v6(17, udp), "hello", 5},
		{"options and routing", v6(60, append(append([]byte{43, 0, 7: 0}, []byte{17, 1, 15: 0}...), udp...)), "hello", 5},
		{"authentication", v6(51, append([]byte{17, 1, 11: 0}, udp...)), "hello", 5},
		{"a first fragment", v6(44, append([]byte{17, 0, 0, 1, 7: 0}, udp...)), "hello", 5},
		{"a later fragment", v6(44, append([]byte{17, 0, 1, 0, 7: 0}, udp...)), "", 0},
		{"options without end", v6(60, make([]byte, 80)), "", 0},
		{"options cut short", v6(60, []byte{17, 9, 0, 0, 0, 0, 0, 0}), "", 0},
		{"a later fragment of IPv4", later, "", 0},
		{"VLAN", tagged, "hello", 5},
		{"ICMP", v4(1, udp), "", 0},
	}
}

func TestPayload(t *testing.T) {
	for _, x := range frames() {
		t.Run(x.name, func(t *testing.T) {
			var p Packet
			Parse(x.frame, &p)
			if string(p.Payload) != x.want || p.Length != x.length {
				t.Errorf("says %q of %d bytes, want %q of %d", p.Payload, p.Length, x.want, x.length)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(packet.NewUDP(four, four, "hello").Bytes())
	f.Add(packet.NewTCP(six, six, packet.SYN, "x").With(func(p *packet.Packet) {
		p.Exts = []packet.Ext{{Type: packet.HopByHop, Body: make([]byte, 6)}, {Type: packet.Auth, Body: make([]byte, 22)}}
	}).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		if Parse(b, &p) && (p.Length < len(p.Payload) || p.Length > 1<<17 || len(p.Payload) > len(b)) {
			t.Errorf("%d bytes, %d of payload, %d on the wire", len(b), len(p.Payload), p.Length)
		}
	})
}

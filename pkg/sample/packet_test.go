// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// framed is one that says "hello", and what of that is found in it.
type framed struct {
	name   string
	frame  []byte
	want   string
	length int
}

// frames are such frames, whole and cut, damaged and padded.
func frames() []framed {
	four := func(proto byte, l4 []byte) []byte {
		b := append(make([]byte, 14+20), l4...)
		binary.BigEndian.PutUint16(b[12:], etherIPv4)
		b[14], b[14+9] = 0x45, proto
		binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
		return b
	}
	udp := append([]byte{0, 1, 0, 2, 0, 13, 0, 0}, "hello"...)
	tcp := append([]byte{1: 1, 3: 2, 12: 6 << 4, 23: 0}, "hello"...)
	six := func(proto byte, rest []byte) []byte {
		b := append(make([]byte, 14+40), rest...)
		binary.BigEndian.PutUint16(b[12:], etherIPv6)
		b[20] = proto
		binary.BigEndian.PutUint16(b[18:], uint16(len(rest)))
		return b
	}
	later := four(17, udp)
	later[21] = 3
	tagged := append(append(bytes.Clone(four(17, udp)[:12]), 0x81, 0, 0, 5), four(17, udp)[12:]...)
	short, long, odd, fragment := four(17, udp), four(17, udp), four(6, tcp), four(17, udp)
	short[14+20+5], long[14+20+5], odd[14+20+12], fragment[14+3] = 10, 200, 15<<4, 26
	return []framed{
		{"UDP", four(17, udp), "hello", 5},
		{"with padding", append(four(17, udp), make([]byte, 13)...), "hello", 5},
		{"cut within", four(17, udp)[:44], "he", 5},
		{"cut before", four(17, udp)[:42], "", 5},
		{"cut within its header", four(17, udp)[:41], "", 0},
		{"cut within IP's header", four(17, udp)[:30], "", 0},
		{"cut within Ethernet's header", four(17, udp)[:10], "", 0},
		{"nothing", nil, "", 0},
		{"a shorter length than IP's", short, "he", 2},
		{"a longer one", long, "hello", 5},
		{"a part of a datagram", fragment, "", 0},
		{"TCP with options", four(6, tcp), "hello", 5},
		{"TCP cut before", four(6, tcp)[:14+20+24], "", 5},
		{"a header longer than the packet", odd, "", 0},
		{"IPv6", six(17, udp), "hello", 5},
		{"options and routing", six(60, append(append([]byte{43, 0, 7: 0}, []byte{17, 1, 15: 0}...), udp...)), "hello", 5},
		{"authentication", six(51, append([]byte{17, 1, 11: 0}, udp...)), "hello", 5},
		{"a first fragment", six(44, append([]byte{17, 0, 0, 1, 7: 0}, udp...)), "hello", 5},
		{"a later fragment", six(44, append([]byte{17, 0, 1, 0, 7: 0}, udp...)), "", 0},
		{"options without end", six(60, make([]byte, 80)), "", 0},
		{"options cut short", six(60, []byte{17, 9, 0, 0, 0, 0, 0, 0}), "", 0},
		{"a later fragment of IPv4", later, "", 0},
		{"VLAN", tagged, "hello", 5},
		{"ICMP", four(1, udp), "", 0},
	}
}

func TestPacketPayload(t *testing.T) {
	for _, x := range frames() {
		t.Run(x.name, func(t *testing.T) {
			s := Sample{Frame: x.frame}
			p := s.Packet()
			if string(p.Payload) != x.want || p.Length != x.length {
				t.Errorf("said %q of %d bytes, want %q of %d", p.Payload, p.Length, x.want, x.length)
			}
		})
	}
}

func TestPacket(t *testing.T) {
	client, front := netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("203.0.113.10:27960")
	s := Sample{
		Time: 7, Client: client.Addr(), Front: front.Addr(), Ports: Ports{40000, 27960}, Service: 2, Proto: 17, Flags: Down | First, Shadow: 14, Kind: KindTurn,
		Packets: 12, Every: 3,
	}
	want := Packet{
		Time: 7, Client: client, Front: front, Service: 2, Proto: 17, Down: true, First: true, Shadow: true, Reason: 14, Kind: KindTurn, Packets: 12, Every: 3,
	}
	opts := cmpopts.EquateComparable(netip.AddrPort{})
	if diff := cmp.Diff(want, s.Packet(), opts); diff != "" {
		t.Error(diff)
	}
	s.Reason, want.Reason, want.Shadow = 13, 13, false // what was done to it goes before what would have been
	if diff := cmp.Diff(want, s.Packet(), opts); diff != "" {
		t.Error(diff)
	}
}

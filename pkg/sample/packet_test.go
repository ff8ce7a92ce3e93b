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
	l4     uint16
	proto  uint8
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
	six := append(make([]byte, 14+40), udp...)
	binary.BigEndian.PutUint16(six[12:], etherIPv6)
	binary.BigEndian.PutUint16(six[18:], uint16(len(udp)))
	tagged := append(append(bytes.Clone(four(17, udp)[:12]), 0x81, 0, 0, 5), four(17, udp)[12:]...)
	short, long, odd, fragment := four(17, udp), four(17, udp), four(6, tcp), four(17, udp)
	short[14+20+5], long[14+20+5], odd[14+20+12], fragment[14+3] = 10, 200, 15<<4, 26
	return []framed{
		{"UDP", four(17, udp), 34, 17, "hello", 5},
		{"with padding", append(four(17, udp), make([]byte, 13)...), 34, 17, "hello", 5},
		{"cut within", four(17, udp)[:44], 34, 17, "he", 5},
		{"cut before", four(17, udp)[:42], 34, 17, "", 5},
		{"cut within its header", four(17, udp)[:41], 34, 17, "", 0},
		{"cut within IP's header", four(17, udp)[:30], 34, 17, "", 0},
		{"cut within Ethernet's header", four(17, udp)[:10], 34, 17, "", 0},
		{"nothing", nil, 34, 17, "", 0},
		{"a shorter length than IP's", short, 34, 17, "he", 2},
		{"a longer one", long, 34, 17, "hello", 5},
		{"a part of a datagram", fragment, 34, 17, "", 0},
		{"TCP with options", four(6, tcp), 34, 6, "hello", 5},
		{"TCP cut before", four(6, tcp)[:14+20+24], 34, 6, "", 5},
		{"a header longer than the packet", odd, 34, 6, "", 0},
		{"IPv6", six, 54, 17, "hello", 5},
		{"VLAN", tagged, 38, 17, "hello", 5},
		{"nobody knows where", four(17, udp), 0, 17, "", 0},
		{"beyond it", four(17, udp), 60000, 17, "", 0},
		{"ICMP", four(1, udp), 34, 1, "", 0},
	}
}

func TestPacketPayload(t *testing.T) {
	for _, x := range frames() {
		t.Run(x.name, func(t *testing.T) {
			s := Sample{Frame: x.frame, L4: x.l4, Proto: x.proto}
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

func TestEndedByHasNames(t *testing.T) {
	if got := EndedIdle.String() + " " + EndedSilent.String() + " " + EndedBy(200).String(); got != "idle silent unknown" {
		t.Errorf("named %q", got)
	}
}

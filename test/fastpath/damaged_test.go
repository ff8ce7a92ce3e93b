// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"net/netip"

	"parry/test/packet"
)

// patch returns the frame with bytes written at an offset from its IP header (or, l4, from what follows it).
func patch(frame []byte, at int, b ...byte) []byte {
	copy(frame[14+at:], b)
	return frame
}

func patchL4(frame []byte, at int, b ...byte) []byte {
	v, err := packet.Look(frame)
	if err != nil {
		panic(err)
	}
	copy(frame[v.L4+at:], b)
	return frame
}

// cut ends the IP packet after n bytes of what follows its header, lengths of the frame and the IP header agreeing.
func cut(frame []byte, n int) []byte {
	v, err := packet.Look(frame)
	if err != nil {
		panic(err)
	}
	frame = frame[:v.L4+n]
	if v.Version == 4 {
		binary.BigEndian.PutUint16(frame[v.L3+2:], uint16(v.L4+n-v.L3))
	} else {
		binary.BigEndian.PutUint16(frame[v.L3+4:], uint16(v.L4+n-v.L3-40))
	}
	return frame
}

// damage is one way to spoil a good packet to a service. ports = they can still be read, so that it is known whose it
// was; whole = the IP header's length can be believed.
type damage struct {
	name, reason string
	frame        []byte
	ports, whole bool
}

func manyExts(n int) []packet.Ext {
	var all []packet.Ext
	for range n {
		all = append(all, packet.Ext{Type: packet.Destination, Body: make([]byte, 6)})
	}
	return all
}

func longTCP(p *packet.Packet) { p.TCPOptions = make([]byte, 12) }

func damages(u4, t4, u6, t6, i4, i6 packet.Packet) []damage {
	exts := func(e ...packet.Ext) packet.Packet { return u6.With(func(p *packet.Packet) { p.Exts = e }) }
	dest := packet.Ext{Type: packet.Destination, Body: make([]byte, 6)}
	return []damage{
		{"IPv4 version 5", "bad_ipv4", patch(u4.Bytes(), 0, 0x55), false, false},
		{"IPv4 header of 16 bytes", "bad_ipv4", patch(u4.Bytes(), 0, 0x44), false, false},
		{"IPv4 shorter than its header", "bad_ipv4", patch(u4.Bytes(), 2, 0, 19), false, false},
		{"IPv4 longer than its frame", "bad_ipv4", patch(u4.Bytes(), 2, 1, 0), false, false},
		{"IPv6 version 4", "bad_ipv6", patch(u6.Bytes(), 0, 0x40), false, false},
		{"IPv6 without payload", "bad_ipv6", patch(u6.Bytes(), 4, 0, 0), false, false},
		{"IPv6 longer than its frame", "bad_ipv6", patch(u6.Bytes(), 4, 1, 0), false, false},
		{"extension header overruns the payload", "bad_extension", patch(exts(dest).Bytes(), 41, 9), false, true},
		{"extension header overruns the frame", "bad_extension", cut(exts(dest).Bytes(), -4), false, true},
		{"seven extension headers", "bad_extension", exts(manyExts(7)...).Bytes(), false, true},
		{"a routing header with a way to go", "bad_extension",
			exts(packet.Ext{Type: packet.Routing, Body: []byte{4, 1, 0, 0, 0, 0}}).Bytes(), false, true},
		{"UDP length under 8", "bad_udp", patchL4(u4.Bytes(), 4, 0, 7), true, true},
		{"UDP length over the packet's", "bad_udp", patchL4(u4.Bytes(), 4, 1, 0), true, true},
		{"UDP header cut short", "bad_udp", cut(u4.Bytes(), 7), false, true},
		{"UDP length under 8, IPv6", "bad_udp", patchL4(u6.Bytes(), 4, 0, 7), true, true},
		{"UDP without checksum, IPv6", "bad_udp", patchL4(u6.Bytes(), 6, 0, 0), true, true},
		{"TCP header of 16 bytes", "bad_tcp", patchL4(t4.Bytes(), 12, 0x40), true, true},
		{"TCP header over the packet's end", "bad_tcp", patchL4(t4.Bytes(), 12, 0xf0), true, true},
		{"TCP header cut short", "bad_tcp", cut(t4.Bytes(), 19), false, true},
		{"TCP header of 16 bytes, IPv6", "bad_tcp", patchL4(t6.Bytes(), 12, 0x40), true, true},
		{"ICMP header cut short", "bad_icmp", cut(i4.Bytes(), 7), false, true},
		{"ICMPv6 header cut short", "bad_icmp", cut(i6.Bytes(), 7), false, true},
		{"a first fragment without its UDP header", "bad_fragment", u4.Part(1, 0, 0, true), false, true},
		{"a first fragment with half a TCP header", "bad_fragment", t4.Part(1, 0, 16, true), false, true},
		{"a first fragment with a TCP header but for its options", "bad_fragment", t4.With(longTCP).Part(1, 0, 24, true), true, true},
		{"a fragment within a TCP header", "bad_fragment", t4.Part(1, 8, 24, false), false, true},
		{"a fragment, not the last, of an odd length", "bad_fragment", u4.Part(1, 8, 20, true), false, true},
		{"a fragment that ends after 65535", "bad_fragment", u4.Part(1, 65528, 16, false), false, true},
		{"an empty fragment", "bad_fragment", u4.Part(1, 64, 0, false), false, true},
		{"a first fragment without its UDP header, IPv6", "bad_fragment", u6.Part(1, 0, 0, true), false, true},
		{"a fragment within a TCP header, IPv6", "bad_fragment", t6.Part(1, 8, 24, false), false, true},
		{"a fragment, not the last, of an odd length, IPv6", "bad_fragment", u6.Part(1, 8, 20, true), false, true},
		{"a fragment that ends after 65535, IPv6", "bad_fragment", u6.Part(1, 65528, 16, false), false, true},
	}
}

func damagesTo(to4, to6 netip.Addr) []damage {
	return damages(
		packet.NewUDP(player4, at(to4, natPort), "hello there"), packet.NewTCP(player4, at(to4, natPort), packet.SYN, "").With(func(p *packet.Packet) {
			p.TCPOptions = []byte{2, 4, 5, 0xb4}
		}),
		packet.NewUDP(player6, at(to6, natPort), "hello there"), packet.NewTCP(player6, at(to6, natPort), packet.SYN, ""),
		packet.NewICMP(player4.Addr(), to4, 8, 0, 1, []byte("echo")), packet.NewICMP(player6.Addr(), to6, 128, 0, 1, []byte("echo")))
}

// A damaged packet for a service is dropped and counted under its reason; for anything else it is host traffic.
func damagedGroup() group {
	g := group{name: "TestDamaged", plan: basePlan}
	for _, d := range damagesTo(vip4, vip6) {
		want := outcome{verdict: "drop", reason: d.reason}
		if d.ports {
			want.service = "nat"
		}
		if !d.whole {
			want.bytes = len(d.frame)
		} else {
			want.bytes = ipLength(d.frame)
		}
		g.rows = append(g.rows, row{name: d.name, in: is(d.frame), want: want})
	}
	for _, d := range damagesTo(host4, host6) {
		g.rows = append(g.rows, row{name: "to the host: " + d.name, in: is(d.frame), want: outcome{verdict: "pass", bytes: len(d.frame)}})
	}
	udp := hello(player4, natPort).Bytes()
	tagged := hello(player4, natPort).With(func(p *packet.Packet) { p.Tags = []packet.Tag{{Proto: packet.TypeVLAN, TCI: 1}} }).Bytes()
	three := hello(player4, natPort).With(func(p *packet.Packet) {
		p.Tags = []packet.Tag{{Proto: packet.TypeQinQ, TCI: 1}, {Proto: packet.TypeVLAN, TCI: 2}, {Proto: packet.TypeVLAN, TCI: 3}}
	}).Bytes()
	g.rows = append(g.rows,
		row{name: "a VLAN tag cut short", in: is(tagged[:16]), want: outcome{verdict: "drop", reason: "bad_ethernet", bytes: 16}},
		row{name: "three VLAN tags", in: is(three), want: outcome{verdict: "drop", reason: "bad_ethernet", bytes: len(three)}},
		// Whom it was for can't be read: it is the host's.
		row{name: "an IPv4 header cut short", in: is(udp[:14+19]), want: outcome{verdict: "pass", bytes: 33}},
	)
	return g
}

// ipLength is what the IP header says, right or wrong.
func ipLength(frame []byte) int {
	if frame[14]>>4 == 6 {
		return 40 + int(binary.BigEndian.Uint16(frame[14+4:]))
	}
	return int(binary.BigEndian.Uint16(frame[14+2:]))
}

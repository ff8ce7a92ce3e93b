// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var (
	a4 = netip.MustParseAddrPort("192.0.2.1:40000")
	b4 = netip.MustParseAddrPort("203.0.113.10:27960")
	a6 = netip.MustParseAddrPort("[2001:db8:c::1]:40000")
	b6 = netip.MustParseAddrPort("[2001:db8::10]:27960")
)

func samples() map[string]Packet {
	quoted := NewUDP(b4, a4, "quoted whole").L3()
	quoted6 := NewTCP(b6, a6, ACK, "").L3()
	return map[string]Packet{
		"udp4":         NewUDP(a4, b4, "hello"),
		"udp4 odd":     NewUDP(a4, b4, "hello!"),
		"udp4 empty":   NewUDP(a4, b4, ""),
		"udp4 no sum":  NewUDP(a4, b4, "hello").With(func(p *Packet) { p.NoSum = true }),
		"udp4 options": NewUDP(a4, b4, "hello").With(func(p *Packet) { p.Options = []byte{7, 7, 4, 0, 0, 0, 0} }),
		"udp6":         NewUDP(a6, b6, "hello"),
		"udp6 exts": NewUDP(a6, b6, "hello").With(func(p *Packet) {
			p.Exts = []Ext{{HopByHop, []byte{1, 4, 0, 0, 0, 0}}, {Destination, make([]byte, 14)}}
		}),
		"tcp4":         NewTCP(a4, b4, SYN, "").With(func(p *Packet) { p.TCPOptions = []byte{2, 4, 5, 0xb4} }),
		"tcp6":         NewTCP(a6, b6, ACK|PSH, "data"),
		"icmp4":        NewICMP(a4.Addr(), b4.Addr(), 8, 0, 0x10001, []byte("echo")),
		"icmp6":        NewICMP(a6.Addr(), b6.Addr(), 128, 0, 0x10001, []byte("echo")),
		"icmp4 error":  NewICMP(a4.Addr(), b4.Addr(), 3, 4, 1400, quoted),
		"icmp6 error":  NewICMP(a6.Addr(), b6.Addr(), 2, 0, 1280, quoted6),
		"vlan":         NewUDP(a4, b4, "hello").With(func(p *Packet) { p.Tags = []Tag{{TypeQinQ, 7}, {TypeVLAN, 0x6008}} }),
		"with trailer": NewUDP(a4, b4, "").With(func(p *Packet) { p.Trailer = make([]byte, 18) }),
	}
}

// A second opinion: gopacket finds the same lengths and checksums.
func TestBuilderAgreesWithGopacket(t *testing.T) {
	for name, p := range samples() {
		t.Run(name, func(t *testing.T) {
			frame := p.Bytes()
			if err := Check(frame); err != nil {
				t.Fatal(err)
			}
			g := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
			if e := g.ErrorLayer(); e != nil {
				t.Fatal(e.Error())
			}
			for _, l := range g.Layers() {
				if l, ok := l.(interface {
					SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
				}); ok {
					if err := l.SetNetworkLayerForChecksum(g.NetworkLayer()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err, mismatches := g.VerifyChecksums(); err != nil || len(mismatches) > 0 {
				t.Errorf("gopacket: %v, mismatches %v", err, mismatches)
			}
			if a := g.ApplicationLayer(); a != nil && p.Proto != ICMPv6 && !bytes.Equal(a.Payload(), p.Payload) {
				t.Errorf("payload %q, not %q", a.Payload(), p.Payload)
			}
		})
	}
}

// One flipped bit anywhere but in what no checksum covers is seen.
func TestCheckSeesAFlippedBit(t *testing.T) {
	for name, p := range samples() {
		if p.NoSum || len(p.Trailer) > 0 || len(p.Exts) > 0 {
			continue
		}
		frame := p.Bytes()
		v, err := Look(frame)
		if err != nil {
			t.Fatal(err)
		}
		from := v.L3
		if v.Version == 6 {
			from += 8 // its own header has no checksum: addresses and what follows are covered by L4's
		}
		for i := from; i < len(frame); i++ {
			bad := bytes.Clone(frame)
			bad[i] ^= 0x10
			if Check(bad) == nil {
				t.Errorf("%s: byte %d of %d may change", name, i, len(frame))
			}
		}
	}
}

func TestFragmentsMakeTheDatagram(t *testing.T) {
	for _, p := range []Packet{NewUDP(a4, b4, strings.Repeat("0123456789", 100)), NewUDP(a6, b6, strings.Repeat("0123456789", 100))} {
		parts := p.Fragments(0x1234, 400)
		if len(parts) != 3 {
			t.Fatalf("%d fragments", len(parts))
		}
		if err := CheckDatagram(parts); err != nil {
			t.Error(err)
		}
		parts[1][len(parts[1])-1] ^= 1
		if CheckDatagram(parts) == nil {
			t.Error("a changed fragment makes a right datagram")
		}
	}
}

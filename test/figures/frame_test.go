// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"parry/loader"
)

const frameLen = 64

// frame is a packet of frameLen bytes, or as long as its headers if they need more, with right checksums.
func frame(t testing.TB, proto uint8, src, dst netip.AddrPort, syn bool) []byte {
	t.Helper()
	eth := &layers.Ethernet{
		SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4,
	}
	chain := []gopacket.SerializableLayer{eth}
	var network gopacket.NetworkLayer
	headers := 14 + 20
	if src.Addr().Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocol(proto), SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
		chain, network = append(chain, ip), ip
	} else {
		eth.EthernetType, headers = layers.EthernetTypeIPv6, 14+40
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocol(proto), SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
		chain, network = append(chain, ip), ip
	}
	if proto == loader.ProtoTCP {
		tcp := &layers.TCP{SrcPort: layers.TCPPort(src.Port()), DstPort: layers.TCPPort(dst.Port()), Seq: 1, SYN: syn, ACK: !syn, Window: 1000}
		must(t, tcp.SetNetworkLayerForChecksum(network))
		chain, headers = append(chain, tcp), headers+20
	} else {
		udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
		must(t, udp.SetNetworkLayerForChecksum(network))
		chain, headers = append(chain, udp), headers+8
	}
	chain = append(chain, gopacket.Payload(make([]byte, max(0, frameLen-headers))))
	b := gopacket.NewSerializeBuffer()
	must(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, chain...))
	return b.Bytes()
}

func strangerFrame() []byte {
	// without a UDP checksum, so that the sender's address can be changed at will
	b := make([]byte, 64)
	b[12], b[13] = 8, 0
	copy(b[14:], []byte{0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0})
	copy(b[26:], playerAddr.AsSlice())
	copy(b[30:], edgeAddr.AsSlice())
	b[34], b[35], b[36], b[37], b[39] = 0x9c, 0x40, servicePort>>8, servicePort&0xff, 30
	return b
}

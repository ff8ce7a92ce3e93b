// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"parry/test/packet"
)

const frameLen = 64 // or as long as the headers, where they need more

func udp(from, to netip.AddrPort) []byte { return padded(packet.NewUDP(from, to, "")) }

func padded(p packet.Packet) []byte {
	n := max(0, frameLen-len(p.Bytes()))
	p.Payload = []byte(strings.Repeat("x", n))
	return p.Bytes()
}

// strangerFrame is what the wrapper stranger4 makes strangers' packets of: UDP without a checksum, so that the sender's
// address can be changed at will, whose data begins with the address and port that it is for.
func strangerFrame(to netip.AddrPort) []byte {
	b := udp(netip.AddrPortFrom(playerAddr, 1024), to)
	b[40], b[41] = 0, 0
	copy(b[42:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[46:], to.Port())
	return b
}

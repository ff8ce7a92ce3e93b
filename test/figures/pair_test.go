// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"net/netip"

	"parry/test/packet"
)

// pair is the ends of two sessions that lead into each other: what the first makes of its packet is a packet of the
// second, and back, so that a test run can repeat it. The first goes from player to vip and leaves as face to server;
// the second goes from face to server and leaves as player to vip.
type pair struct{ player, vip, face, server netip.AddrPort }

func pairOf(player, vip, face, server string) pair {
	return pair{
		netip.AddrPortFrom(netip.MustParseAddr(player), costPort), netip.AddrPortFrom(netip.MustParseAddr(vip), servicePort),
		netip.AddrPortFrom(netip.MustParseAddr(face), costPort), netip.AddrPortFrom(netip.MustParseAddr(server), servicePort+1),
	}
}

var (
	pair4   = pairOf("198.18.0.2", "198.18.0.1", "198.51.100.1", "198.51.100.2")
	pair6   = pairOf("2001:db8:1::2", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:2::2")
	blocked = netip.MustParseAddr("203.0.113.7")
)

// back is the pair's second session as a first.
func (x pair) back() pair { return pair{x.face, x.server, x.player, x.vip} }

// nth is another pair of the same ends, of TCP from costPairs on.
func (x pair) nth(i int) pair {
	next := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+uint16(i)) }
	return pair{next(x.player), x.vip, next(x.face), x.server}
}

// isTCP tells which of the pairs are TCP's; ports say it.
func (x pair) isTCP() bool { return x.player.Port() >= costPort+costPairs }

// frame is a packet of the pair's first session.
func (x pair) frame() []byte {
	if x.isTCP() {
		return tcp(x.player, x.vip, packet.ACK)
	}
	return udp(x.player, x.vip)
}

// out is what it leaves as, but for its TTL.
func (x pair) out() []byte { return pair{player: x.face, vip: x.server}.frame() }

// frames are packets of costPairs pairs, from the nth on.
func (x pair) frames(n int) [][]byte {
	var all [][]byte
	for i := range costPairs {
		all = append(all, x.nth(n+i).frame())
	}
	return all
}

// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestPacket(t *testing.T) {
	client, front := netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("203.0.113.10:27960")
	s := Sample{
		Time: 7, Client: client.Addr(), Front: front.Addr(), Ports: Ports{40000, 27960}, Service: 2, Proto: 17, Flags: Down | First, Shadow: 14, Kind: KindTurn,
		Packets: 12, Every: 3, Frame: hello()[:44],
	}
	want := Packet{
		Time: 7, Client: client, Front: front, Service: 2, Proto: 17, Down: true, First: true, Shadow: true, Reason: 14, Kind: KindTurn, Packets: 12, Every: 3,
		Payload: []byte("he"), Length: 5,
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

// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// world is a table of links without a kernel.
func world() tables {
	t := newTables()
	nic := func(name, kind string) rawLink {
		return rawLink{name: name, kind: kind, mtu: 1500, up: true, ether: true, hasMAC: true, mac: [6]byte{2, 0, 0, 0, 0, 9}}
	}
	vlan := func(name string, parent int, id uint16) rawLink {
		r := nic(name, "vlan")
		r.parent, r.tag = parent, Tag{0x8100, id}
		return r
	}
	t.links[1] = rawLink{name: "lo", kind: "loopback", up: true, hasMAC: true}
	t.links[2] = nic("eth0", "device")
	t.links[3] = vlan("eth0.5", 2, 5)
	t.links[4] = vlan("eth0.5.6", 3, 6)
	t.links[5] = vlan("deep", 4, 7)
	t.links[6] = vlan("prio", 2, 0)
	t.links[7] = nic("bond0", "bond")
	t.links[8] = vlan("bond0.9", 7, 9)
	t.links[9] = nic("mv0", "macvlan")
	t.links[10] = vlan("mv0.3", 9, 3)
	t.links[11] = rawLink{name: "wg0", kind: "wireguard", up: true}
	t.links[12] = vlan("orphan", 99, 1)
	foreign := vlan("far", 2, 1)
	foreign.foreign = true
	t.links[13] = foreign
	loop := vlan("loop", 14, 1) // no kernel makes it, and it must end all the same
	t.links[14] = loop
	t.links[15] = nic("br0", "bridge")
	down := nic("eth1", "device")
	down.up = false
	t.links[16] = down
	t.links[17] = vlan("eth1.2", 16, 2)
	return t
}

func TestHops(t *testing.T) {
	gw := netip.MustParseAddr("192.0.2.1")
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	tests := []struct {
		ifindex int
		phys    int
		tags    []Tag
		reason  string
	}{
		{2, 2, nil, ""},
		{3, 2, []Tag{{0x8100, 5}}, ""},
		{4, 2, []Tag{{0x8100, 5}, {0x8100, 6}}, ""},
		{5, 5, nil, "deep has more than 2 VLAN tags"},
		{6, 6, nil, "VLAN 0"},
		{7, 7, nil, ""},
		{8, 7, []Tag{{0x8100, 9}}, ""},
		{9, 9, nil, "mv0 is a macvlan device"},
		{10, 10, nil, "mv0 is a macvlan device"},
		{11, 11, nil, "wg0 (wireguard) has no Ethernet header"},
		{12, 12, nil, "the interface under orphan is gone"},
		{13, 13, nil, "another network namespace"},
		{14, 14, nil, "more than 2 VLAN tags"},
		{15, 15, nil, ""},
		{16, 16, nil, "eth1 is down"},
		{17, 16, []Tag{{0x8100, 2}}, "eth1.2 is down"},
		{1, 1, nil, "loopback"},
		{99, 0, nil, "interface 99 does not exist"},
	}
	for _, tt := range tests {
		w := world()
		k := Key{tt.ifindex, gw}
		w.neighs[k] = neigh{key: k, state: netlink.NUD_REACHABLE, mac: mac, hasMAC: true}
		h := w.hop(k)
		if h.Valid != (tt.reason == "") || !strings.Contains(h.Reason, tt.reason) || h.Phys != tt.phys {
			t.Errorf("%d: %+v, want phys %d and reason %q", tt.ifindex, h, tt.phys, tt.reason)
		}
		if diff := cmp.Diff(tt.tags, h.Tags); diff != "" {
			t.Errorf("%d: tags (-want +got):\n%s", tt.ifindex, diff)
		}
	}
}

func TestNeighbourStates(t *testing.T) {
	for state, want := range map[uint16]bool{
		netlink.NUD_REACHABLE: true, netlink.NUD_STALE: true, netlink.NUD_DELAY: true, netlink.NUD_PROBE: true,
		netlink.NUD_PERMANENT: true, netlink.NUD_NOARP: true,
		netlink.NUD_NONE: false, netlink.NUD_INCOMPLETE: false, netlink.NUD_FAILED: false,
	} {
		w := world()
		k := Key{2, netip.MustParseAddr("2001:db8::1")}
		w.neighs[k] = neigh{key: k, state: state, hasMAC: true}
		if h := w.hop(k); h.Valid != want || h.Valid == (h.Reason != "") {
			t.Errorf("state %#x: %+v", state, h)
		}
		w.neighs[k] = neigh{key: k, state: state}
		if w.hop(k).Valid {
			t.Errorf("state %#x without a MAC is valid", state)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

func TestVLANsLeadToTheInterfaceBelow(t *testing.T) {
	edge, peer := pair(t)
	for _, h := range []*host{edge, peer} {
		h.vlan("v10", "eth0", 10, netlink.VLAN_PROTOCOL_8021Q)
		h.vlan("s20", "eth0", 20, netlink.VLAN_PROTOCOL_8021AD)
		h.vlan("s20c30", "s20", 30, netlink.VLAN_PROTOCOL_8021Q)
		h.vlan("deep", "s20c30", 40, netlink.VLAN_PROTOCOL_8021Q)
		h.vlan("prio", "eth0", 0, netlink.VLAN_PROTOCOL_8021Q)
	}
	edge.addr("v10", "10.10.0.1/24")
	peer.addr("v10", "10.10.0.2/24")
	edge.addr("s20c30", "10.20.0.1/24")
	peer.addr("s20c30", "10.20.0.2/24")
	w := watch(edge, Options{})
	for _, tt := range []struct {
		name, gw string
		want     []Tag
	}{
		{"v10", "10.10.0.2", []Tag{{0x8100, 10}}},
		{"s20c30", "10.20.0.2", []Tag{{0x88a8, 20}, {0x8100, 30}}},
	} {
		k := key(edge, tt.name, tt.gw)
		w.Want(k)
		got := awaitHop(t, w, k, tt.name, valid)
		want := Hop{
			Key: k, Kind: "vlan", Phys: edge.index("eth0"), Tags: tt.want, MTU: got.MTU,
			Dst: peer.mac(tt.name), Src: edge.mac(tt.name), Valid: true,
		}
		if diff := cmp.Diff(want, got, sameHop); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for name, want := range map[string]string{"deep": "more than 2 VLAN tags", "prio": "VLAN 0"} {
		k := key(edge, name, "10.30.0.2")
		w.Want(k)
		if h := awaitHop(t, w, k, name, invalid); !strings.Contains(h.Reason, want) {
			t.Errorf("%s: reason %q", name, h.Reason)
		}
	}
	// What happens to the interface below happens to all above it.
	k := key(edge, "s20c30", "10.20.0.2")
	must(t, edge.nl.LinkSetDown(edge.link("eth0")))
	awaitHop(t, w, k, "down", invalid)
	must(t, edge.nl.LinkSetUp(edge.link("eth0")))
	awaitHop(t, w, k, "up", valid)
}

func TestLinkEvents(t *testing.T) {
	edge, _ := pair(t)
	w := watch(edge, Options{})
	e := awaitLink(t, w, "eth0", LinkAppeared)
	if !e.Link.Up || e.Link.MTU != 1500 || !slices.Contains(e.Link.Addrs, netip.MustParsePrefix("192.0.2.1/24")) ||
		e.Link.Phys != e.Link.Ifindex || e.Link.Unsupported != "" {
		t.Errorf("got %+v", e.Link)
	}
	edge.addr("eth0", "192.0.2.9/24")
	e = awaitLink(t, w, "eth0", LinkAddrs)
	if !slices.Contains(e.Link.Addrs, netip.MustParsePrefix("192.0.2.9/24")) {
		t.Errorf("got %v", e.Link.Addrs)
	}
	must(t, edge.nl.LinkSetMTU(edge.link("eth0"), 1300))
	awaitLink(t, w, "eth0", LinkMTU)
	must(t, edge.nl.LinkSetDown(edge.link("eth0"))) // before 6.2 only a link that is down can be renamed
	must(t, edge.nl.LinkSetName(edge.link("eth0"), "lan"))
	must(t, edge.nl.LinkSetUp(edge.link("lan")))
	if e = awaitLink(t, w, "lan", LinkRenamed); e.OldName != "eth0" {
		t.Errorf("renamed from %q", e.OldName)
	}
	edge.add(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}})
	awaitLink(t, w, "br0", LinkAppeared)
	must(t, edge.nl.LinkSetMaster(edge.link("lan"), edge.link("br0")))
	if e = awaitLink(t, w, "lan", LinkMaster); e.Link.Master != edge.index("br0") {
		t.Errorf("master %d", e.Link.Master)
	}
	// Leaving the bridge is no end of the link.
	must(t, edge.nl.LinkSetNoMaster(edge.link("lan")))
	if e = awaitLink(t, w, "lan", LinkMaster); e.Gone || e.Link.Master != 0 {
		t.Errorf("got %+v", e)
	}
}

func TestBondsAndBridgesAreWhatXDPSendsOn(t *testing.T) {
	edge, peer := pair(t)
	bond := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0"})
	bond.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
	edge.add(bond)
	join(edge, peer, "eth1")
	must(t, edge.nl.LinkSetDown(edge.link("eth1")))
	must(t, edge.nl.LinkSetMaster(edge.link("eth1"), edge.link("bond0")))
	must(t, edge.nl.LinkSetUp(edge.link("bond0")))
	peer.addr("eth1", "10.1.0.2/24")
	edge.addr("bond0", "10.1.0.1/24")
	edge.vlan("bond0.7", "bond0", 7, netlink.VLAN_PROTOCOL_8021Q)
	peer.vlan("eth1.7", "eth1", 7, netlink.VLAN_PROTOCOL_8021Q)
	peer.addr("eth1.7", "10.7.0.2/24")
	edge.addr("bond0.7", "10.7.0.1/24")
	edge.add(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}})
	join(edge, peer, "eth2")
	must(t, edge.nl.LinkSetMaster(edge.link("eth2"), edge.link("br0")))
	peer.addr("eth2", "10.2.0.2/24")
	edge.addr("br0", "10.2.0.1/24")

	w := watch(edge, Options{})
	for _, tt := range []struct{ name, gw, phys, kind, peer string }{
		{"bond0", "10.1.0.2", "bond0", "bond", "eth1"},
		{"bond0.7", "10.7.0.2", "bond0", "vlan", "eth1.7"},
		{"br0", "10.2.0.2", "br0", "bridge", "eth2"},
	} {
		k := key(edge, tt.name, tt.gw)
		w.Want(k)
		h := awaitHop(t, w, k, tt.name, valid)
		if h.Phys != edge.index(tt.phys) || h.Kind != tt.kind || h.Dst != peer.mac(tt.peer) || h.Src != edge.mac(tt.name) {
			t.Errorf("%s: %+v", tt.name, h)
		}
	}
}

func TestDevicesThatCantCarryAHopSayWhy(t *testing.T) {
	edge, _ := pair(t)
	edge.add(&netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: "mv0", ParentIndex: edge.index("eth0")}, Mode: netlink.MACVLAN_MODE_BRIDGE,
	})
	wants := map[string]string{"lo": "loopback", "mv0": "macvlan device"}
	tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN}
	made := false
	edge.in(func() error {
		made = netlink.LinkAdd(tun) == nil
		return nil
	})
	if made {
		wants["tun0"] = "no Ethernet header"
	}
	w := watch(edge, Options{})
	for name, want := range wants {
		k := key(edge, name, "192.0.2.2")
		w.Want(k)
		if h := awaitHop(t, w, k, name, invalid); !strings.Contains(h.Reason, want) {
			t.Errorf("%s: reason %q", name, h.Reason)
		}
	}
	k := Key{Ifindex: edge.index("eth0"), Gateway: netip.MustParseAddr("224.0.0.5")}
	w.Want(k)
	if h := awaitHop(t, w, k, "multicast", invalid); !strings.Contains(h.Reason, "no address of one host") {
		t.Errorf("multicast: reason %q", h.Reason)
	}
}

func TestRunEndsWithItsContextAndClosesChanges(t *testing.T) {
	edge, _ := pair(t)
	w := open(edge, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cancel()
	must(t, w.Run(ctx))
	for range w.Changes() {
	}
	if err := w.Run(context.Background()); err == nil {
		t.Error("ran twice")
	}
}

func TestAReaderThatNeverReadsHoldsNothingUp(t *testing.T) {
	edge, _ := pair(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	for range 50 {
		must(t, edge.nl.LinkSetDown(edge.link("eth0")))
		must(t, edge.nl.LinkSetUp(edge.link("eth0")))
	}
	must(t, edge.nl.LinkSetMTU(edge.link("eth0"), 1234))
	deadline := time.Now().Add(patience)
	for { // nobody reads Changes, and the snapshot follows all the same
		hs := w.Hops()
		if len(hs) == 1 && hs[0].Valid && hs[0].MTU == 1234 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("hops: %+v", hs)
		}
		time.Sleep(5 * time.Millisecond) // there is no event to wait for: that is the test
	}
	awaitHop(t, w, k, "last state", func(h Hop) bool { return h.Valid && h.MTU == 1234 })
}

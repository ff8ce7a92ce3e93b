// SPDX-License-Identifier: Apache-2.0

// Package nexthop keeps next hops right by netlink: which MACs and VLAN tags a
// frame to a gateway carries, and which physical interface it leaves by. It asks
// the kernel to keep the neighbours resolved, follows links, addresses,
// neighbours and routes, and tells what changed. It knows nothing of maps.
//
// Use: New, Run in a goroutine of the caller's, Resolve a destination to a Key,
// Want the key, and read Changes.
package nexthop

import (
	"fmt"
	"net/netip"
	"slices"
)

// Key is what a next hop is asked for by.
type Key struct {
	// Ifindex is the interface that holds the address: a VLAN device, bond or
	// bridge as well as a NIC.
	Ifindex int
	// Gateway is the on-link address whose MAC is needed: a router's, or the
	// destination itself. It has no zone and is never IPv4-mapped.
	Gateway netip.Addr
}

// String is "gateway@ifindex".
func (k Key) String() string { return fmt.Sprintf("%s@%d", k.Gateway, k.Ifindex) }

func (k Key) normal() Key {
	return Key{Ifindex: k.Ifindex, Gateway: k.Gateway.Unmap().WithZone("")}
}

// Tag is one VLAN tag.
type Tag struct {
	Proto uint16 // 0x8100 or 0x88a8, in host order
	VID   uint16 // 1 to 4094
}

// Hop is what XDP must write to reach a Key.
type Hop struct {
	Key
	Kind string  // of the interface: "device" for a NIC, else what ip link calls it
	Phys int     // ifindex that XDP sends on; a bond's master, a bridge itself
	Tags []Tag   // outer first, at most two
	Dst  [6]byte // the gateway's MAC; zero while it is unknown
	Src  [6]byte // the interface's own MAC
	MTU  int     // bytes of L3 packet that the interface takes
	// Valid says that a frame written by this reaches the gateway as far as the
	// kernel knows. Where it is false, Reason says why in words.
	Valid  bool
	Reason string
}

func (h Hop) equal(o Hop) bool {
	return h.Key == o.Key && h.Kind == o.Kind && h.Phys == o.Phys && slices.Equal(h.Tags, o.Tags) &&
		h.Dst == o.Dst && h.Src == o.Src && h.MTU == o.MTU && h.Valid == o.Valid && h.Reason == o.Reason
}

// Link is one interface.
type Link struct {
	Ifindex int
	Name    string
	Phys    int            // where frames leave: itself, or what VLAN devices lie on
	Tags    []Tag          // tags that a frame gets on the way to Phys, outer first
	MAC     [6]byte        // zero when the device has none
	MTU     int            // bytes of L3 packet
	Up      bool           // switched on, with a carrier; all the way down to Phys
	Kind    string         // "device", "veth", "vlan", "bond", "bridge" ...
	Master  int            // ifindex of the bond, bridge or VRF it belongs to; 0 for none
	Addrs   []netip.Prefix // usable addresses with their prefix length, sorted
	// Unsupported says in words why XDP can't send through it; empty when it can.
	Unsupported string
}

func (l Link) clone() Link {
	l.Tags, l.Addrs = slices.Clone(l.Tags), slices.Clone(l.Addrs)
	return l
}

// Change says what happened to a link; several may have.
type Change uint16

// What can happen to a link.
const (
	LinkAppeared Change = 1 << iota // new, or back in this namespace
	LinkGone
	LinkUp
	LinkDown
	LinkRenamed
	LinkMAC
	LinkMTU
	LinkAddrs
	LinkMaster // enslaved or released
)

// String names the changes: "up,mac".
func (c Change) String() string {
	names := []string{"appeared", "gone", "up", "down", "renamed", "mac", "mtu", "addrs", "master"}
	var b []byte
	for i, n := range names {
		if c&(1<<i) == 0 {
			continue
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(b, n...)
	}
	return string(b)
}

// EventKind says which part of an Event counts.
type EventKind uint8

// Kinds of events.
const (
	// HopChanged: Hop is how the hop is now.
	HopChanged EventKind = iota + 1
	// LinkChanged: Link is how the link is now, or was when it went (Gone);
	// Change is all that happened since the last event about it.
	LinkChanged
	// RoutesChanged: what Resolve said may no longer hold.
	RoutesChanged
	// Resynced: messages of the kernel were lost and everything was read anew;
	// what changed meanwhile follows as events of its own.
	Resynced
	// Overflowed: so much changed unread that single events were dropped. Links,
	// Hops and Resolve say how things are.
	Overflowed
)

// String names the kind as logs show it.
func (k EventKind) String() string {
	names := []string{"none", "hop", "link", "routes", "resynced", "overflowed"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Event is one thing that changed. Events about one hop or link that nobody read
// yet are merged into one: the last state is never lost, states in between may be.
type Event struct {
	Kind    EventKind
	Hop     Hop
	Link    Link
	Change  Change
	Gone    bool   // the link no longer exists
	OldName string // the name last told, with LinkRenamed
}

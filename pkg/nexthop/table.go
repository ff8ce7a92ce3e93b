// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rawLink is what the kernel says of an interface, before it is followed down to
// where its frames leave.
type rawLink struct {
	name    string
	kind    string
	parent  int  // of a VLAN device
	foreign bool // the parent is in another network namespace
	tag     Tag  // of a VLAN device
	mac     [6]byte
	hasMAC  bool
	ether   bool
	mtu     int
	up      bool
	master  int
}

// maxTags is how many VLAN tags XDP writes.
const maxTags = 2

// sendable reports whether XDP sends through interfaces of a kind that is made in
// software. A NIC's kind is "device".
func sendable(kind string) bool {
	switch kind {
	case "device", "veth", "vlan", "bond", "team", "bridge", "dummy", "tuntap", "tun", "netkit", "ifb", "netdevsim":
		return true
	}
	return false
}

func rawFrom(l netlink.Link) rawLink {
	a := l.Attrs()
	r := rawLink{
		name: a.Name, kind: l.Type(), mtu: a.MTU, master: a.MasterIndex,
		hasMAC: len(a.HardwareAddr) == 6, ether: a.EncapType == "ether",
		up: a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_RUNNING != 0,
	}
	if r.hasMAC {
		copy(r.mac[:], a.HardwareAddr)
	}
	if a.EncapType == "loopback" {
		r.kind = "loopback"
	}
	if v, ok := l.(*netlink.Vlan); ok {
		r.parent, r.foreign = a.ParentIndex, a.NetNsID >= 0
		r.tag = Tag{Proto: uint16(v.VlanProtocol), VID: uint16(v.VlanId)}
		if r.tag.Proto == 0 {
			r.tag.Proto = uint16(netlink.VLAN_PROTOCOL_8021Q)
		}
	}
	return r
}

// tables is what the watcher knows of the kernel's state. It isn't safe for
// concurrent use; the watcher's lock guards it.
type tables struct {
	links  map[int]rawLink
	addrs  map[int]map[netip.Prefix]bool
	neighs map[Key]neigh // of wanted keys only
}

func newTables() tables {
	return tables{links: map[int]rawLink{}, addrs: map[int]map[netip.Prefix]bool{}, neighs: map[Key]neigh{}}
}

// link follows an interface down to where its frames leave.
func (t *tables) link(ifindex int) (Link, bool) {
	r, ok := t.links[ifindex]
	if !ok {
		return Link{}, false
	}
	l := Link{
		Ifindex: ifindex, Name: r.name, Phys: ifindex, MAC: r.mac, MTU: r.mtu, Up: r.up,
		Kind: r.kind, Master: r.master,
		Addrs: slices.SortedFunc(maps.Keys(t.addrs[ifindex]), comparePrefix),
	}
	var inner []Tag
	for r.kind == "vlan" && l.Unsupported == "" {
		parent, known := t.links[r.parent]
		switch {
		case r.tag.VID == 0:
			l.Unsupported = fmt.Sprintf("%s has VLAN 0, which marks priority only: use the interface below it", r.name)
		case len(inner) == maxTags:
			l.Unsupported = fmt.Sprintf("%s has more than %d VLAN tags", l.Name, maxTags)
		case r.foreign:
			l.Unsupported = fmt.Sprintf("%s lies on an interface of another network namespace", r.name)
		case !known:
			l.Unsupported = fmt.Sprintf("the interface under %s is gone", r.name)
		default:
			inner = append(inner, r.tag)
			l.Phys, l.Up, r = r.parent, l.Up && parent.up, parent
		}
	}
	slices.Reverse(inner)
	l.Tags = inner
	if l.Unsupported == "" {
		l.Unsupported = unsupported(r)
	}
	if l.Unsupported != "" {
		l.Phys, l.Tags = ifindex, nil
	}
	return l, true
}

func unsupported(r rawLink) string {
	switch {
	case r.kind == "loopback":
		return fmt.Sprintf("%s is the loopback interface: it reaches this host only", r.name)
	case !r.hasMAC || !r.ether:
		return fmt.Sprintf("%s (%s) has no Ethernet header, which XDP forwarding needs", r.name, r.kind)
	case !sendable(r.kind):
		return fmt.Sprintf("%s is a %s device, which XDP can't send through: use the interface below it", r.name, r.kind)
	}
	return ""
}

// hop works out what XDP must write for k.
func (t *tables) hop(k Key) Hop {
	h := Hop{Key: k}
	l, ok := t.link(k.Ifindex)
	n, known := t.neighs[k]
	if ok {
		h.Kind, h.Phys, h.Tags, h.Src, h.MTU = l.Kind, l.Phys, l.Tags, l.MAC, l.MTU
	}
	if known && n.hasMAC {
		h.Dst = n.mac
	}
	switch {
	case !ok:
		h.Reason = fmt.Sprintf("interface %d does not exist", k.Ifindex)
	case l.Unsupported != "":
		h.Reason = l.Unsupported
	case !unicast(k.Gateway):
		h.Reason = fmt.Sprintf("%s is no address of one host", k.Gateway)
	case !l.Up:
		h.Reason = fmt.Sprintf("%s is down", l.Name)
	case !known:
		h.Reason = fmt.Sprintf("the MAC of %s on %s is not known yet", k.Gateway, l.Name)
	case n.state&netlink.NUD_FAILED != 0:
		h.Reason = fmt.Sprintf("%s does not answer on %s", k.Gateway, l.Name)
	case !n.usable():
		h.Reason = fmt.Sprintf("the MAC of %s on %s is being asked for", k.Gateway, l.Name)
	default:
		h.Valid = true
	}
	return h
}

func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// above returns ifindex and the VLAN devices that lie on it: all whose links
// change with it.
func (t *tables) above(ifindex int) []int {
	all := []int{ifindex}
	for i := 0; i < len(all); i++ {
		for k, r := range t.links {
			if r.kind == "vlan" && !r.foreign && r.parent == all[i] && !slices.Contains(all, k) {
				all = append(all, k)
			}
		}
	}
	return all
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// changes says how a link went from one state to another.
func changes(was, is Link) Change {
	var c Change
	set := func(on bool, what Change) {
		if on {
			c |= what
		}
	}
	set(!was.Up && is.Up, LinkUp)
	set(was.Up && !is.Up, LinkDown)
	set(was.Name != is.Name, LinkRenamed)
	set(was.MAC != is.MAC, LinkMAC)
	set(was.MTU != is.MTU, LinkMTU)
	set(!slices.Equal(was.Addrs, is.Addrs), LinkAddrs)
	set(was.Master != is.Master, LinkMaster)
	return c
}

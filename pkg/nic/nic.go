// SPDX-License-Identifier: Apache-2.0

// Package nic reads what this host's network interfaces are and are set to: by netlink and ethtool, in the network
// namespace that it is called in. It changes nothing.
package nic

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NIC is one network interface.
type NIC struct {
	Name      string
	Index     int
	Kind      string // "device" (hardware, or what a virtual machine has for it), else vlan, bond, bridge, veth, tuntap, …
	Driver    string // as ethtool names it; "" = it names none
	MTU       int
	MAC       net.HardwareAddr
	Up        bool // and it has a carrier
	Mbits     int  // 0 = not known
	Parent    string
	Master    string
	Addresses []netip.Prefix
	Default   bool // a default route leaves by it
	Channels  Channels
	Ring      Ring
	Features  map[string]Feature // by ethtool's names: rx-lro, rx-gro-hw, rx-vlan-hw-parse …; nil = not to be seen
	XDP       XDP
}

// Channels are queues with their interrupts, and how many there may be. Zero is unknown or none.
type Channels struct{ RX, TX, Combined, MaxRX, MaxTX, MaxCombined int }

// Ring is how many packets wait for the driver in a queue, and how many may. Zero is unknown.
type Ring struct{ RX, TX, MaxRX, MaxTX int }

// Feature is an offload.
type Feature struct {
	On    bool
	Fixed bool // it can't be switched
}

// XDP is what the interface does with programs.
type XDP struct {
	Attached uint32 // number of the program that is attached; 0 = none
	Generic  bool   // it is attached in the slow kind
	Known    bool   // the driver says what it can do (Linux 6.3 and newer): else what follows is not known
	Basic    bool   // native XDP that drops, passes and sends back
	Redirect bool   // it sends to other interfaces
	Target   bool   // others can send to it
	Frags    bool   // it takes packets in several buffers: an MTU beyond a page
}

// Queues are the receive queues.
func (n *NIC) Queues() int { return n.Channels.RX + n.Channels.Combined }

// MaxQueues are the most receive queues that it can have.
func (n *NIC) MaxQueues() int { return max(n.Channels.MaxRX, n.Channels.MaxCombined) }

// tool is what is asked of ethtool.
type tool interface {
	DriverName(name string) (string, error)
	FeaturesWithState(name string) (map[string]ethtool.FeatureState, error)
	GetChannels(name string) (ethtool.Channels, error)
	GetRing(name string) (ethtool.Ring, error)
	CmdGet(cmd *ethtool.EthtoolCmd, name string) (uint32, error)
}

// Read lists the interfaces by index, lo aside.
func Read() ([]NIC, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	defaults, err := defaultLinks()
	if err != nil {
		return nil, err
	}
	ask, err := ethtool.NewEthtool()
	if err != nil {
		return nil, fmt.Errorf("open ethtool's socket: %w", err)
	}
	defer ask.Close()
	drivers := openNetdev()
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var all []NIC
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 {
			continue
		}
		n := NIC{
			Name: a.Name, Index: a.Index, Kind: l.Type(), MTU: a.MTU, MAC: a.HardwareAddr, Default: defaults[a.Index],
			Up: a.Flags&net.FlagUp != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0, Master: names[a.MasterIndex], Parent: names[a.ParentIndex],
		}
		if n.Kind == "veth" {
			n.Parent = "" // its other end, which is in another namespace or beside it
		}
		if n.Addresses, err = addresses(l); err != nil {
			return nil, err
		}
		if x := a.Xdp; x != nil && x.Attached {
			n.XDP.Attached, n.XDP.Generic = x.ProgId, x.AttachMode == unix.XDP_FLAGS_SKB_MODE
		}
		if act, ok := drivers.acts(a.Index); ok {
			n.XDP.Known, n.XDP.Basic, n.XDP.Redirect = true, act&actBasic != 0, act&actRedirect != 0
			n.XDP.Target, n.XDP.Frags = act&actTarget != 0, act&actFrags != 0
		}
		n.ethtool(ask)
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b NIC) int { return cmp.Compare(a.Index, b.Index) })
	return all, nil
}

// ethtool fills in what a driver tells; many tell little.
func (n *NIC) ethtool(ask tool) {
	if name, err := ask.DriverName(n.Name); err == nil {
		n.Driver = name
	}
	if c, err := ask.GetChannels(n.Name); err == nil {
		n.Channels = Channels{int(c.RxCount), int(c.TxCount), int(c.CombinedCount), int(c.MaxRx), int(c.MaxTx), int(c.MaxCombined)}
	}
	if r, err := ask.GetRing(n.Name); err == nil {
		n.Ring = Ring{int(r.RxPending), int(r.TxPending), int(r.RxMaxPending), int(r.TxMaxPending)}
	}
	const unknownSpeed = 1 << 31 // and more: the kernel's -1
	if mbits, err := ask.CmdGet(&ethtool.EthtoolCmd{}, n.Name); err == nil && mbits < unknownSpeed && n.Kind == "device" {
		n.Mbits = int(mbits) // those made in software name a speed that means nothing
	}
	features, err := ask.FeaturesWithState(n.Name)
	if err != nil {
		return
	}
	n.Features = make(map[string]Feature, len(features))
	for name, f := range features {
		n.Features[name] = Feature{On: f.Active, Fixed: f.NeverChanged || !f.Available}
	}
}

// addresses leaves out those that come and go by themselves: IPv6 privacy addresses.
func addresses(l netlink.Link) ([]netip.Prefix, error) {
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", l.Attrs().Name, err)
	}
	var all []netip.Prefix
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if ones, _ := a.Mask.Size(); ok && a.Flags&(unix.IFA_F_TEMPORARY|unix.IFA_F_DEPRECATED) == 0 {
			all = append(all, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	return all, nil
}

func defaultLinks() (map[int]bool, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	all := map[int]bool{}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones != 0 {
				continue
			}
		}
		all[r.LinkIndex] = true
		for _, hop := range r.MultiPath {
			all[hop.LinkIndex] = true
		}
	}
	return all, nil
}

// Outside are the interfaces that lead to players: those of default routes, and hardware with addresses of its own. Bridges of
// containers and tunnels are none.
func Outside(all []NIC) []NIC {
	var some []NIC
	for _, n := range all {
		hardware := n.Kind == "device" || n.Kind == "bond" || n.Kind == "vlan"
		if len(n.Globals()) > 0 && (n.Default || hardware && n.Up) {
			some = append(some, n)
		}
	}
	return some
}

// Globals are the interface's addresses that others can reach.
func (n *NIC) Globals() []netip.Addr {
	var all []netip.Addr
	for _, a := range n.Addresses {
		if a.Addr().IsGlobalUnicast() {
			all = append(all, a.Addr())
		}
	}
	return all
}

// ErrNone says that there is no interface of a name.
var ErrNone = errors.New("there is no such interface")

// Find picks the interface of a name.
func Find(all []NIC, name string) (*NIC, error) {
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, fmt.Errorf("%s: %w", name, ErrNone)
}

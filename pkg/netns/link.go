// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End describes one end of a link.
type End struct {
	Host      *Host
	Name      string           // of the interface, at most 15 bytes
	Addresses []netip.Prefix   // with the length of their network; IPv6 ones are usable at once (nodad)
	MAC       net.HardwareAddr // nil: the kernel picks one
}

// LinkOptions says how a link differs from the usual: MTU 1500, one queue, offloads off, GRO on.
type LinkOptions struct {
	MTU    int // bytes of L3, 0 = 1500
	Queues int // receive and transmit queues of both ends, 0 = 1
	// Offloads keeps the kernel's pretended offloads (checksums, segmentation) at both ends. They are off by default,
	// since a packet that XDP sees must be whole.
	Offloads bool
	// NoGRO leaves GRO off. With it (and with an XDP program) the end has the NAPI context without which frames sent to
	// it by XDP_TX or redirect vanish.
	NoGRO bool
}

// Interface is a network interface in a host.
type Interface struct {
	Host  *Host
	Name  string
	Index int
	MAC   net.HardwareAddr
}

// Stats are an interface's own counters. A veth counts a frame that it received by XDP redirect as received.
type Stats struct {
	RxPackets, RxBytes, RxDropped uint64
	TxPackets, TxBytes, TxDropped uint64
}

// Link joins two hosts by a veth pair and brings both ends up with their addresses.
func (w *World) Link(a, b End, o LinkOptions) (*Interface, *Interface, error) {
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.Queues == 0 {
		o.Queues = 1
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = a.Name, o.MTU, a.MAC
	attrs.NumTxQueues, attrs.NumRxQueues = o.Queues, o.Queues
	// The kernel takes a veth whose two ends have the same index, each in its namespace, for a plain link, and lets up to
	// a second pass before it says that such a link runs.
	attrs.Index = w.newIndex()
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = b.Name, b.MAC, uint32(o.MTU)
	veth.PeerNumTxQueues, veth.PeerNumRxQueues = uint32(o.Queues), uint32(o.Queues)
	veth.PeerNamespace = netlink.NsFd(int(b.Host.ns.Fd()))
	if err := a.Host.handle.LinkAdd(veth); err != nil {
		return nil, nil, fmt.Errorf("link %s (%s) to %s (%s): %w", a.Host.name, a.Name, b.Host.name, b.Name, err)
	}
	ia, err := a.bringUp(o)
	if err != nil {
		return nil, nil, err
	}
	ib, err := b.bringUp(o)
	if err != nil {
		return nil, nil, err
	}
	// A veth becomes a target of redirects when GRO is switched on at its peer while both are up, not before.
	for _, i := range []*Interface{ia, ib} {
		if err := i.SetGRO(!o.NoGRO); err != nil {
			return nil, nil, err
		}
	}
	return ia, ib, nil
}

func (e End) bringUp(o LinkOptions) (*Interface, error) {
	i, err := e.Host.Interface(e.Name)
	if err != nil {
		return nil, err
	}
	if !o.Offloads {
		if err := i.SetOffloads(false); err != nil {
			return nil, err
		}
	}
	if err := i.SetUp(true); err != nil {
		return nil, err
	}
	for _, p := range e.Addresses {
		if err := i.AddAddress(p); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// Idle adds an interface that is down and leads nowhere. It takes two names: of itself, and (with x) of its other end.
func (h *Host) Idle(name string) (*Interface, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	veth := netlink.NewVeth(attrs) // not a dummy, which some kernels are built without
	veth.PeerName = name + "x"
	if err := h.handle.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("add interface %s in %s: %w", name, h.name, err)
	}
	return h.Interface(name)
}

// Interface finds an interface of the host by name.
func (h *Host) Interface(name string) (*Interface, error) {
	l, err := h.handle.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s in %s: %w", name, h.name, err)
	}
	return &Interface{Host: h, Name: name, Index: l.Attrs().Index, MAC: l.Attrs().HardwareAddr}, nil
}

// ref names the interface for netlink's setters.
func (i *Interface) ref() netlink.Link {
	return &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: i.Name, Index: i.Index}}
}

func (i *Interface) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of %s in %s: %w", what, i.Name, i.Host.name, err)
}

// AddAddress gives the interface an address.
func (i *Interface) AddAddress(p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return i.fail("add address "+p.String(), i.Host.handle.AddrAdd(i.ref(), addr))
}

// SetUp brings the interface up or down. Going down, its routes are lost, as on any Linux host.
func (i *Interface) SetUp(up bool) error {
	if up {
		return i.fail("set up", i.Host.handle.LinkSetUp(i.ref()))
	}
	return i.fail("set down", i.Host.handle.LinkSetDown(i.ref()))
}

// SetMTU changes the MTU of this end.
func (i *Interface) SetMTU(mtu int) error {
	return i.fail("set mtu", i.Host.handle.LinkSetMTU(i.ref(), mtu))
}

// SetMAC changes the hardware address.
func (i *Interface) SetMAC(mac net.HardwareAddr) error {
	if err := i.Host.handle.LinkSetHardwareAddr(i.ref(), mac); err != nil {
		return i.fail("set mac", err)
	}
	i.MAC = mac
	return nil
}

// Remove deletes the interface; with a veth, the other end goes too.
func (i *Interface) Remove() error { return i.fail("remove", i.Host.handle.LinkDel(i.ref())) }

// VLAN adds a subinterface (NAME.ID) with addresses, up. A kernel without 802.1Q answers errors.ErrUnsupported.
func (i *Interface) VLAN(id int, addresses ...netip.Prefix) (*Interface, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = fmt.Sprintf("%s.%d", i.Name, id), i.Index
	if err := i.Host.handle.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: id}); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = fmt.Errorf("%w: this kernel has no 802.1Q (CONFIG_VLAN_8021Q)", errors.ErrUnsupported)
		}
		return nil, i.fail(fmt.Sprintf("add vlan %d", id), err)
	}
	return End{Host: i.Host, Name: attrs.Name, Addresses: addresses}.bringUp(LinkOptions{Offloads: true})
}

// Stats reads the interface's counters.
func (i *Interface) Stats() (Stats, error) {
	l, err := i.Host.handle.LinkByIndex(i.Index)
	if err != nil {
		return Stats{}, i.fail("read counters", err)
	}
	s := l.Attrs().Statistics
	if s == nil {
		return Stats{}, i.fail("read counters", errors.New("the kernel gave none"))
	}
	return Stats{
		RxPackets: s.RxPackets, RxBytes: s.RxBytes, RxDropped: s.RxDropped,
		TxPackets: s.TxPackets, TxBytes: s.TxBytes, TxDropped: s.TxDropped,
	}, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

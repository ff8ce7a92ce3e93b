// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Route sends dst by way of a gateway. Route again replaces it.
func (h *Host) Route(dst netip.Prefix, via netip.Addr) error {
	r := &netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()}
	if err := h.handle.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s via %s in %s: %w", dst, via, h.name, err)
	}
	return nil
}

// DefaultRoute sends all else of the gateway's family by way of it.
func (h *Host) DefaultRoute(via netip.Addr) error {
	all := netip.IPv4Unspecified()
	if via.Is6() {
		all = netip.IPv6Unspecified()
	}
	return h.Route(netip.PrefixFrom(all, 0), via)
}

// RouteDev sends dst straight out of an interface, without a gateway.
func (h *Host) RouteDev(dst netip.Prefix, dev *Interface) error {
	r := &netlink.Route{Dst: ipNet(dst), LinkIndex: dev.Index, Scope: netlink.SCOPE_LINK}
	if err := h.handle.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s by %s in %s: %w", dst, dev.Name, h.name, err)
	}
	return nil
}

// DeleteRoute removes the route to dst.
func (h *Host) DeleteRoute(dst netip.Prefix) error {
	if err := h.handle.RouteDel(&netlink.Route{Dst: ipNet(dst)}); err != nil {
		return fmt.Errorf("delete route %s in %s: %w", dst, h.name, err)
	}
	return nil
}

// Neighbour sets a permanent neighbour entry, so that nothing has to be resolved.
func (i *Interface) Neighbour(addr netip.Addr, mac net.HardwareAddr) error {
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	return i.fail("add neighbour "+addr.String(), i.Host.handle.NeighSet(&netlink.Neigh{
		LinkIndex: i.Index, Family: family, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac,
	}))
}

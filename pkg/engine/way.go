// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"parry/pkg/guard"
)

// Way asks this host's routes how it reaches a server.
func Way(server netip.Addr) (guard.Way, error) {
	var w guard.Way
	routes, err := netlink.RouteGet(server.AsSlice())
	if err == nil && len(routes) == 0 {
		err = errors.New("the routing table is silent")
	}
	if err != nil {
		return w, fmt.Errorf("no route leads to %s: %w", server, err)
	}
	r := routes[0]
	link, err := netlink.LinkByIndex(r.LinkIndex)
	if err != nil {
		return w, fmt.Errorf("the interface towards %s: %w", server, err)
	}
	if w.Link, w.MAC = link.Attrs().Name, link.Attrs().HardwareAddr; w.Link == "lo" {
		return w, fmt.Errorf("%s is an address of this very host", server)
	}
	if a, ok := netip.AddrFromSlice(r.Src); ok {
		w.Source = a.Unmap()
	}
	if a, ok := netip.AddrFromSlice(r.Gw); ok {
		w.Gateway = a.Unmap()
	}
	return w, nil
}

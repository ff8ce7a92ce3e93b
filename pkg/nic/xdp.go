// SPDX-License-Identifier: Apache-2.0

package nic

import (
	"encoding/binary"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The kernel's netdev family (linux/netdev.h), from Linux 6.3 on.
const (
	netdevFamily  = "netdev"
	netdevGet     = 1 // NETDEV_CMD_DEV_GET
	netdevIfindex = 1 // NETDEV_A_DEV_IFINDEX
	netdevActs    = 3 // NETDEV_A_DEV_XDP_FEATURES

	actBasic    = 1
	actRedirect = 2
	actTarget   = 4
	actFrags    = 32
)

// netdev asks drivers what they do with XDP.
type netdev struct{ family int }

// openNetdev returns nil where the kernel does not tell.
func openNetdev() *netdev {
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if err != nil {
		return nil
	}
	return &netdev{int(family.ID)}
}

// acts are the bits of one interface. Its own question each: the kernel's list of all ends unlike others, and the library takes the first
// for the last.
func (d *netdev) acts(ifindex int) (uint64, bool) {
	if d == nil {
		return 0, false
	}
	req := nl.NewNetlinkRequest(d.family, 0)
	req.AddData(&nl.Genlmsg{Command: netdevGet, Version: 1})
	req.AddData(nl.NewRtAttr(netdevIfindex, nl.Uint32Attr(uint32(ifindex))))
	msgs, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil || len(msgs) == 0 || len(msgs[0]) < nl.SizeofGenlmsg {
		return 0, false
	}
	attrs, err := nl.ParseRouteAttr(msgs[0][nl.SizeofGenlmsg:])
	if err != nil {
		return 0, false
	}
	for _, a := range attrs {
		if a.Attr.Type == netdevActs && len(a.Value) >= 8 {
			return binary.NativeEndian.Uint64(a.Value), true
		}
	}
	return 0, false
}

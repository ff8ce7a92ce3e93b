// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Attributes and flags that the netlink library has no names for.
const (
	ndaProtocol  = netlink.NDA_PROTOCOL
	ndaFlagsExt  = netlink.NDA_FLAGS_EXT
	ndMsgLen     = 12 // struct ndmsg
	ifAddrMsgLen = 8  // struct ifaddrmsg
	nlaTypeMask  = 0x3fff
)

var errShort = errors.New("netlink message is too short")

// neigh is one entry of the kernel's neighbour table.
type neigh struct {
	key      Key
	state    uint16 // NUD_*
	managed  bool   // the kernel keeps it resolved
	protocol uint8  // who made it
	mac      [6]byte
	hasMAC   bool
}

// usable reports whether frames may be sent to the entry's MAC.
func (n *neigh) usable() bool {
	const good = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY |
		netlink.NUD_PROBE | netlink.NUD_PERMANENT | netlink.NUD_NOARP
	return n.state&good != 0 && n.hasMAC
}

// fixed reports an entry that isn't ours to touch: an operator's, or one of a
// device without neighbour discovery.
func (n *neigh) fixed() bool { return n.state&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) != 0 }

// foreign reports an entry that another keeps, so that we neither ask for it nor
// release it.
func (n *neigh) foreign() bool { return n.fixed() || n.managed && n.protocol != Protocol }

// attrs calls fn for each attribute in b.
func attrs(b []byte, fn func(typ uint16, value []byte)) error {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return errShort
		}
		fn(binary.NativeEndian.Uint16(b[2:])&nlaTypeMask, b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// decodeNeigh reads the payload of a RTM_NEWNEIGH or RTM_DELNEIGH. ok is false for
// entries that are none of ours: bridges' forwarding tables, proxies.
func decodeNeigh(b []byte) (n neigh, ok bool, err error) {
	if len(b) < ndMsgLen {
		return n, false, errShort
	}
	family, flags := b[0], b[10]
	if family != unix.AF_INET && family != unix.AF_INET6 || flags&netlink.NTF_PROXY != 0 {
		return n, false, nil
	}
	n.key.Ifindex = int(int32(binary.NativeEndian.Uint32(b[4:])))
	n.state = binary.NativeEndian.Uint16(b[8:])
	err = attrs(b[ndMsgLen:], func(typ uint16, v []byte) {
		switch typ {
		case netlink.NDA_DST:
			if a, aok := netip.AddrFromSlice(v); aok {
				n.key.Gateway, ok = a, true
			}
		case netlink.NDA_LLADDR:
			if len(v) == len(n.mac) {
				n.hasMAC = true
				copy(n.mac[:], v)
			}
		case ndaProtocol:
			if len(v) == 1 {
				n.protocol = v[0]
			}
		case ndaFlagsExt:
			if len(v) == 4 {
				n.managed = binary.NativeEndian.Uint32(v)&netlink.NTF_EXT_MANAGED != 0
			}
		}
	})
	return n, ok && err == nil, err
}

// decodeAddr reads the payload of a RTM_NEWADDR or RTM_DELADDR. usable is false
// while duplicate address detection runs or has failed.
func decodeAddr(b []byte) (ifindex int, p netip.Prefix, usable bool, err error) {
	if len(b) < ifAddrMsgLen {
		return 0, p, false, errShort
	}
	bits, flags := int(b[1]), uint32(b[2])
	ifindex = int(int32(binary.NativeEndian.Uint32(b[4:])))
	var local, address netip.Addr
	err = attrs(b[ifAddrMsgLen:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			if len(v) == 4 {
				flags = binary.NativeEndian.Uint32(v)
			}
		}
	})
	// With a peer, IFA_ADDRESS is the peer and the length is the peer's.
	if !local.IsValid() {
		local = address
	} else if address.IsValid() && local != address {
		bits = local.BitLen()
	}
	p = netip.PrefixFrom(local, bits)
	if err == nil && !p.IsValid() {
		err = errShort
	}
	tentative := flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	return ifindex, p, !tentative && flags&unix.IFA_F_DADFAILED == 0, err
}

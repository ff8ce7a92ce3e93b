// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Resolve asks the kernel's routing table where dst is reached: the key whose hop
// leads there, and the source address that the route prefers (not valid where it
// has none). dst may have a zone. It works whether Run runs or not.
func (w *Watcher) Resolve(dst netip.Addr) (Key, netip.Addr, error) {
	r, err := w.route(dst)
	if err != nil {
		return Key{}, netip.Addr{}, fmt.Errorf("route to %s: %w", dst, err)
	}
	return r.key, r.src, nil
}

// Errors of Resolve that callers branch on.
var (
	// ErrNoRoute says that the routing table leads nowhere.
	ErrNoRoute = errors.New("no route")
	// ErrLocal says that the address is this host's own.
	ErrLocal = errors.New("the address is this host's own")
)

type route struct {
	key Key
	src netip.Addr
}

func (w *Watcher) route(dst netip.Addr) (route, error) {
	addr := dst.Unmap().WithZone("")
	if !unicast(addr) {
		return route{}, errors.New("not an address of one host")
	}
	var opts *netlink.RouteGetOptions
	if zone := dst.Zone(); zone != "" {
		oif, err := w.ifindexOf(zone)
		if err != nil {
			return route{}, err
		}
		opts = &netlink.RouteGetOptions{OifIndex: oif}
	}
	rs, err := w.handle.RouteGetWithOptions(addr.AsSlice(), opts)
	if err != nil {
		return route{}, routeError(err)
	}
	if len(rs) == 0 {
		return route{}, ErrNoRoute
	}
	r := rs[0]
	if err := routeType(r.Type); err != nil {
		return route{}, err
	}
	if r.Encap != nil {
		return route{}, errors.New("the route puts packets into a tunnel, which XDP forwarding can't follow")
	}
	out := route{key: Key{Ifindex: r.LinkIndex, Gateway: addr}}
	if gw, ok := netip.AddrFromSlice(r.Gw); ok {
		out.key.Gateway = gw.Unmap()
	}
	if via, ok := r.Via.(*netlink.Via); ok { // an IPv4 route by an IPv6 router
		if gw, ok := netip.AddrFromSlice(via.Addr); ok {
			out.key.Gateway = gw
		}
	}
	if src, ok := netip.AddrFromSlice(r.Src); ok {
		out.src = src.Unmap()
	}
	if out.key.Ifindex == 0 {
		return route{}, ErrNoRoute
	}
	return out, nil
}

func routeError(err error) error {
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ESRCH):
		return fmt.Errorf("%w: %w", ErrNoRoute, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: the route is prohibit: %w", ErrNoRoute, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: the route is blackhole: %w", ErrNoRoute, err)
	}
	return err
}

func routeType(t int) error {
	switch t {
	case unix.RTN_UNICAST:
		return nil
	case unix.RTN_LOCAL:
		return ErrLocal
	case unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
		return fmt.Errorf("%w: the route says unreachable", ErrNoRoute)
	}
	return fmt.Errorf("not an address of one host (route type %d)", t)
}

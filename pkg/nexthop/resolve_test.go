// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestResolveSaysWhyNot(t *testing.T) {
	edge, _ := pair(t)
	w := watch(edge, Options{})
	for _, typ := range []struct {
		dst string
		typ int
	}{{"203.0.113.0/25", unix.RTN_BLACKHOLE}, {"203.0.113.128/25", unix.RTN_UNREACHABLE}, {"2001:db8:1::/48", unix.RTN_PROHIBIT}} {
		_, to, err := net.ParseCIDR(typ.dst)
		must(t, err)
		must(t, edge.nl.RouteAdd(&netlink.Route{Dst: to, Type: typ.typ}))
	}
	// IPv6 routes of an address appear a moment after it.
	await(t, w, "local route", func(Event) bool {
		_, _, err := w.Resolve(netip.MustParseAddr("2001:db8::1"))
		return errors.Is(err, ErrLocal)
	})
	for _, tt := range []struct {
		dst  string
		want error
	}{
		{"8.8.8.8", ErrNoRoute}, {"2001:4860::1", ErrNoRoute}, {"203.0.113.1", ErrNoRoute}, {"203.0.113.200", ErrNoRoute},
		{"2001:db8:1::1", ErrNoRoute}, {"192.0.2.1", ErrLocal}, {"2001:db8::1", ErrLocal},
		{"224.0.0.1", nil}, {"192.0.2.255", nil}, {"fe80::1%nope", nil}, {"127.0.0.1", nil},
	} {
		_, _, err := w.Resolve(netip.MustParseAddr(tt.dst))
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), "route to "+tt.dst) {
			t.Errorf("%s: %v, want %v", tt.dst, err, tt.want)
		}
	}
	for dst, gw := range map[string]string{"192.0.2.9": "192.0.2.9", "2001:db8::9": "2001:db8::9", "fe80::9%eth0": "fe80::9"} {
		k, src, err := w.Resolve(netip.MustParseAddr(dst))
		if err != nil || k != key(edge, "eth0", gw) || !src.IsValid() {
			t.Errorf("%s: %v from %v, %v", dst, k, src, err)
		}
	}
}

func TestIPv4ByAnIPv6Gateway(t *testing.T) {
	edge, peer := pair(t)
	_, to, err := net.ParseCIDR("198.51.100.0/24")
	must(t, err)
	must(t, edge.nl.RouteAdd(&netlink.Route{
		Dst: to, LinkIndex: edge.index("eth0"), Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP("2001:db8::2")},
	}))
	w := watch(edge, Options{})
	k, src, err := w.Resolve(netip.MustParseAddr("198.51.100.1"))
	if err != nil || k != key(edge, "eth0", "2001:db8::2") || src != netip.MustParseAddr("192.0.2.1") {
		t.Fatalf("got %v from %v, %v", k, src, err)
	}
	w.Want(k)
	if h := awaitHop(t, w, k, "hop", valid); h.Dst != peer.mac("eth0") {
		t.Errorf("got %+v", h)
	}
}

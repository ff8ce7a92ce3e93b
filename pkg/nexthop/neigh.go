// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Protocol marks the neighbours that parry keeps, as "ip neigh" shows in its
// column "proto": it tells them from others' when a daemon died and left them.
const Protocol = 112

// neighSocket asks the kernel about its neighbour table.
type neighSocket struct {
	sockets map[int]*nl.SocketHandle
}

func openNeighSocket() (*neighSocket, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := s.SetReceiveTimeout(&unix.Timeval{Sec: 10}); err != nil {
		s.Close()
		return nil, fmt.Errorf("set up netlink socket: %w", err)
	}
	return &neighSocket{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (s *neighSocket) close() { s.sockets[unix.NETLINK_ROUTE].Close() }

func (s *neighSocket) request(typ, flags int, k Key, ndm *netlink.Ndmsg) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(typ, flags)
	req.Sockets = s.sockets
	ndm.Family = unix.AF_INET6
	if k.Gateway.Is4() {
		ndm.Family = unix.AF_INET
	}
	ndm.Index = uint32(k.Ifindex)
	req.AddData(ndm)
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, k.Gateway.AsSlice()))
	return req
}

// get reads one entry; ok is false where there is none.
func (s *neighSocket) get(k Key) (n neigh, ok bool, err error) {
	msgs, err := s.request(unix.RTM_GETNEIGH, 0, k, &netlink.Ndmsg{}).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return n, false, nil
	}
	if err != nil {
		return n, false, fmt.Errorf("read neighbour %s: %w", k, err)
	}
	for _, m := range msgs {
		if n, ok, err := decodeNeigh(m); ok && err == nil && n.key == k {
			return n, true, nil
		}
	}
	return n, false, nil
}

// list reads the whole table of both families.
func (s *neighSocket) list(fn func(neigh)) error {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	req.Sockets = s.sockets
	req.AddData(&netlink.Ndmsg{})
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil {
		return fmt.Errorf("read neighbours: %w", err)
	}
	for _, m := range msgs {
		if n, ok, err := decodeNeigh(m); ok && err == nil {
			fn(n)
		}
	}
	return nil
}

// hold makes the kernel resolve k: for ever with manage (5.16 and later), else
// once. Neither touches an entry's MAC.
func (s *neighSocket) hold(k Key, manage bool) error {
	req := s.request(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_ACK, k, &netlink.Ndmsg{Flags: netlink.NTF_USE})
	if manage {
		req.AddData(nl.NewRtAttr(ndaFlagsExt, nl.Uint32Attr(netlink.NTF_EXT_MANAGED)))
	}
	req.AddData(nl.NewRtAttr(ndaProtocol, []byte{Protocol}))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("resolve neighbour %s: %w", k, err)
	}
	return nil
}

// release undoes hold. An entry that another made meanwhile stays as it is; with
// remove ours goes altogether, else it ages as any.
func (s *neighSocket) release(k Key, remove bool) error {
	n, ok, err := s.get(k)
	if err != nil || !ok || n.fixed() || n.protocol != Protocol {
		return err
	}
	var req *nl.NetlinkRequest
	if remove {
		req = s.request(unix.RTM_DELNEIGH, unix.NLM_F_ACK, k, &netlink.Ndmsg{})
	} else {
		req = s.request(unix.RTM_NEWNEIGH, unix.NLM_F_ACK, k, &netlink.Ndmsg{Flags: netlink.NTF_USE})
	}
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("release neighbour %s: %w", k, err)
	}
	return nil
}

// Purge removes every neighbour that a watcher keeps in the calling thread's
// network namespace, its own or one of a daemon that is gone, and returns how
// many. It is for detaching without a daemon; a watcher that still runs asks
// again at once.
func Purge() (int, error) {
	s, err := openNeighSocket()
	if err != nil {
		return 0, err
	}
	defer s.close()
	var ours []Key
	if err := s.list(func(n neigh) {
		if n.protocol == Protocol && !n.fixed() {
			ours = append(ours, n.key)
		}
	}); err != nil {
		return 0, err
	}
	for i, k := range ours {
		if err := s.release(k, true); err != nil {
			return i, err
		}
	}
	return len(ours), nil
}

// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routesQuiet is the least time between two RoutesChanged: a routing daemon that
// loads a full table makes thousands of changes a second.
const routesQuiet = 100 * time.Millisecond

// apply takes one message of the kernel.
func (w *Watcher) apply(typ, flags uint16, data []byte) {
	var err error
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		err = w.applyLink(typ, flags, data)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		var ifindex int
		var p netip.Prefix
		var usable bool
		if ifindex, p, usable, err = decodeAddr(data); err == nil {
			w.applyAddr(ifindex, p, usable && typ == unix.RTM_NEWADDR)
		}
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		var n neigh
		var ok bool
		if n, ok, err = decodeNeigh(data); ok {
			w.applyNeigh(n, typ == unix.RTM_DELNEIGH)
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE, unix.RTM_NEWRULE, unix.RTM_DELRULE,
		unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		w.routesChanged()
	}
	if err != nil {
		w.log.Warn("netlink message not understood", "type", typ, "error", err)
	}
}

func (w *Watcher) applyLink(typ, flags uint16, data []byte) error {
	// A bridge tells about its ports in its own family: a port that leaves the
	// bridge is "deleted" there while the interface lives on.
	if len(data) < unix.SizeofIfInfomsg || data[0] != unix.AF_UNSPEC {
		return nil
	}
	l, err := netlink.LinkDeserialize(&unix.NlMsghdr{Type: typ, Flags: flags}, data)
	if err != nil {
		return err
	}
	i := l.Attrs().Index
	w.mu.Lock()
	defer w.mu.Unlock()
	if typ == unix.RTM_DELLINK {
		delete(w.tab.links, i)
		delete(w.tab.addrs, i)
		for k := range w.tab.neighs {
			if k.Ifindex == i {
				delete(w.tab.neighs, k)
			}
		}
	} else {
		w.tab.links[i] = rawFrom(l)
	}
	w.review(w.tab.above(i))
	return nil
}

func (w *Watcher) applyAddr(ifindex int, p netip.Prefix, add bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.tab.links[ifindex]; !ok {
		return // a last word about a link that is gone
	}
	if add {
		if w.tab.addrs[ifindex] == nil {
			w.tab.addrs[ifindex] = map[netip.Prefix]bool{}
		}
		w.tab.addrs[ifindex][p] = true
	} else {
		delete(w.tab.addrs[ifindex], p)
	}
	w.review([]int{ifindex})
}

func (w *Watcher) applyNeigh(n neigh, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.wanted[n.key]
	if s == nil {
		return
	}
	if gone {
		delete(w.tab.neighs, n.key)
	} else {
		w.tab.neighs[n.key] = n
	}
	s.foreign = !gone && n.foreign()
	// Somebody flushed the entry, or took off what keeps it resolved: ask again.
	if gone || !n.managed && !s.foreign && w.manages() {
		s.ask = true
		w.poke()
	}
	w.reviewHop(n.key, s)
}

// review tells what changed about links and about the hops behind them. w.mu is held.
func (w *Watcher) review(ifindexes []int) {
	paths := false
	for _, i := range ifindexes {
		was, known := w.told[i]
		is, exists := w.tab.link(i)
		e := Event{Kind: LinkChanged, Link: is.clone()}
		switch {
		case !exists && !known:
			continue
		case !exists:
			delete(w.told, i)
			e.Link, e.Gone, e.Change = was, true, LinkGone
		case !known:
			w.told[i], e.Change = is, LinkAppeared
		default:
			w.told[i] = is
			if e.Change = changes(was, is); e.Change == 0 && !restacked(was, is) {
				continue
			}
			if e.Change&LinkRenamed != 0 {
				e.OldName = was.Name
			}
		}
		w.events.put(e)
		// Routes of a link that goes down vanish without a message of their own.
		paths = paths || e.Change&(LinkAppeared|LinkGone|LinkUp|LinkDown|LinkAddrs|LinkMaster) != 0
	}
	for k, s := range w.wanted {
		if slices.Contains(ifindexes, k.Ifindex) {
			w.reviewHop(k, s)
		}
	}
	if paths {
		w.routesChangedLocked()
	}
}

// restacked reports a change of what an interface lies on.
func restacked(was, is Link) bool {
	return was.Phys != is.Phys || !slices.Equal(was.Tags, is.Tags) || was.Kind != is.Kind || was.Unsupported != is.Unsupported
}

// reviewHop tells the hop of a wanted key if it changed. w.mu is held.
func (w *Watcher) reviewHop(k Key, s *want) {
	h := w.tab.hop(k)
	if h.equal(s.hop) {
		return
	}
	// A link that came up has lost its neighbours: ask without waiting for the refresh.
	if _, known := w.tab.neighs[k]; !known || s.ask {
		s.ask = true
		w.poke()
	}
	s.hop = h
	h.Tags = slices.Clone(h.Tags)
	w.events.put(Event{Kind: HopChanged, Hop: h})
}

func (w *Watcher) routesChanged() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.routesChangedLocked()
}

func (w *Watcher) routesChangedLocked() {
	if w.routesAt.IsZero() {
		w.routesAt = w.lastTold.Add(routesQuiet)
		w.poke()
	}
}

// resync reads links, addresses and wanted neighbours anew and tells what differs.
func (w *Watcher) resync() error {
	links, err := again(w.handle.LinkList)
	if err != nil {
		return err
	}
	addrs, err := again(func() ([]netlink.Addr, error) { return w.handle.AddrList(nil, unix.AF_UNSPEC) })
	if err != nil {
		return err
	}
	neighs, err := again(func() (all []neigh, err error) {
		err = w.neigh.list(func(n neigh) {
			if w.isWanted(n.key) {
				all = append(all, n)
			}
		})
		return all, err
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tab = newTables()
	all := make([]int, 0, len(links))
	for _, l := range links {
		w.tab.links[l.Attrs().Index] = rawFrom(l)
		all = append(all, l.Attrs().Index)
	}
	for _, a := range addrs {
		if p, ok := usablePrefix(a); ok {
			if w.tab.addrs[a.LinkIndex] == nil {
				w.tab.addrs[a.LinkIndex] = map[netip.Prefix]bool{}
			}
			w.tab.addrs[a.LinkIndex][p] = true
		}
	}
	for _, n := range neighs {
		w.tab.neighs[n.key] = n
	}
	for i := range w.told {
		if _, ok := w.tab.links[i]; !ok {
			all = append(all, i)
		}
	}
	w.review(all)
	for k, s := range w.wanted {
		s.ask = true
		w.reviewHop(k, s)
	}
	w.poke()
	return nil
}

// again repeats a dump that changes of the table interrupted.
func again[T any](dump func() ([]T, error)) (out []T, err error) {
	for range 5 {
		if out, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return out, err
}

func usablePrefix(a netlink.Addr) (netip.Prefix, bool) {
	ip, ok := netip.AddrFromSlice(a.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	bits, _ := a.Mask.Size()
	tentative := a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0
	return netip.PrefixFrom(ip, bits), !tentative && a.Flags&unix.IFA_F_DADFAILED == 0
}

func (w *Watcher) isWanted(k Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wanted[k] != nil
}

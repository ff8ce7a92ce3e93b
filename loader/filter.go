// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Before Linux 6.6 there is no TCX: programs are filters of a clsact qdisc, named as they are. The qdisc is shared with whoever
// else uses it, so only our own filter is removed, and the qdisc only when it is empty.
const (
	filterPriority = 1
	filterHandle   = 0x7061 // "pa"
)

func clsact(ifindex int) *netlink.GenericQdisc {
	return &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
}

func filterOf(ifindex int, fd int, h tcHook) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: ifindex, Parent: h.parent, Handle: filterHandle, Protocol: unix.ETH_P_ALL, Priority: filterPriority,
		},
		Fd: fd, Name: h.program, DirectAction: true,
	}
}

func attachFilter(i Interface, prog *ebpf.Program, h tcHook) error {
	if err := netlink.QdiscAdd(clsact(i.Ifindex)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: add the clsact qdisc: %w", i.Name, err)
	}
	if err := netlink.FilterReplace(filterOf(i.Ifindex, prog.FD(), h)); err != nil {
		return fmt.Errorf("%s: attach %s: %w", i.Name, h.program, err)
	}
	return nil
}

// detachFilter removes our filter, and the qdisc if nothing else is in it.
func detachFilter(ifindex int, h tcHook) error {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return nil // gone, and its filters with it
	}
	left := 0
	for _, parent := range []uint32{netlink.HANDLE_MIN_EGRESS, netlink.HANDLE_MIN_INGRESS} {
		filters, err := netlink.FilterList(l, parent)
		if err != nil {
			return nil // no clsact: nothing of ours
		}
		for _, f := range filters {
			if !ours(f, h) {
				left++
				continue
			}
			if err := netlink.FilterDel(f); err != nil {
				return fmt.Errorf("remove a filter: %w", err)
			}
		}
	}
	if left > 0 {
		return nil
	}
	if err := netlink.QdiscDel(clsact(ifindex)); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the clsact qdisc: %w", err)
	}
	return nil
}

// Filtered lists the interfaces that carry a classic filter of ours. Unlike links they outlive the process that made them.
func Filtered() ([]int, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	var all []int
	for _, l := range links {
		if slices.ContainsFunc(tcHooks, func(h tcHook) bool {
			filters, err := netlink.FilterList(l, h.parent)
			return err == nil && slices.ContainsFunc(filters, func(f netlink.Filter) bool { return ours(f, h) }) // an error: it has no clsact
		}) {
			all = append(all, l.Attrs().Index)
		}
	}
	return all, nil
}

// RemoveFilters takes them off again, but for those of the interfaces that are named.
func RemoveFilters(but []int) error {
	all, err := Filtered()
	errs := []error{err}
	for _, ifindex := range all {
		if !slices.Contains(but, ifindex) {
			for _, h := range tcHooks {
				errs = append(errs, detachFilter(ifindex, h))
			}
		}
	}
	return errors.Join(errs...)
}

func ours(f netlink.Filter, h tcHook) bool {
	b, ok := f.(*netlink.BpfFilter)
	return ok && b.Name == h.program
}

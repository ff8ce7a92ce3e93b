// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// Interface is one that the fast path works on.
type Interface struct {
	Name    string
	Ifindex int
	Generic bool // the operator accepts the kernel's slow XDP
}

// attachments are the links by which programs hang on interfaces, by interface name.
type attachments struct {
	xdp map[string]attached
	tc  map[tcPlace]attached
}

// tcPlace is where a program hangs on an interface's traffic control.
type tcPlace struct {
	hook  string // kind of one of tcHooks
	iface string
}

// tcHook is one of the two directions, and whose it is.
type tcHook struct {
	kind, program string
	attach        ebpf.AttachType
	parent        uint32 // of the classic filter
}

var tcHooks = []tcHook{
	{"tc", bpfProgParryLocal, ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS},
	{"tcin", bpfProgParryShake, ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS},
}

type attached struct {
	ifindex int
	link    link.Link // nil: a classic TC filter
}

func (a *attachments) close() error {
	var errs []error
	for _, l := range slices.Concat(slices.Collect(maps.Values(a.xdp)), slices.Collect(maps.Values(a.tc))) {
		if l.link != nil {
			errs = append(errs, l.link.Close())
		}
	}
	return errors.Join(errs...)
}

// Install makes the generation the one that packets meet, on each of the interfaces: by one link update where a
// link is there, else by attaching. All or nothing: where one interface refuses, the others go back to the generation
// before. Interfaces that are no longer named are let go. The generation before is removed; packets in it finish.
func (e *Edge) Install(g *Generation, ifaces []Interface) error {
	if e.links.xdp == nil {
		e.links = attachments{xdp: map[string]attached{}, tc: map[tcPlace]attached{}}
	}
	if e.opts.Pin != "" {
		if err := os.MkdirAll(e.dir("links"), 0o700); err != nil {
			return fmt.Errorf("make the links folder: %w", err)
		}
	}
	if err := e.setRuleModes(g.rules.modes, true); err != nil { // no packet is to pass by rules that are there
		return err
	}
	for n, i := range ifaces {
		if err := e.attachTo(g, i); err != nil {
			return errors.Join(err, e.rollBack(g, ifaces[:n+1]))
		}
	}
	if err := e.letGo(ifaces); err != nil {
		return err
	}
	old := e.swap(g)
	if err := e.setRuleModes(g.rules.modes, false); err != nil {
		return errors.Join(err, old.Close())
	}
	if e.opts.Pin == "" {
		return old.Close()
	}
	return errors.Join(old.Close(), e.removeGenerations(g.number))
}

// swap makes g the running generation once nobody uses the one before, which it returns.
func (e *Edge) swap(g *Generation) *Generation {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.gen
	e.gen = g
	return old
}

func (e *Edge) attachTo(g *Generation, i Interface) error {
	if err := e.attachXDP(g, i); err != nil {
		return err
	}
	var errs []error
	for _, h := range tcHooks {
		errs = append(errs, e.attachTC(g, i, h))
	}
	return errors.Join(errs...)
}

// rollBack puts the generation before back where the new one already was, and discards the new one. At a daemon's
// start there is none before: interfaces that it adopted keep the new one, for they are never left bare.
func (e *Edge) rollBack(g *Generation, touched []Interface) error {
	if e.gen == nil {
		return nil
	}
	var errs []error
	for _, i := range touched {
		if _, ok := e.links.xdp[i.Name]; ok {
			errs = append(errs, e.attachTo(e.gen, i))
		}
	}
	errs = append(errs, g.Close())
	if g.dir != "" {
		errs = append(errs, os.RemoveAll(g.dir))
	}
	return errors.Join(errs...)
}

// Reattach puts the running generation on an interface that came, or came back.
func (e *Edge) Reattach(i Interface) error {
	if e.gen == nil {
		return errors.New("no generation is installed")
	}
	return e.attachTo(e.gen, i)
}

// Attached tells whether the interface carries the running generation.
func (e *Edge) Attached(i Interface) bool {
	l, ok := e.links.xdp[i.Name]
	return ok && l.ifindex == i.Ifindex && linkAlive(l.link, i.Ifindex)
}

func linkAlive(l link.Link, ifindex int) bool {
	info, err := l.Info()
	if err != nil {
		return false
	}
	if x := info.XDP(); x != nil {
		return int(x.Ifindex) == ifindex
	}
	if t := info.TCX(); t != nil {
		return int(t.Ifindex) == ifindex
	}
	return false
}

// pinnedLink opens the link that an earlier daemon pinned, if it still holds the interface.
func (e *Edge) pinnedLink(kind string, i Interface) (link.Link, error) {
	if e.opts.Pin == "" {
		return nil, nil
	}
	path := e.dir("links", kind+"-"+i.Name)
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if linkAlive(l, i.Ifindex) {
		return l, nil
	}
	// The interface went and came back: its link is severed for good.
	return nil, errors.Join(l.Unpin(), l.Close())
}

func (e *Edge) attachXDP(g *Generation, i Interface) error {
	prog := g.coll.Programs[bpfProgParry]
	have, ok := e.links.xdp[i.Name]
	if ok && !linkAlive(have.link, i.Ifindex) {
		if err := errors.Join(have.link.Unpin(), have.link.Close()); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, link.ErrNotSupported) {
			e.log.Debug("a severed link did not close cleanly", "interface", i.Name, "err", err)
		}
		delete(e.links.xdp, i.Name)
		ok = false
	}
	if !ok {
		l, err := e.pinnedLink("xdp", i)
		if err != nil {
			return err
		}
		have, ok = attached{i.Ifindex, l}, l != nil
	}
	if ok {
		if err := have.link.Update(prog); err != nil {
			return fmt.Errorf("replace the program on %s: %w", i.Name, err)
		}
		e.links.xdp[i.Name] = have
		return nil
	}
	flags := link.XDPDriverMode
	if i.Generic {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: i.Ifindex, Flags: flags})
	if err != nil {
		return explainAttach(i, err)
	}
	if err := e.pinLink(l, "xdp", i); err != nil {
		return errors.Join(err, l.Close())
	}
	e.links.xdp[i.Name] = attached{i.Ifindex, l}
	return nil
}

func (e *Edge) pinLink(l link.Link, kind string, i Interface) error {
	if e.opts.Pin == "" {
		return nil
	}
	if err := l.Pin(e.dir("links", kind+"-"+i.Name)); err != nil {
		return fmt.Errorf("pin the link on %s: %w", i.Name, err)
	}
	return nil
}

// explainAttach says why an interface refuses XDP and what to do.
func explainAttach(i Interface, err error) error {
	switch {
	case errors.Is(err, syscall.EOPNOTSUPP):
		return fmt.Errorf("%s: its driver has no native XDP, or not while the device merges packets (`ethtool -K %s lro off rx-gro-hw off`; where that is fixed, a virtual "+
			"machine's host decides): set `mode: generic` for this interface to accept the slow kind, or use another NIC: %w", i.Name, i.Name, err)
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EEXIST):
		return fmt.Errorf("%s already carries an XDP program that is not this parry's: see `bpftool net`, remove it with `ip link set dev %s xdp off`: %w", i.Name, i.Name, err)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ERANGE), errors.Is(err, syscall.E2BIG):
		return fmt.Errorf("%s: its driver refuses XDP as it is set up: lower its MTU, switch LRO off (`ethtool -K %s lro off`), or have fewer queues: %w", i.Name, i.Name, err)
	case errors.Is(err, syscall.ENODEV):
		return fmt.Errorf("%s: there is no such interface any more: %w", i.Name, err)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%s: not allowed to attach XDP: run as root or with CAP_NET_ADMIN and CAP_BPF: %w", i.Name, err)
	}
	return fmt.Errorf("attach to %s: %w", i.Name, err)
}

// attachTC has local services' replies seen at egress, and servers' answers to the SYN proxy at ingress, where the generation
// has a program for it: by TCX, or before Linux 6.6 by a classic filter.
func (e *Edge) attachTC(g *Generation, i Interface, h tcHook) error {
	at, prog := tcPlace{h.kind, i.Name}, g.coll.Programs[h.program]
	if prog == nil {
		return e.detachTC(i.Name, h)
	}
	have, ok := e.links.tc[at]
	if ok && have.link != nil && !linkAlive(have.link, i.Ifindex) {
		have.link.Close()
		ok = false
	}
	if !ok {
		l, err := e.pinnedLink(h.kind, i)
		if err != nil {
			return err
		}
		have, ok = attached{i.Ifindex, l}, l != nil
	}
	if ok && have.link != nil {
		if err := have.link.Update(prog); err != nil {
			return fmt.Errorf("replace %s on %s: %w", h.program, i.Name, err)
		}
		e.links.tc[at] = have
		return nil
	}
	l, err := link.AttachTCX(link.TCXOptions{Program: prog, Interface: i.Ifindex, Attach: h.attach})
	if errors.Is(err, ebpf.ErrNotSupported) {
		if err := attachFilter(i, prog, h); err != nil {
			return err
		}
		e.links.tc[at] = attached{i.Ifindex, nil}
		return nil
	}
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", h.program, i.Name, err)
	}
	if err := e.pinLink(l, h.kind, i); err != nil {
		return errors.Join(err, l.Close())
	}
	e.links.tc[at] = attached{i.Ifindex, l}
	return nil
}

func (e *Edge) detachTC(name string, h tcHook) error {
	at := tcPlace{h.kind, name}
	l, ok := e.links.tc[at]
	delete(e.links.tc, at)
	if ok && l.link == nil {
		return detachFilter(l.ifindex, h)
	}
	if ok {
		return endLink(l.link)
	}
	if e.opts.Pin == "" {
		return nil
	}
	return removePinnedLink(e.dir("links", h.kind+"-"+name))
}

// endLink detaches now: a link that is only let go of is detached by a worker of the kernel's, some time after. One
// whose interface is gone is detached already.
func endLink(l link.Link) error {
	var errs []error
	if err := l.Detach(); err != nil && !errors.Is(err, syscall.ENOLINK) && !errors.Is(err, link.ErrNotSupported) {
		errs = append(errs, fmt.Errorf("detach: %w", err))
	}
	if err := l.Unpin(); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, l.Close())...)
}

// letGo detaches from interfaces that are no longer named, an earlier daemon's included.
func (e *Edge) letGo(ifaces []Interface) error {
	named := map[string]bool{}
	for _, i := range ifaces {
		named[i.Name] = true
	}
	var errs []error
	for name, l := range e.links.xdp {
		if !named[name] {
			errs = append(errs, endLink(l.link))
			for _, h := range tcHooks {
				errs = append(errs, e.detachTC(name, h))
			}
			delete(e.links.xdp, name)
		}
	}
	if e.opts.Pin == "" {
		return errors.Join(errs...)
	}
	entries, err := os.ReadDir(e.dir("links"))
	if err != nil {
		return fmt.Errorf("read the links folder: %w", err)
	}
	for _, entry := range entries {
		if _, name, ok := strings.Cut(entry.Name(), "-"); ok && !named[name] {
			errs = append(errs, removePinnedLink(e.dir("links", entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// removePinnedLink detaches what a pin holds; a pin of nothing is removed.
func removePinnedLink(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = endLink(l)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Base(path), err)
	}
	return nil
}

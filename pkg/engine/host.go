// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/hostfacts"
	"parry/pkg/nexthop"
)

// prepareHost says what this machine lacks for the configuration, and mounts a bpffs where none is.
func prepareHost(c *config.Config, log *slog.Logger) error {
	facts := hostfacts.Read("/")
	if err := lacking(facts, func(s string) { log.Warn(s) }); err != nil {
		return err
	}
	for _, f := range lessThanNewest(facts.Kernel) {
		log.Info(f)
	}
	return mountBPF(filepath.Dir(c.Pin))
}

// lacking are the host's lacks that no program of ours runs with; the others go to warn.
func lacking(facts hostfacts.Facts, warn func(string)) error {
	var errs []error
	for _, l := range facts.Lacks(hostfacts.Need{}) {
		if l.Fatal {
			errs = append(errs, errors.New(l.Text))
		} else {
			warn(l.Text)
		}
	}
	return errors.Join(errs...)
}

// lessThanNewest says what the kernel does in an older way.
func lessThanNewest(k hostfacts.Kernel) []string {
	var all []string
	if !k.AtLeast(6, 6) {
		all = append(all, "before Linux 6.6 there is no TCX: replies of `local` services are seen by a clsact filter")
	}
	if !k.AtLeast(6, 4) {
		all = append(all, "before Linux 6.4 a prefix that bpftool lists is noticed within a minute, not within a second")
	}
	return all
}

// mountBPF makes sure that dir is on a bpffs. In a mount namespace of its own the host's may be missing.
func mountBPF(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s for the pins: %w", dir, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if fs.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("%s is on no BPF file system and one can't be mounted there: `mount -t bpf bpf %s` as root, or set `pin:` to a folder on one: %w", dir, dir, err)
	}
	return nil
}

// raiseMemlock matters where the kernel counts maps against it (not since 5.11 with memory cgroups).
func raiseMemlock() error {
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	return nil
}

// hostOf gathers what the configuration is checked against.
func hostOf() (config.HostFacts, error) {
	facts := hostfacts.Read("/")
	h := config.HostFacts{LocalPortRange: config.PortRange(facts.LocalPorts)}
	for _, r := range facts.Reserved {
		h.ReservedPorts = append(h.ReservedPorts, config.PortRange(r))
	}
	links, err := netlink.LinkList()
	if err != nil {
		return h, fmt.Errorf("list the interfaces: %w", err)
	}
	defaults, err := defaultLinks()
	if err != nil {
		return h, err
	}
	for _, l := range links {
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return h, fmt.Errorf("list the addresses of %s: %w", l.Attrs().Name, err)
		}
		i := config.HostInterface{Name: l.Attrs().Name, Default: defaults[l.Attrs().Index]}
		for _, a := range addrs {
			ip, ok := netip.AddrFromSlice(a.IP)
			ones, _ := a.Mask.Size()
			if ok {
				i.Addresses = append(i.Addresses, netip.PrefixFrom(ip.Unmap(), ones))
			}
		}
		h.Interfaces = append(h.Interfaces, i)
	}
	return h, nil
}

func defaultLinks() (map[int]bool, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	all := map[int]bool{}
	for _, r := range routes {
		if r.Dst == nil {
			all[r.LinkIndex] = true
		} else if ones, _ := r.Dst.Mask.Size(); ones == 0 {
			all[r.LinkIndex] = true
		}
	}
	return all, nil
}

// chooseInterfaces finds the interfaces that the configuration names or means; the file's place is said of one that
// isn't there.
func chooseInterfaces(c *config.Config, r router) ([]loader.Interface, error) {
	host, err := hostOf()
	if err != nil {
		return nil, err
	}
	if bad := config.CheckHost(c, host); len(bad) > 0 {
		return nil, config.Errors(bad)
	}
	var all []loader.Interface
	for _, i := range config.ChooseInterfaces(c, host) {
		l, err := netlink.LinkByName(i.Name)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", i.Name, err)
		}
		all = append(all, loader.Interface{Name: i.Name, Ifindex: l.Attrs().Index, Generic: i.Mode == "generic"})
	}
	return withServers(c, all, r)
}

// lookAndChoose does so with this moment's routes.
func lookAndChoose(c *config.Config) ([]loader.Interface, error) {
	w, err := nexthop.New(slog.New(slog.DiscardHandler), nexthop.Options{})
	if err != nil {
		return nil, err
	}
	all, err := chooseInterfaces(c, w)
	return all, errors.Join(err, w.Close())
}

// Interfaces names the interfaces that an edge of this configuration would be attached to.
func Interfaces(c *config.Config) ([]string, error) {
	all, err := lookAndChoose(c)
	return names(all), err
}

// withServers sees to it that servers' answers come in by an interface that the edge is on: where the file names no
// interfaces they are added, where it does and misses one that is an error.
func withServers(c *config.Config, ifaces []loader.Interface, r router) ([]loader.Interface, error) {
	var errs config.Errors
	links := r.Links()
	for i, p := range c.Pools {
		for j, s := range p.Servers {
			key, _, err := r.Resolve(s.Address)
			if err != nil {
				continue // said when the plan is made
			}
			at := fmt.Sprintf("pools[%d].servers[%d].address", i, j)
			out := linkOf(links, key.Ifindex)
			if out.Unsupported != "" || out.Kind == "bridge" {
				errs = append(errs, c.At(at, "", "server %s is reached by %s, which XDP can't send to (%s): give the edge a NIC, VLAN, bond or veth of its own towards it",
					s.Name, out.Name, cmp.Or(out.Unsupported, out.Kind)))
				continue
			}
			phys := linkOf(links, out.Phys)
			if slices.ContainsFunc(ifaces, func(i loader.Interface) bool { return i.Ifindex == out.Ifindex || i.Ifindex == out.Phys }) {
				continue
			}
			if len(c.Interfaces) > 0 {
				errs = append(errs, c.At(at, "", "server %s is reached by %s, which is not among the interfaces: its answers would pass the edge unseen; add {name: %s}",
					s.Name, phys.Name, phys.Name))
				continue
			}
			ifaces = append(ifaces, loader.Interface{Name: phys.Name, Ifindex: phys.Ifindex})
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return ifaces, nil
}

func linkOf(links []nexthop.Link, ifindex int) nexthop.Link {
	for _, l := range links {
		if l.Ifindex == ifindex {
			return l
		}
	}
	return nexthop.Link{Ifindex: ifindex, Phys: ifindex, Name: fmt.Sprintf("interface %d", ifindex), Unsupported: "it is gone"}
}

// Check reads a configuration and, if asked, holds it against this machine. Warnings go to warn, a line each.
func Check(path string, host bool, warn func(string)) error {
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	if _, err := gatesFor(c, warn); err != nil || !host {
		return err
	}
	facts := hostfacts.Read("/")
	var errs []error
	if _, err := placesFor(c, nil); err != nil {
		errs = append(errs, err)
	}
	if err := checkPeers(c); err != nil {
		errs = append(errs, err)
	}
	need := hostfacts.Need{}
	for _, i := range c.Interfaces {
		need.Interfaces = append(need.Interfaces, i.Name)
	}
	chosen, chooseErr := lookAndChoose(c)
	for _, i := range chosen {
		// sysfs may be another network namespace's, with an interface of the same name.
		if seen, ok := facts.Interface(i.Name); ok && seen.Ifindex == i.Ifindex && !i.Generic {
			need.Native = append(need.Native, i.Name)
		}
	}
	for _, l := range facts.Lacks(need) {
		if l.Fatal && l.What != "interface" { // CheckHost says it with its place in the file
			errs = append(errs, errors.New(l.Text))
		} else if !l.Fatal {
			warn(l.Text)
		}
	}
	for _, s := range lessThanNewest(facts.Kernel) {
		warn(s)
	}
	return errors.Join(append(errs, chooseErr)...)
}

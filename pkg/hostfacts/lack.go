// SPDX-License-Identifier: Apache-2.0

package hostfacts

import (
	"fmt"
	"strings"
)

// Need is what a configuration asks of the host.
type Need struct {
	Pin        string   // directory of pinned maps; empty: not asked
	Interfaces []string // names
	Native     []string // names of those whose drivers are to run the program
	NATPorts   PortRange
}

// Lack is one thing that the host lacks.
type Lack struct {
	// What is a stable name: kernel, capability, users, btf, jit, bpffs, interface,
	// xdp, ports, unreadable.
	What string
	// Text is a sentence that says what is missing and what to do.
	Text string
	// Fatal says that parry can't run so; otherwise it is slower or says less.
	Fatal bool
}

// Oldest kernel that parry runs on.
const (
	oldestMajor = 6
	oldestMinor = 1
)

// Lacks compares the host with what is needed, most important first.
func (f *Facts) Lacks(need Need) []Lack {
	var out []Lack
	lack := func(what string, fatal bool, format string, args ...any) {
		out = append(out, Lack{What: what, Fatal: fatal, Text: fmt.Sprintf(format, args...)})
	}
	if f.Kernel.Release != "" && !f.Kernel.AtLeast(oldestMajor, oldestMinor) {
		lack("kernel", true, "kernel %s is older than %d.%d: install a newer one (Debian 12 has 6.1)",
			f.Kernel.Release, oldestMajor, oldestMinor)
	}
	if missing := f.missingCaps(); len(missing) > 0 {
		lack("capability", true, "this process lacks %s: run as root, or give the service AmbientCapabilities=%s",
			strings.Join(missing, ", "), strings.Join(missing, " "))
	}
	if !f.OwnUsers {
		lack("users", true, "this is a user namespace of its own, where the kernel refuses BPF: run outside of it (a container needs --userns=host)")
	}
	if !f.BTF {
		lack("btf", true, "the kernel shows no BTF (/sys/kernel/btf/vmlinux): use a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions build it, and mount sysfs")
	}
	if f.JIT == JITOff {
		lack("jit", false, "BPF programs are interpreted, ten times slower: sysctl -w net.core.bpf_jit_enable=1")
	}
	if need.Pin != "" && !f.OnBPFFS(need.Pin) {
		// Mounting one is the daemon's work where it may.
		lack("bpffs", !f.Caps.Has(CapSysAdmin), "%s is on no bpf file system: mount -t bpf bpf /sys/fs/bpf", need.Pin)
	}
	for _, name := range need.Interfaces {
		if _, ok := f.Interface(name); !ok {
			lack("interface", true, "there is no interface %s: this host has %s", name, f.names())
		}
	}
	for _, name := range need.Native {
		if i, ok := f.Interface(name); ok && i.NoXDP {
			lack("xdp", true, "%s refuses native XDP: the host of this virtual machine merges its packets or leaves their checksums open, and lets nobody here stop that. "+
				"Have ctrl_guest_offloads switched on for this NIC there, or guest_csum, guest_tso4, guest_tso6, guest_ecn and guest_ufo off; or set `mode: generic`, the slow kind", name)
		}
	}
	if need.NATPorts != (PortRange{}) {
		if own := f.OwnPorts(need.NATPorts.First, need.NATPorts.Last); len(own) > 0 {
			lack("ports", true, "%s", f.portsText(need.NATPorts, own))
		}
	}
	for _, err := range f.Problems {
		lack("unreadable", false, "%v: mount proc and sysfs, or leave out what needs it", err)
	}
	return out
}

func (f *Facts) missingCaps() (names []string) {
	for _, c := range []struct {
		bit  Caps
		name string
	}{{CapBPF, "CAP_BPF"}, {CapNetAdmin, "CAP_NET_ADMIN"}, {CapNetRaw, "CAP_NET_RAW"}, {CapPerfmon, "CAP_PERFMON"}} {
		if !f.Caps.Has(c.bit) {
			names = append(names, c.name)
		}
	}
	return names
}

func (f *Facts) names() string {
	var names []string
	for _, i := range f.Interfaces {
		names = append(names, i.Name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// portsText says how to keep NAT's ports and the host's apart. What is reserved
// already stays in the command: the setting is replaced as a whole.
func (f *Facts) portsText(nat PortRange, own []PortRange) string {
	var overlap, reserve []string
	for _, r := range own {
		overlap = append(overlap, r.String())
	}
	for _, r := range f.Reserved {
		reserve = append(reserve, r.String())
	}
	reserve = append(reserve, overlap...)
	text := fmt.Sprintf("nat ports %s overlap the ports that this host takes for its own connections (%s): reserve them with sysctl -w net.ipv4.ip_local_reserved_ports=%s",
		nat, strings.Join(overlap, ","), strings.Join(reserve, ","))
	if nat.First < f.LocalPorts.First {
		text += fmt.Sprintf(", or use %s", PortRange{nat.First, f.LocalPorts.First - 1})
	}
	return text
}

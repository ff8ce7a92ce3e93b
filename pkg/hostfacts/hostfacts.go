// SPDX-License-Identifier: Apache-2.0

// Package hostfacts reads what the configuration check and the start of the daemon
// want to know of the host: ports, interfaces, kernel, BPF and privileges. It reads
// files under /proc and /sys only, changes nothing, and says what is missing in one
// sentence each, with what to do about it.
package hostfacts

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Facts are what Read found. A fact that could not be read has its zero value, and
// Problems holds why.
type Facts struct {
	Kernel     Kernel
	LocalPorts PortRange   // ports that the host takes for connections of its own
	Reserved   []PortRange // ports that it keeps off, sorted
	Interfaces []Interface // by name
	BTF        bool        // the kernel describes its types
	JIT        JIT
	Caps       Caps
	// OwnUsers says that this is the host's own user namespace: in another, BPF
	// is refused whatever the capabilities say.
	OwnUsers bool
	Problems []error // facts that could not be read

	mounts []mount
}

// Kernel is a kernel release: "6.1.0-18-amd64" is 6, 1.
type Kernel struct {
	Release      string
	Major, Minor int
}

// AtLeast reports whether the kernel is major.minor or newer.
func (k Kernel) AtLeast(major, minor int) bool {
	return cmp.Or(cmp.Compare(k.Major, major), cmp.Compare(k.Minor, minor)) >= 0
}

// PortRange is First to Last, both included.
type PortRange struct{ First, Last uint16 }

// String is "1024-2047", or "22" for one port.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Interface is a network interface as sysfs shows it. sysfs belongs to the network
// namespace it was mounted in.
type Interface struct {
	Name    string
	Ifindex int
	Driver  string // of the device below it; empty for interfaces made in software
	Kind    string // "vlan", "bridge", "bond" ... where the kernel says so
	MTU     int    // bytes of L3 packet
	RX, TX  int    // queues
	Mbits   int    // a second that it carries; 0 = not known, as of those made in software
	Up      bool
	// NoXDP says that its driver refuses native XDP whatever is done on this machine (refusesXDP).
	NoXDP bool
}

// JIT says whether BPF programs run as machine code.
type JIT uint8

// States of the JIT compiler.
const (
	JITUnknown JIT = iota // only the first network namespace shows it
	JITOff
	JITOn
)

// Caps are effective capabilities, a bit each as in linux/capability.h.
type Caps uint64

// Capabilities that parry needs.
const (
	CapNetAdmin Caps = 1 << 12
	CapNetRaw   Caps = 1 << 13
	CapSysAdmin Caps = 1 << 21
	CapPerfmon  Caps = 1 << 38
	CapBPF      Caps = 1 << 39
)

// Has reports whether c holds all of want. CAP_SYS_ADMIN includes CAP_BPF and
// CAP_PERFMON.
func (c Caps) Has(want Caps) bool {
	if c&CapSysAdmin != 0 {
		c |= CapBPF | CapPerfmon
	}
	return c&want == want
}

// Read reads the facts from the files under root: "/" for this host, another
// directory in tests. It always returns what it could read.
func Read(root string) Facts {
	f := Facts{}
	r := reader{root: root, problems: &f.Problems}
	f.Kernel = parsed(r, "proc/sys/kernel/osrelease", parseKernel)
	f.LocalPorts = parsed(r, "proc/sys/net/ipv4/ip_local_port_range", parseLocalPorts)
	f.Reserved = parsed(r, "proc/sys/net/ipv4/ip_local_reserved_ports", parseReserved)
	f.Interfaces = r.interfaces()
	f.BTF = r.exists("sys/kernel/btf/vmlinux")
	if r.exists("proc/sys/net/core/bpf_jit_enable") {
		f.JIT = parsed(r, "proc/sys/net/core/bpf_jit_enable", parseJIT)
	}
	f.Caps = parsed(r, "proc/self/status", parseCaps)
	f.OwnUsers = parsed(r, "proc/self/uid_map", parseUsers)
	f.mounts = parsed(r, "proc/self/mountinfo", parseMounts)
	return f
}

// OnBPFFS reports whether path lies on a bpf file system, so that maps can be
// pinned there. path is cleaned, links in it are not followed.
func (f *Facts) OnBPFFS(path string) bool {
	path = filepath.Clean(path)
	best, typ := -1, ""
	for _, m := range f.mounts {
		if under(path, m.point) && len(m.point) >= best { // a later mount hides an earlier
			best, typ = len(m.point), m.typ
		}
	}
	return typ == "bpf"
}

// Interface returns the interface of a name.
func (f *Facts) Interface(name string) (Interface, bool) {
	for _, i := range f.Interfaces {
		if i.Name == name {
			return i, true
		}
	}
	return Interface{}, false
}

// OwnPorts returns the ports of first to last that the host may take for its own
// connections: those of its local range that are not reserved.
func (f *Facts) OwnPorts(first, last uint16) []PortRange {
	lo, hi := int(max(first, f.LocalPorts.First)), int(min(last, f.LocalPorts.Last))
	if f.LocalPorts == (PortRange{}) || lo > hi {
		return nil
	}
	var out []PortRange
	for _, r := range f.Reserved {
		if int(r.Last) < lo || int(r.First) > hi {
			continue
		}
		if lo < int(r.First) {
			out = append(out, PortRange{uint16(lo), r.First - 1})
		}
		lo = int(r.Last) + 1
	}
	if lo <= hi {
		out = append(out, PortRange{uint16(lo), uint16(hi)})
	}
	return out
}

func under(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// reader reads files under a root and keeps what went wrong.
type reader struct {
	root     string
	problems *[]error
}

func (r reader) path(name string) string { return filepath.Join(r.root, name) }

func (r reader) problem(err error) { *r.problems = append(*r.problems, err) }

func (r reader) exists(name string) bool {
	_, err := os.Stat(r.path(name))
	return err == nil
}

// parsed reads a file and makes a fact of it.
func parsed[T any](r reader, name string, parse func(string) (T, error)) T {
	var zero T
	b, err := os.ReadFile(r.path(name))
	if err != nil {
		r.problem(fmt.Errorf("read /%s: %w", name, errors.Unwrap(err)))
		return zero
	}
	v, err := parse(strings.TrimSpace(string(b)))
	if err != nil {
		r.problem(fmt.Errorf("read /%s: %w", name, err))
		return zero
	}
	return v
}

func (r reader) interfaces() []Interface {
	const dir = "sys/class/net"
	entries, err := os.ReadDir(r.path(dir))
	if err != nil {
		r.problem(fmt.Errorf("read /%s: %w", dir, errors.Unwrap(err)))
		return nil
	}
	var out []Interface
	for _, e := range entries {
		name := e.Name()
		at := filepath.Join(dir, name)
		if info, err := os.Stat(r.path(at)); err != nil || !info.IsDir() {
			continue // bonding_masters is a file, and interfaces may go while we look
		}
		driver := r.driver(at)
		speed := 0
		if driver != "" { // those made in software name a speed that means nothing
			speed = max(r.number(at+"/speed"), 0)
		}
		out = append(out, Interface{
			Name:    name,
			Ifindex: r.number(at + "/ifindex"),
			Driver:  driver,
			Mbits:   speed,
			Kind:    r.kind(at),
			MTU:     r.number(at + "/mtu"),
			RX:      r.count(at+"/queues", "rx-"),
			TX:      r.count(at+"/queues", "tx-"),
			Up:      r.number(at+"/flags")&1 != 0 && r.text(at+"/carrier") == "1",
			NoXDP:   driver == "virtio_net" && refusesXDP(r.text(at+"/device/features")),
		})
	}
	slices.SortFunc(out, func(a, b Interface) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// text returns a file's content, or nothing: interfaces differ in what they show.
func (r reader) text(name string) string {
	b, err := os.ReadFile(r.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (r reader) number(name string) int {
	n, err := strconv.ParseInt(r.text(name), 0, 64)
	if err != nil {
		return 0
	}
	return int(n)
}

func (r reader) count(dir, prefix string) (n int) {
	entries, err := os.ReadDir(r.path(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			n++
		}
	}
	return n
}

func (r reader) driver(at string) string {
	to, err := os.Readlink(r.path(at + "/device/driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

func (r reader) kind(at string) string {
	for line := range strings.Lines(r.text(at + "/uevent")) {
		if kind, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVTYPE="); ok {
			return kind
		}
	}
	return ""
}

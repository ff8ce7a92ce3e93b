// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"parry/pkg/hostfacts"
	"parry/pkg/nic"
	"parry/pkg/sockets"
)

// Read gathers the facts from the files below root ("/", but in tests), for these interfaces. What can't be read is left unknown.
func Read(root string, nics []nic.NIC) (*Facts, error) {
	f := &Facts{Host: hostfacts.Read(root), NICs: nics, CPUs: runtime.NumCPU(), ReversePat: map[string]int{}, IRQs: map[string][]IRQ{}, Steered: map[string]bool{}}
	d := files{root}
	const clock, cpu = "sys/devices/system/clocksource/clocksource0/", "sys/devices/system/cpu/cpu0/cpufreq/"
	f.Clock, f.Clocks = d.text(clock+"current_clocksource"), strings.Fields(d.text(clock+"available_clocksource"))
	f.Governor, f.Scaling = d.text(cpu+"scaling_governor"), d.text(cpu+"scaling_driver")
	f.JITHarden = d.number("proc/sys/net/core/bpf_jit_harden", -1)
	f.Options = d.kernelOptions(f.Host.Kernel.Release)
	f.Available = d.available()
	f.Conntrack = Conntrack{d.number("proc/sys/net/netfilter/nf_conntrack_count", 0), d.number("proc/sys/net/netfilter/nf_conntrack_max", 0)}
	for _, name := range d.names("proc/sys/net/ipv4/conf") {
		f.ReversePat[name] = d.number("proc/sys/net/ipv4/conf/"+name+"/rp_filter", 0)
	}
	for _, n := range nics {
		f.IRQs[n.Name] = d.irqs(n.Name)
		f.Steered[n.Name] = d.steered(n.Name)
	}
	var err error
	f.Listening, err = listening(root)
	return f, err
}

// files reads below a root.
type files struct{ root string }

func (d files) text(name string) string {
	b, err := os.ReadFile(filepath.Join(d.root, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (d files) number(name string, unknown int) int {
	n, err := strconv.Atoi(d.text(name))
	if err != nil {
		return unknown
	}
	return n
}

func (d files) names(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(d.root, dir))
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// kernelOptions reads how the kernel was built; nil where that is not to be seen.
func (d files) kernelOptions(release string) map[string]string {
	if b, err := os.ReadFile(filepath.Join(d.root, "proc/config.gz")); err == nil {
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			return parseOptions(z)
		}
	}
	b, err := os.ReadFile(filepath.Join(d.root, "boot/config-"+release))
	if err != nil {
		return nil
	}
	return parseOptions(bytes.NewReader(b))
}

// parseOptions reads lines like CONFIG_BPF_JIT=y.
func parseOptions(r io.Reader) map[string]string {
	all := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "CONFIG_"), "="); ok && !strings.HasPrefix(name, "#") {
			all[name] = value
		}
	}
	if lines.Err() != nil || len(all) == 0 {
		return nil
	}
	return all
}

// available is MemAvailable in bytes.
func (d files) available() uint64 {
	for line := range strings.Lines(d.text("proc/meminfo")) {
		words := strings.Fields(line)
		if len(words) >= 2 && words[0] == "MemAvailable:" {
			if n, err := strconv.ParseUint(words[1], 10, 54); err == nil {
				return n << 10
			}
		}
	}
	return 0
}

// irqs are a NIC's: of its device, or of the one that a virtio device is made of.
func (d files) irqs(name string) []IRQ {
	var all []IRQ
	for _, dir := range []string{"sys/class/net/" + name + "/device/msi_irqs", "sys/class/net/" + name + "/device/../msi_irqs"} {
		// Cleaning the path would take the ".." for that of the link's own folder.
		entries, err := os.ReadDir(d.root + "/" + dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			n, err := strconv.Atoi(e.Name())
			cpus := d.text("proc/irq/" + e.Name() + "/effective_affinity_list")
			if err == nil && cpus != "" {
				all = append(all, IRQ{n, cpus})
			}
		}
		break
	}
	slices.SortFunc(all, func(a, b IRQ) int { return a.Number - b.Number })
	return all
}

// steered says that some queue's packets are spread by the kernel.
func (d files) steered(name string) bool {
	dir := "sys/class/net/" + name + "/queues"
	for _, q := range d.names(dir) {
		if mask := strings.Trim(d.text(dir+"/"+q+"/rps_cpus"), "0,"); strings.HasPrefix(q, "rx-") && mask != "" {
			return true
		}
	}
	return false
}

// listening lists the sockets that take packets of anybody, with their programs.
func listening(root string) ([]Socket, error) {
	all, err := sockets.Of(root, "self")
	if err != nil {
		return nil, err
	}
	processes, err := sockets.Processes(root)
	if err != nil {
		return nil, err
	}
	owners := map[uint64]string{}
	for _, p := range slices.Backward(processes) { // the first of those who share one is the parent
		for _, inode := range p.Sockets {
			owners[inode] = p.Name
		}
	}
	var some []Socket
	for _, s := range all {
		if s.State == sockets.Listening {
			some = append(some, Socket{Socket: s, Process: owners[s.Inode]})
		}
	}
	return some, nil
}

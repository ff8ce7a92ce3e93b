// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parry/pkg/config"
	"parry/pkg/hostfacts"
	"parry/pkg/nic"
	"parry/pkg/show"
	"parry/pkg/sockets"
)

// machine is one that lacks nothing.
func machine(t *testing.T) *Facts {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/sys/kernel/osrelease": "6.12.0-1-amd64\n", "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n", "proc/sys/net/ipv4/ip_local_reserved_ports": "\n",
		"proc/sys/net/core/bpf_jit_enable": "1\n", "proc/self/status": "CapEff:\t000001ffffffffff\n", "proc/self/uid_map": "0 0 4294967295\n",
		"proc/self/mountinfo": "24 23 0:21 / /sys/fs/bpf rw - bpf bpf rw\n", "sys/kernel/btf/vmlinux": "x", "sys/class/net/lo/mtu": "65536",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := nic.NIC{
		Name: "eth0", Index: 2, Kind: "device", Driver: "ice", MTU: 1500, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Up: true, Mbits: 25000, Default: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.10/24")}, Channels: nic.Channels{Combined: 8, MaxCombined: 64}, Ring: nic.Ring{RX: 2048, MaxRX: 8160},
		Features: map[string]nic.Feature{"rx-lro": {}, "rx-gro-hw": {Fixed: true}, "rx-vlan-hw-parse": {On: true}},
		XDP:      nic.XDP{Known: true, Basic: true, Redirect: true, Target: true, Frags: true},
	}
	return &Facts{
		Host: hostfacts.Read(root), NICs: []nic.NIC{n}, CPUs: 8, Clock: "tsc", Clocks: []string{"tsc", "hpet"}, JITHarden: 0, Available: 8 << 30,
		Options:    map[string]string{"BPF_SYSCALL": "y", "BPF_JIT": "y", "DEBUG_INFO_BTF": "y"},
		ReversePat: map[string]int{"all": 0, "eth0": 0}, IRQs: map[string][]IRQ{"eth0": {{40, "0"}, {41, "1"}}}, Steered: map[string]bool{},
		Listening: []Socket{listener("tcp", "0.0.0.0:22", "sshd")},
	}
}

func listener(protocol, local, process string) Socket {
	return Socket{Socket: sockets.Socket{Protocol: protocol, Local: netip.MustParseAddrPort(local), State: sockets.Listening}, Process: process}
}

const nat = `
interfaces: [{name: eth0}]
services: [{name: a, listen: 203.0.113.10:27960, game: openarena, pool: p}]
pools: [{name: p, servers: [{name: s, address: 10.0.1.11:27960}]}]
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAGoodMachineIsFine(t *testing.T) {
	for _, a := range []Ask{{}, {Config: parse(t, nat)}} {
		r := Judge(machine(t), a)
		for _, f := range r.Findings {
			if f.State != OK || f.Mend != "" || f.Cost != "" {
				t.Errorf("%+v", f)
			}
		}
		if r.OK != len(r.Findings) || r.OK < 15 {
			t.Errorf("%d of %d are ok", r.OK, len(r.Findings))
		}
	}
}

// Each row spoils one thing; that one and no other is to be found.
func TestFindings(t *testing.T) {
	eth0 := func(change func(*nic.NIC)) func(*Facts, *Ask) {
		return func(f *Facts, _ *Ask) { change(&f.NICs[0]) }
	}
	driver := func(name string, kernel string) func(*Facts, *Ask) {
		return func(f *Facts, _ *Ask) {
			f.NICs[0].Driver, f.NICs[0].XDP = name, nic.XDP{}
			f.Host.Kernel = hostfacts.Kernel{Release: kernel, Major: 6, Minor: 12}
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(*Facts, *Ask)
		group string
		check string
		state State
		mend  string // a part of it
	}{
		{"old kernel", func(f *Facts, _ *Ask) { f.Host.Kernel = hostfacts.Kernel{Release: "5.10.0", Major: 5, Minor: 10} }, "kernel", "kernel", Fails, "install a newer one"},
		{"no BTF", func(f *Facts, _ *Ask) { f.Host.BTF = false }, "kernel", "btf", Fails, "CONFIG_DEBUG_INFO_BTF=y"},
		{"no JIT", func(f *Facts, _ *Ask) { f.Host.JIT = hostfacts.JITOff }, "kernel", "jit", Costs, "sysctl -w net.core.bpf_jit_enable=1"},
		{"hardened", func(f *Facts, _ *Ask) { f.JITHarden = 2 }, "kernel", "jit_harden", Costs, "bpf_jit_harden=0"},
		{"few rights", func(f *Facts, _ *Ask) { f.Host.Caps = hostfacts.CapNetAdmin }, "kernel", "capability", Fails, "run as root"},
		{"own users", func(f *Facts, _ *Ask) { f.Host.OwnUsers = false }, "kernel", "users", Fails, "run outside of it"},
		{"an option", func(f *Facts, _ *Ask) { delete(f.Options, "BPF_JIT") }, "kernel", "config", Fails, "as distributions build it"},
		{"slow clock", func(f *Facts, _ *Ask) { f.Clock = "hpet" }, "machine", "clock", Costs, "echo tsc >"},
		{"slow clock alone", func(f *Facts, _ *Ask) { f.Clock, f.Clocks = "acpi_pm", []string{"acpi_pm"} }, "machine", "clock", Costs, "BIOS"},
		{"kept slow", func(f *Facts, _ *Ask) { f.Governor, f.Scaling = "powersave", "acpi-cpufreq" }, "machine", "governor", Costs, "cpupower frequency-set -g performance"},
		{"little memory", func(f *Facts, _ *Ask) { f.Available = 256 << 20 }, "machine", "memory", Costs, "sizes: {"},
		{"no such interface", func(_ *Facts, a *Ask) { a.Interfaces = []string{"eth9"} }, "interface eth9", "interface", Fails, "this host has eth0"},
		{"no address", eth0(func(n *nic.NIC) { n.Addresses = nil }), "interface", "interface", Fails, "--interface"},
		{"down", eth0(func(n *nic.NIC) { n.Up = false }), "interface eth0", "link", Fails, "ip link set dev eth0 up"},
		{"tunnel", eth0(func(n *nic.NIC) { n.Kind, n.MAC = "wireguard", nil }), "interface eth0", "kind", Fails, "the NIC that the tunnel's own"},
		{"bridge", func(f *Facts, _ *Ask) {
			f.NICs[0].Kind = "bridge"
			f.NICs = append(f.NICs, nic.NIC{Name: "enp1s0", Kind: "device", Master: "eth0"})
		}, "interface eth0", "kind", Fails, "use the NIC below it: enp1s0"},
		{"another's program", eth0(func(n *nic.NIC) { n.XDP.Attached = 7 }), "interface eth0", "attached", Fails, "ip link set dev eth0 xdp off"},
		{"no native XDP", eth0(func(n *nic.NIC) { n.XDP.Basic = false }), "interface eth0", "xdp", Fails, "use another NIC, or set `mode: generic`"},
		{"unknown driver", driver("r8169", "6.12"), "interface eth0", "xdp", Fails, "use another NIC"},
		{"virtual machine", func(f *Facts, _ *Ask) {
			f.Host.Interfaces = []hostfacts.Interface{{Name: "eth0", Ifindex: 2, NoXDP: true}}
		}, "interface eth0", "xdp", Fails, "ctrl_guest_offloads"},
		{"generic where native would do", func(_ *Facts, a *Ask) {
			a.Config = parse(t, strings.Replace(nat, "name: eth0", "name: eth0, mode: generic", 1))
		}, "interface eth0", "xdp", Costs, "mode: native"},
		{"generic where nothing else does", func(f *Facts, a *Ask) {
			f.NICs[0].XDP.Basic = false
			a.Config = parse(t, strings.Replace(nat, "name: eth0", "name: eth0, mode: generic", 1))
		}, "interface eth0", "xdp", Costs, "use another NIC"},
		{"a port that restarts", eth0(func(n *nic.NIC) { n.Driver = "igb" }), "interface eth0", "pause", Costs, "when few play"},
		{"few queues for ENA", eth0(func(n *nic.NIC) { n.Driver, n.Channels = "ena", nic.Channels{Combined: 8, MaxCombined: 8} }), "interface eth0", "xdp_queues", Fails, "ethtool -L eth0 combined 4"},
		{"virtio's queues to send by", eth0(func(n *nic.NIC) { n.Driver, n.Channels = "virtio_net", nic.Channels{Combined: 8, MaxCombined: 12} }), "interface eth0", "xdp_queues", Costs, "ethtool -L eth0 combined 4"},
		{"jumbo", eth0(func(n *nic.NIC) { n.MTU = 9000 }), "interface eth0", "mtu", Costs, "ip link set dev eth0 mtu 1500"},
		{"jumbo that can't be", eth0(func(n *nic.NIC) { n.MTU, n.XDP.Frags = 9000, false }), "interface eth0", "mtu", Fails, "mtu 1500"},
		{"unused queues", eth0(func(n *nic.NIC) { n.Channels.Combined = 2 }), "interface eth0", "queues", Costs, "ethtool -L eth0 combined 8"},
		{"unused queues to receive", eth0(func(n *nic.NIC) { n.Channels = nic.Channels{RX: 2, MaxRX: 4} }), "interface eth0", "queues", Costs, "ethtool -L eth0 rx 4"},
		{"one queue", eth0(func(n *nic.NIC) { n.Channels = nic.Channels{Combined: 1, MaxCombined: 1} }), "interface eth0", "queues", Costs, "with more queues"},
		{"LRO", eth0(func(n *nic.NIC) { n.Features["rx-lro"] = nic.Feature{On: true} }), "interface eth0", "lro", Fails, "ethtool -K eth0 lro off"},
		{"GRO in hardware", eth0(func(n *nic.NIC) { n.Features["rx-gro-hw"] = nic.Feature{On: true} }), "interface eth0", "gro_hw", Costs, "ethtool -K eth0 rx-gro-hw off"},
		{"VLANs without tags", func(f *Facts, _ *Ask) {
			f.NICs = append(f.NICs, nic.NIC{Name: "eth0.5", Kind: "vlan", Parent: "eth0"})
		}, "interface eth0", "vlan", Fails, "ethtool -K eth0 rxvlan off"},
		{"short ring", eth0(func(n *nic.NIC) { n.Ring.RX = 256 }), "interface eth0", "ring", Costs, "ethtool -G eth0 rx 4096"},
		{"one CPU for all", func(f *Facts, _ *Ask) { f.IRQs["eth0"] = []IRQ{{40, "0"}, {41, "0"}} }, "interface eth0", "interrupts", Costs, "irqbalance"},
		{"connections", func(f *Facts, _ *Ask) { f.Conntrack = Conntrack{200_000, 262_144} }, "network", "conntrack", Costs, "nf_conntrack_max=1048576"},
		{"two ways out", func(f *Facts, _ *Ask) {
			f.ReversePat["eth0"] = 1
			n := f.NICs[0]
			n.Name = "eth1"
			f.NICs = append(f.NICs, n)
		}, "network", "rp_filter", Costs, "rp_filter=2"},
		{"NAT's ports", func(f *Facts, _ *Ask) { f.Host.LocalPorts = hostfacts.PortRange{First: 20000, Last: 60999} }, "network", "ports", Fails, "ip_local_reserved_ports=20000-32767"},
		{"ssh elsewhere", func(f *Facts, _ *Ask) { f.Listening = append(f.Listening, listener("tcp", "[::]:2222", "sshd")) }, "network", "ssh", Costs, "host: {always: [tcp/22, tcp/2222]}"},
		{"a fault", func(_ *Facts, a *Ask) { a.Config, a.Faults = parse(t, nat), []string{"x.yaml:1:2: no"} }, "configuration", "file", Fails, ""},
		{"monitor mode", func(_ *Facts, a *Ask) { a.Config = parse(t, "enforce: false"+nat) }, "configuration", "enforce", Costs, "enforce: true"},
		{"metrics", func(f *Facts, a *Ask) {
			a.Config = parse(t, nat)
			f.Listening = append(f.Listening, listener("tcp", "127.0.0.1:9590", "other"))
		}, "configuration", "metrics", Fails, "metrics:"},
		{"a program at NAT's ports", func(f *Facts, a *Ask) {
			a.Config = parse(t, nat)
			f.Listening = append(f.Listening, listener("udp", "0.0.0.0:5353", "avahi"), listener("udp", "0.0.0.0:27960", "the service's own"), listener("udp", "127.0.0.1:5000", "inside"))
		}, "configuration", "nat_ports", Costs, "nat: {ports"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, a := machine(t), Ask{}
			c.spoil(f, &a)
			r := Judge(f, a)
			var bad []Finding
			for _, v := range r.Findings {
				if v.State != OK {
					bad = append(bad, v)
				}
			}
			if c.name == "two ways out" || c.name == "bridge" {
				bad = only(bad, c.check)
			}
			if len(bad) != 1 || bad[0].Group != c.group || bad[0].Check != c.check || bad[0].State != c.state || !strings.Contains(bad[0].Mend, c.mend) {
				t.Errorf("got %+v\nwant %s %s %s %q", bad, c.group, c.check, c.state, c.mend)
			}
			if len(bad) == 1 && bad[0].State == Costs && bad[0].Cost == "" && bad[0].Check != "jit" {
				t.Errorf("it does not say what it costs: %+v", bad[0])
			}
		})
	}
}

func only(all []Finding, check string) (some []Finding) {
	for _, f := range all {
		if f.Check == check {
			some = append(some, f)
		}
	}
	return some
}

func TestOlderKernels(t *testing.T) {
	f := machine(t)
	f.Host.Kernel = hostfacts.Kernel{Release: "6.1.0", Major: 6, Minor: 1}
	f.Options["NET_CLS_BPF"], f.Options["NET_SCH_INGRESS"] = "m", "m"
	f.NICs[0].XDP = nic.XDP{}
	f.NICs[0].Driver = "gve"
	r := Judge(f, Ask{})
	got := map[string]State{}
	for _, v := range r.Findings {
		got[v.Check] = v.State
	}
	if got["tcx"] != Costs || got["notice"] != Costs || got["config"] != OK || got["xdp"] != Fails {
		t.Errorf("%v", got)
	}
}

func TestTextNamesAllAndCounts(t *testing.T) {
	f := machine(t)
	f.NICs[0].Up, f.JITHarden = false, 1
	r := Judge(f, Ask{})
	var b strings.Builder
	if err := r.Text(&b, show.Style{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n  FAILS  eth0 is down", "\n         mend it:  ip link set dev eth0 up", "\n         it costs: some percent", "2 ", ", 1 cost something, 1 won't work\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// Whatever machine this is: no error, and each finding complete.
func TestThisMachine(t *testing.T) {
	nics, err := nic.Read()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read("/", nics)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Judge(f, Ask{}).Findings {
		if v.Group == "" || v.Check == "" || v.Text == "" || v.State != OK && v.Mend == "" {
			t.Errorf("%+v", v)
		}
	}
}

func TestReadsFixtures(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/self/net/udp": "h\n", "proc/self/net/tcp": "h\n   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 9 1 0\n",
		"proc/5/stat": "5 (sshd) S 1", "proc/meminfo": "MemTotal: 10 kB\nMemAvailable:    2048 kB\n", "proc/sys/net/netfilter/nf_conntrack_max": "7\n",
		"proc/sys/net/ipv4/conf/eth0/rp_filter": "2\n", "boot/config-6.12.0": "# CONFIG_X is not set\nCONFIG_BPF_JIT=y\n", "proc/sys/kernel/osrelease": "6.12.0\n",
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n", "proc/irq/30/effective_affinity_list": "0-3\n",
		"sys/class/net/eth0/device/msi_irqs/30": "", "sys/class/net/eth0/queues/rx-0/rps_cpus": "00,0000000f\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "proc/5/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("socket:[9]", filepath.Join(root, "proc/5/fd/3")); err != nil {
		t.Fatal(err)
	}
	f, err := Read(root, []nic.NIC{{Name: "eth0"}})
	if err != nil {
		t.Fatal(err)
	}
	if f.Available != 2<<20 || f.Conntrack.Max != 7 || f.ReversePat["eth0"] != 2 || f.Options["BPF_JIT"] != "y" || f.Clock != "hpet" || f.JITHarden != -1 || !f.Steered["eth0"] {
		t.Errorf("%+v", f)
	}
	if len(f.IRQs["eth0"]) != 1 || f.IRQs["eth0"][0] != (IRQ{30, "0-3"}) {
		t.Errorf("interrupts %+v", f.IRQs)
	}
	if len(f.Listening) != 1 || f.Listening[0].Process != "sshd" || f.Listening[0].Local.Port() != 22 {
		t.Errorf("%+v", f.Listening)
	}
}

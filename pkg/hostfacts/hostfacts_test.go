// SPDX-License-Identifier: Apache-2.0

package hostfacts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// goodHost are the files of a host that lacks nothing.
func goodHost() map[string]string {
	return map[string]string{
		"proc/sys/kernel/osrelease":                 "6.1.0-18-amd64\n",
		"proc/sys/net/ipv4/ip_local_port_range":     "32768\t60999\n",
		"proc/sys/net/ipv4/ip_local_reserved_ports": "40000,33000-33999\n",
		"proc/sys/net/core/bpf_jit_enable":          "1\n",
		"proc/self/status":                          "Name:\tx\nCapPrm:\t0\nCapEff:\t000000c000003000\nCapBnd:\t0\n",
		"proc/self/uid_map":                         "         0          0 4294967295\n",
		"proc/self/mountinfo": "22 1 8:1 / / rw - ext4 /dev/sda rw\n" +
			"23 22 0:20 / /sys rw,nosuid shared:2 - sysfs sysfs rw\n" +
			"24 23 0:21 / /sys/fs/bpf rw - bpf bpf rw,mode=700\n" +
			"25 22 0:22 / /mnt/with\\040blank rw - bpf bpf rw\n",
		"sys/kernel/btf/vmlinux":        "x",
		"sys/class/net/bonding_masters": "bond0\n",
		"sys/class/net/eth0/mtu":        "1500\n", "sys/class/net/eth0/ifindex": "2\n",
		"sys/class/net/eth0/flags": "0x1003\n", "sys/class/net/eth0/carrier": "1\n", "sys/class/net/eth0/speed": "10000\n",
		"sys/class/net/eth0/queues/rx-0/x": "", "sys/class/net/eth0/queues/rx-1/x": "", "sys/class/net/eth0/queues/tx-0/x": "",
		"sys/class/net/eth0/uevent": "INTERFACE=eth0\nIFINDEX=2\n",
		"sys/class/net/eth0.5/mtu":  "1496\n", "sys/class/net/eth0.5/ifindex": "3\n", "sys/class/net/eth0.5/flags": "0x1002\n",
		"sys/class/net/eth0.5/speed":  "10000\n",
		"sys/class/net/eth0.5/uevent": "DEVTYPE=vlan\nINTERFACE=eth0.5\n",
	}
}

// host writes the files, changed, and reads the facts of them.
func host(t *testing.T, change map[string]string) Facts {
	t.Helper()
	root := t.TempDir()
	files := goodHost()
	for name, text := range change {
		files[name] = text
	}
	for name, text := range files {
		if text == "-" {
			continue
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	device := filepath.Join(root, "sys/class/net/eth0/device")
	if err := os.MkdirAll(device, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../../bus/virtio/drivers/virtio_net", filepath.Join(device, "driver")); err != nil {
		t.Fatal(err)
	}
	return Read(root)
}

func TestReadFindsTheFacts(t *testing.T) {
	got := host(t, nil)
	want := Facts{
		Kernel:     Kernel{"6.1.0-18-amd64", 6, 1},
		LocalPorts: PortRange{32768, 60999},
		Reserved:   []PortRange{{33000, 33999}, {40000, 40000}},
		Interfaces: []Interface{
			{Name: "eth0", Ifindex: 2, Driver: "virtio_net", MTU: 1500, RX: 2, TX: 1, Mbits: 10000, Up: true},
			{Name: "eth0.5", Ifindex: 3, Kind: "vlan", MTU: 1496},
		},
		BTF: true, JIT: JITOn, Caps: CapBPF | CapPerfmon | CapNetAdmin | CapNetRaw, OwnUsers: true,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Facts{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for path, want := range map[string]bool{
		"/sys/fs/bpf": true, "/sys/fs/bpf/parry": true, "/sys/fs/bpf/../bpf/x/": true, "/mnt/with blank/x": true,
		"/sys/fs/bpfx": false, "/sys/fs": false, "/": false,
	} {
		if got.OnBPFFS(path) != want {
			t.Errorf("OnBPFFS(%s) is %t", path, !want)
		}
	}
}

func TestAMountHidesWhatIsBelow(t *testing.T) {
	f := host(t, map[string]string{"proc/self/mountinfo": "1 1 0:1 / /a rw - bpf bpf rw\n2 1 0:2 / /a rw - tmpfs tmpfs rw\n3 2 0:3 / /a/b rw - bpf bpf rw\n"})
	if f.OnBPFFS("/a/x") || !f.OnBPFFS("/a/b/x") {
		t.Error("the last mount on a point counts")
	}
}

func TestLacksComeWithAdvice(t *testing.T) {
	need := Need{Pin: "/sys/fs/bpf/parry", Interfaces: []string{"eth0"}, Native: []string{"eth0", "eth0.5"}, NATPorts: PortRange{1024, 32767}}
	noXDP := []Lack{{"xdp", "eth0 refuses native XDP: the host of this virtual machine merges its packets or leaves their checksums open, and lets nobody here stop that. " +
		"Have ctrl_guest_offloads switched on for this NIC there, or guest_csum, guest_tso4, guest_tso6, guest_ecn and guest_ufo off; or set `mode: generic`, the slow kind", true}}
	wide := need
	wide.NATPorts = PortRange{1024, 40001}
	const features = "sys/class/net/eth0/device/features"
	tests := []struct {
		name   string
		change map[string]string
		need   Need
		want   []Lack
	}{
		{"none", nil, need, nil},
		{"reserved", map[string]string{"proc/sys/net/ipv4/ip_local_reserved_ports": "32768-40001"}, wide, nil},
		{"root", map[string]string{"proc/self/status": "CapEff:\t000001ffffffffff\n"}, need, nil},
		{"JIT in a namespace", map[string]string{"proc/sys/net/core/bpf_jit_enable": "-"}, need, nil},
		{"kernel", map[string]string{"proc/sys/kernel/osrelease": "5.15.0-91-generic"}, need, []Lack{{"kernel",
			"kernel 5.15.0-91-generic is older than 6.1: install a newer one (Debian 12 has 6.1)", true}}},
		{"capabilities", map[string]string{"proc/self/status": "CapEff:\t0000008000000000\n"}, need, []Lack{{"capability",
			"this process lacks CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON", true}}},
		{"users", map[string]string{"proc/self/uid_map": "0 1000 1\n"}, need, []Lack{{"users",
			"this is a user namespace of its own, where the kernel refuses BPF: run outside of it (a container needs --userns=host)", true}}},
		{"BTF", map[string]string{"sys/kernel/btf/vmlinux": "-"}, need, []Lack{{"btf",
			"the kernel shows no BTF (/sys/kernel/btf/vmlinux): use a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions build it, and mount sysfs", true}}},
		{"JIT", map[string]string{"proc/sys/net/core/bpf_jit_enable": "0"}, need, []Lack{{"jit",
			"BPF programs are interpreted, ten times slower: sysctl -w net.core.bpf_jit_enable=1", false}}},
		{"bpffs", nil, Need{Pin: "/run/parry"}, []Lack{{"bpffs",
			"/run/parry is on no bpf file system: mount -t bpf bpf /sys/fs/bpf", true}}},
		{"bpffs that root mounts", map[string]string{"proc/self/status": "CapEff:\t000001ffffffffff\n"}, Need{Pin: "/run/parry"}, []Lack{{"bpffs",
			"/run/parry is on no bpf file system: mount -t bpf bpf /sys/fs/bpf", false}}},
		{"interface", nil, Need{Interfaces: []string{"eth1"}}, []Lack{{"interface",
			"there is no interface eth1: this host has eth0, eth0.5", true}}},
		{"sums are left open for good", map[string]string{features: "1100010000000000"}, need, noXDP},
		{"packets are merged for good", map[string]string{features: "10000101100" + strings.Repeat("0", 43) + "10"}, need, noXDP},
		{"UDP is merged for good", map[string]string{features: strings.Repeat("0", 55) + "1"}, need, noXDP},
		{"the driver may switch it off", map[string]string{features: "11100101101110110000"}, need, nil},
		{"nothing is merged", map[string]string{features: "10000100000000110000"}, need, nil},
		{"it is not asked for", map[string]string{features: "11000101101110110000"}, Need{Interfaces: []string{"eth0"}}, nil},
		{"ports", nil, wide, []Lack{{"ports",
			"nat ports 1024-40001 overlap the ports that this host takes for its own connections (32768-32999,34000-39999,40001): reserve them with sysctl -w net.ipv4.ip_local_reserved_ports=33000-33999,40000,32768-32999,34000-39999,40001, or use 1024-32767", true}}},
		{"unreadable", map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "all"}, need, []Lack{{"unreadable",
			`read /proc/sys/net/ipv4/ip_local_port_range: "all" is no port range: mount proc and sysfs, or leave out what needs it`, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := host(t, tt.change)
			if diff := cmp.Diff(tt.want, f.Lacks(tt.need)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnEmptyRootIsSaidNotPanicked(t *testing.T) {
	f := Read(t.TempDir())
	if len(f.Problems) != 7 {
		t.Errorf("problems: %v", f.Problems)
	}
	for _, l := range f.Lacks(Need{Pin: "/x", Interfaces: []string{"a"}, NATPorts: PortRange{1, 65535}}) {
		if l.What == "" || l.Text == "" {
			t.Errorf("an empty lack: %+v", l)
		}
	}
}

func TestParsersRefuseGarbage(t *testing.T) {
	for name, err := range map[string]error{
		"kernel":   second(parseKernel("six")),
		"ports":    second(parseLocalPorts("60999 32768")),
		"reserved": second(parseReserved("1,x")),
		"range":    second(parseReserved("70000-70001")),
		"jit":      second(parseJIT("3")),
		"caps":     second(parseCaps("CapEff:\tzz\n")),
		"mounts":   second(parseMounts("1 2 3\n")),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if k, err := parseKernel("6.18"); err != nil || k.Minor != 18 || k.AtLeast(7, 0) || !k.AtLeast(6, 18) || !k.AtLeast(5, 19) {
		t.Errorf("6.18: %+v %v", k, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestOwnPorts(t *testing.T) {
	f := Facts{LocalPorts: PortRange{32768, 65535}, Reserved: []PortRange{{1, 100}, {32768, 32800}, {65000, 65535}}}
	for _, tt := range []struct {
		nat  PortRange
		want []PortRange
	}{
		{PortRange{1024, 32767}, nil},
		{PortRange{1024, 32800}, nil},
		{PortRange{1024, 32801}, []PortRange{{32801, 32801}}},
		{PortRange{1, 65535}, []PortRange{{32801, 64999}}},
		{PortRange{65000, 65535}, nil},
	} {
		if got := f.OwnPorts(tt.nat.First, tt.nat.Last); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.nat, got, tt.want)
		}
	}
}

func TestThisHostCanBeRead(t *testing.T) {
	f := Read("/")
	if f.Kernel.Major == 0 || len(f.Interfaces) == 0 {
		t.Errorf("got %+v", f)
	}
	for _, p := range f.Problems {
		if strings.Contains(p.Error(), "nil") {
			t.Errorf("problem without a reason: %v", p)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/config"
	"parry/pkg/nic"
)

var update = flag.Bool("update", false, "write testdata anew")

// process is one of a made-up machine: what it listens on is "udp 27015", "udp6 19132", "tcp 127.0.0.1:80" …
type process struct {
	pid, parent int
	name, args  string
	network     string // "" = the machine's own
	listens     []string
}

// machine writes a process table.
func machine(t *testing.T, all []process) string {
	t.Helper()
	root := t.TempDir()
	tables := map[string]string{}
	write := func(name, text string) {
		path := filepath.Join(root, "proc", name)
		to, isLink := strings.CutPrefix(text, "-> ")
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil && isLink {
			err = os.Symlink(to, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	inode := 100
	for _, p := range all {
		dir := fmt.Sprint(p.pid, "/")
		write(dir+"stat", fmt.Sprintf("%d (%s) S %d", p.pid, p.name, p.parent))
		write(dir+"cmdline", strings.ReplaceAll(p.args, " ", "\x00")+"\x00")
		write(dir+"ns/net", "-> net:["+p.network+"]")
		for i, l := range p.listens {
			inode++
			write(fmt.Sprint(dir, "fd/", i), fmt.Sprintf("-> socket:[%d]", inode))
			table, at, _ := strings.Cut(l, " ")
			if !strings.Contains(at, ":") {
				at = map[bool]string{true: "[::]:", false: "0.0.0.0:"}[strings.HasSuffix(table, "6")] + at
			}
			state := map[bool]string{true: "07", false: "0A"}[strings.HasPrefix(table, "udp")]
			tables[p.network+table] += fmt.Sprintf("0: %s 00000000:0000 %s 0:0 0:0 00000000 0 0 %d 1 0\n", hexOf(t, at), state, inode)
		}
	}
	write("self/ns/net", "-> net:[]")
	for _, table := range []string{"udp", "udp6", "tcp", "tcp6"} {
		write("self/net/"+table, "headings\n"+tables[table])
		for _, p := range all {
			if p.network != "" {
				write(fmt.Sprint(p.pid, "/net/", table), "headings\n"+tables[p.network+table])
			}
		}
	}
	for _, p := range all {
		if p.network != "" {
			write(fmt.Sprint(p.pid, "/net/fib_trie"), "  |-- 172.17.0."+p.network+"\n           /32 host LOCAL\n")
		}
	}
	return root
}

// hexOf writes an address and port as the kernel does.
func hexOf(t *testing.T, text string) string {
	t.Helper()
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		t.Fatal(err)
	}
	raw := ap.Addr().AsSlice()
	var b strings.Builder
	for i := 0; i < len(raw); i += 4 {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(raw[i:]))
	}
	return fmt.Sprintf("%s:%04X", b.String(), ap.Port())
}

// box is a machine with forty servers and more.
func box() []process {
	all := []process{
		{pid: 1, name: "systemd", listens: []string{"tcp 22"}},
		{pid: 10, name: "sshd", args: "sshd -D", listens: []string{"tcp 2222", "tcp6 2222"}},
		{pid: 11, name: "mysqld", args: "mysqld", listens: []string{"tcp 127.0.0.1:3306", "tcp 3306"}},
		{pid: 12, name: "nginx", args: "nginx", listens: []string{"tcp 80", "tcp 443"}},
		{pid: 13, name: "systemd-resolve", listens: []string{"udp 127.0.0.53:53", "udp 5355"}},
	}
	for i := range 20 {
		port := 27015 + i
		all = append(all, process{
			pid: 100 + i, parent: 1, name: "srcds_linux", args: fmt.Sprintf("./srcds_linux -game csgo +port %d", port),
			listens: []string{fmt.Sprint("udp ", port), fmt.Sprint("tcp ", port), fmt.Sprint("udp ", 26901+i), fmt.Sprint("udp ", 40001+i)},
		})
	}
	for i := range 8 {
		all = append(all, process{pid: 130 + i, name: "java", args: fmt.Sprintf("java -Xmx2G -jar /srv/mc%d/paper-1.21.jar nogui", i), listens: []string{fmt.Sprint("tcp6 ", 25565+i)}})
	}
	for i := range 4 {
		port := 28015 + 10*i
		all = append(all, process{
			pid: 140 + i, name: "RustDedicated", args: fmt.Sprintf("./RustDedicated +server.port %d +server.queryport %d +rcon.port %d", port, port+2, port+1),
			listens: []string{fmt.Sprint("udp ", port), fmt.Sprint("tcp ", port+1), fmt.Sprint("udp ", port+2), fmt.Sprint("udp ", 50001+i), fmt.Sprint("udp ", 28900+i)},
		})
	}
	return append(all,
		process{pid: 150, name: "bedrock_server", args: "./bedrock_server", listens: []string{"udp 19132", "udp6 19133", "udp 33333"}},
		process{pid: 151, name: "mumble-server", args: "mumble-server", listens: []string{"udp6 64738", "tcp6 64738"}},
		process{pid: 152, name: "mygame", args: "./mygame", listens: []string{"udp 9999", "tcp 9998", "udp 45454"}},
		process{pid: 153, name: "7DaysToDieServe", args: "./7DaysToDieServer.x86_64 -port=26900", listens: []string{"udp 203.0.113.11:26900"}},
		process{pid: 160, name: "docker-proxy", args: "docker-proxy -proto udp -host-ip 0.0.0.0 -host-port 2456 -container-ip 172.17.0.2 -container-port 2456", listens: []string{"udp 2456"}},
		process{pid: 161, name: "valheim_server.", args: "./valheim_server.x86_64 -port 2456", network: "2", listens: []string{"udp 2456", "udp 2457"}},
		process{pid: 162, name: "other", args: "./other", network: "3", listens: []string{"udp 2456"}},
		process{pid: 170, name: "conmon", args: "conmon -c 1234 -n factory", listens: []string{"udp 34197"}},
		process{pid: 171, parent: 170, name: "factorio", args: "./factorio --start-server x", network: "4", listens: []string{"udp 34197"}},
		process{pid: 180, name: "other", args: "./other", listens: []string{"udp 172.17.0.1:7777"}},
	)
}

// told is what the box's servers answer.
func told(_ context.Context, l *Listener) (Answer, bool) {
	switch {
	case l.Protocol == "udp" && l.Port >= 27015 && l.Port < 27035:
		return Answer{"source", "cs2", fmt.Sprintf("Arena #%d\n\x1b[31m§", l.Port-27014)}, true
	case l.Protocol == "tcp" && l.Port >= 25565 && l.Port < 25573:
		return Answer{"minecraft_java", "minecraft", "A Minecraft Server"}, true
	case l.Process == "RustDedicated" && l.Protocol == "udp" && l.Port%10 == 7:
		return Answer{"source", "", "Rusty"}, true
	case l.Port == 19132 || l.Port == 19133:
		return Answer{"raknet", "bedrock", "Bedrock level"}, true
	}
	return Answer{}, false
}

func nics() []nic.NIC {
	at := func(all ...string) (out []netip.Prefix) {
		for _, a := range all {
			out = append(out, netip.MustParsePrefix(a))
		}
		return out
	}
	return []nic.NIC{
		{Name: "eth0", Kind: "device", Driver: "ixgbe", Up: true, Default: true, Addresses: at("203.0.113.10/24", "203.0.113.11/24", "2001:db8::10/64", "fe80::1/64")},
		{Name: "docker0", Kind: "bridge", Up: true, Addresses: at("172.17.0.1/16")},
	}
}

func never(*nic.NIC) bool { return false }

func plan(t *testing.T, all []process) *Plan {
	t.Helper()
	engine := func(context.Context) ([]Mapped, error) {
		return []Mapped{
			{Protocol: "udp", Address: netip.IPv4Unspecified(), Port: 2456, Container: "vikings", Image: "lloesche/valheim-server", Inner: netip.MustParseAddrPort("172.17.0.2:2456")},
			{Protocol: "tcp", Address: netip.IPv6Unspecified(), Port: 7777, Container: "digger", Image: "ryshe/terraria", Inner: netip.MustParseAddrPort("172.17.0.9:7777")},
			{Protocol: "tcp", Address: netip.MustParseAddr("127.0.0.1"), Port: 9000, Container: "portainer", Image: "portainer", Inner: netip.MustParseAddrPort("172.17.0.8:9000")},
		}, nil
	}
	m, err := Read(t.Context(), Source{Root: machine(t, all), Ask: told, Engine: engine, Ephemeral: [2]uint16{32768, 60999}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Make(m, nics(), never)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The file for a box full of servers is pinned whole, and is one that parry takes.
func TestFileForABox(t *testing.T) {
	p := plan(t, box())
	got := p.YAML("box", "parry.yaml")
	c, err := config.Parse("parry.yaml", []byte(got))
	if err != nil {
		t.Errorf("parry refuses what it wrote: %v", err)
	} else if c.Enforce {
		t.Error("it enforces")
	}
	const file = "testdata/box.yaml"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("another file; -update accepts it (-want +got):\n%s", diff)
	}
	if t.Failed() {
		return
	}
	for _, s := range c.Services {
		for _, l := range s.Listen {
			if s.HasProtocol("tcp") && (l.First <= 2222 && 2222 <= l.Last || l.First <= 22 && 22 <= l.Last) {
				t.Errorf("service %s takes ssh", s.Name)
			}
		}
	}
}

// What is written in comments, uncommented, is good YAML as well.
func TestCommentedServicesAreGood(t *testing.T) {
	text := plan(t, box()).YAML("box", "parry.yaml")
	n := strings.Count(text, "\n#  - {name: ")
	head, tail, _ := strings.Cut(text, "\n# Nobody could tell")
	for line := range strings.Lines(tail) {
		if service, ok := strings.CutPrefix(line, "#  -"); ok {
			head += "\n  -" + service
		}
	}
	c, err := config.Parse("x.yaml", []byte(head))
	if err != nil || n == 0 {
		t.Errorf("%d services in comments: %v", n, err)
	} else if len(c.Services) < n {
		t.Errorf("%d services", len(c.Services))
	}
}

func TestNoAddressOutside(t *testing.T) {
	if _, err := Make(&Machine{}, nics()[1:], never); err == nil {
		t.Error("docker0 alone leads nowhere")
	}
}

func TestInterfaces(t *testing.T) {
	bridge := []nic.NIC{
		{Name: "enp1s0", Kind: "device", Driver: "ice", Up: true, Master: "vmbr0"}, {Name: "tap100", Kind: "tuntap", Master: "vmbr0"},
		{Name: "vmbr0", Kind: "bridge", Up: true, Default: true, Addresses: nics()[0].Addresses},
	}
	vlan := []nic.NIC{{Name: "eth0", Kind: "device", Driver: "r8169", Up: true}, {Name: "eth0.5", Kind: "vlan", Parent: "eth0", Up: true, Default: true, Addresses: nics()[0].Addresses}}
	for _, c := range []struct {
		name     string
		nics     []nic.NIC
		refusing func(*nic.NIC) bool
		want     string
	}{
		{"a NIC", nics(), never, "[{eth0 native }]"},
		{"below a bridge", bridge, never, "[{enp1s0 native the NIC of vmbr0}]"},
		{"below a VLAN, without native XDP", vlan, never, "[{eth0 generic slow: its driver (r8169) has no native XDP}]"},
		{"refused by a virtual machine's host", nics(), func(*nic.NIC) bool { return true },
			"[{eth0 generic slow: the host of this virtual machine lets it have no native XDP (parry doctor says more)}]"},
	} {
		p, err := Make(&Machine{}, c.nics, c.refusing)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Interfaces); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// More ports than a service may list are shared out over several.
func TestManyPortsApart(t *testing.T) {
	var all []process
	for i := range 100 {
		port := 27015 + 2*i
		all = append(all, process{pid: 100 + i, name: "srcds_linux", args: fmt.Sprintf("srcds_linux -game csgo -port %d", port), listens: []string{fmt.Sprint("udp6 ", port)}})
	}
	p := plan(t, all)
	text := p.YAML("box", "x.yaml")
	c, err := config.Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	ports := map[netip.AddrPort]bool{}
	for _, s := range c.Services {
		if !strings.HasPrefix(s.Name, "csgo-") {
			continue
		}
		for _, l := range s.Listen {
			for port := int(l.First); port <= int(l.Last); port++ {
				ports[netip.AddrPortFrom(l.Addr, uint16(port))] = true
			}
		}
	}
	if len(ports) != 300 {
		t.Errorf("%d addresses and ports of 300", len(ports))
	}
}

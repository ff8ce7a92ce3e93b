// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"parry/pkg/netns"
)

// TestPlayOnVirtioNICs has the edge between players and servers on a virtual machine's own NICs, in the driver (native
// XDP): the machine has two cables, each from one virtio NIC to another (scripts/vm/go-test with VM_CABLES=2). What the
// kernel lacks is said at start and by check, and nothing that it has.
func TestPlayOnVirtioNICs(t *testing.T) {
	needVM(t, "plays on a machine's own virtio NICs", "make kernels-load")
	w := newWorld(t, "virtio")
	s := &site{world: w, players: w.host("players"), gate: w.host("edge"), servers: w.host("servers")}
	nics := virtioNICs(t)
	if len(nics) < 4 {
		t.Fatalf("the machine has %d virtio NICs, not 4", len(nics))
	}
	s.atPlayers = w.plug(nics[0], ends(s.players, "up0", "192.0.2.2/24", "2001:db8:1::2/64"))
	s.up = w.plug(nics[1], ends(s.gate, "players", "192.0.2.1/24", "2001:db8:1::1/64"))
	s.down = w.plug(nics[2], ends(s.gate, "servers", "10.0.1.1/24", "fd00:1::1/64"))
	s.atServers = w.plug(nics[3], ends(s.servers, "up0", "10.0.1.11/24", "fd00:1::11/64"))
	for _, i := range []*netns.Interface{s.atPlayers, s.up, s.down, s.atServers} {
		w.settle(i)
	}
	s.defaults(s.players, "192.0.2.1", "2001:db8:1::1")
	s.defaults(s.servers, "10.0.1.1", "fd00:1::1")
	s.ownVIPs()
	s.meetServers()
	s.edge = newEdge(w, s.gate)
	s.edge.run(everyMode(unlimited))
	s.checkNative()
	s.checkLacks()
	for _, w := range s.ways() {
		s.udpServer(w.host, w.server, "")
		s.tcpServer(w.host, w.server, "")
		t.Run(w.name+"/udp", func(t *testing.T) { s.checkUDP(t, w) })
		t.Run(w.name+"/tcp", func(t *testing.T) { s.checkTCP(t, w, 1<<20) })
	}
	for name, n := range s.edge.status().Drops {
		t.Logf("dropped %d: %s", n, name)
	}
}

// virtioNICs are the machine's own, in the order of their MAC addresses: neighbours are at one cable.
func virtioNICs(t *testing.T) []net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	must(t, err)
	all = slices.DeleteFunc(all, func(i net.Interface) bool {
		driver, err := os.Readlink(filepath.Join("/sys/class/net", i.Name, "device/driver"))
		return err != nil || filepath.Base(driver) != "virtio_net"
	})
	slices.SortFunc(all, func(a, b net.Interface) int { return strings.Compare(a.HardwareAddr.String(), b.HardwareAddr.String()) })
	return all
}

// plug puts a NIC of the machine's into a host.
func (w *world) plug(nic net.Interface, e netns.End) *netns.Interface {
	w.t.Helper()
	l, err := netlink.LinkByIndex(nic.Index)
	must(w.t, err)
	f, err := os.Open(e.Host.Path())
	must(w.t, err)
	must(w.t, netlink.LinkSetNsFd(l, int(f.Fd())), f.Close())
	w.run(e.Host, "ip", "link", "set", nic.Name, "name", e.Name)
	i, err := e.Host.Interface(e.Name)
	must(w.t, err, i.SetUp(true))
	for _, p := range e.Addresses {
		must(w.t, i.AddAddress(p))
	}
	return i
}

// checkNative wants the driver to run the program, not the kernel's generic stand-in.
func (s *site) checkNative() {
	s.t.Helper()
	must(s.t, s.gate.Do(func() error {
		for _, name := range s.edge.interfaces {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if x := l.Attrs().Xdp; x == nil || x.AttachMode != attachedInDriver {
				s.t.Errorf("%s does not carry native XDP: %+v", name, x)
			}
		}
		return nil
	}))
}

const attachedInDriver = 1 // XDP_ATTACHED_DRV of linux/if_link.h

// checkLacks asks the kernel itself what it can't do, and wants the daemon and `parry check` to have said that.
func (s *site) checkLacks() {
	s.t.Helper()
	var u unix.Utsname
	must(s.t, unix.Uname(&u))
	check := s.edge.cli("", "check", "-c", s.edge.file, "--host")
	if check.code != 0 {
		s.t.Errorf("check: exit code %d, %s", check.code, check.err)
	}
	for _, v := range []struct {
		word string
		has  bool
	}{{"TCX", s.hasTCX()}, {"a prefix that bpftool lists", s.countsEntries()}} {
		for who, said := range map[string]string{"the daemon": s.edge.said(), "check": check.err} {
			if strings.Contains(said, v.word) == v.has {
				s.t.Errorf("Linux %s has what %q is about: %v. %s says\n%s", unix.ByteSliceToString(u.Release[:]), v.word, v.has, who, said)
			}
		}
	}
	s.t.Logf("Linux %s lacks, as check says it: %s", unix.ByteSliceToString(u.Release[:]), strings.TrimSpace(check.err))
}

func (s *site) hasTCX() bool {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	must(s.t, err)
	defer prog.Close()
	err = s.players.Do(func() error {
		l, err := link.AttachTCX(link.TCXOptions{Program: prog, Interface: s.atPlayers.Index, Attach: ebpf.AttachTCXEgress})
		if err != nil {
			return err
		}
		return l.Close()
	})
	if err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
		s.t.Fatal(err)
	}
	return err == nil
}

// countsEntries tells whether the kernel's books of a map's memory follow its entries.
func (s *site) countsEntries() bool {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: 1 << 16, Flags: unix.BPF_F_NO_PREALLOC})
	must(s.t, err)
	defer m.Close()
	memory := func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.FD()))
		must(s.t, err)
		_, after, _ := strings.Cut(string(text), "memlock:")
		line, _, _ := strings.Cut(after, "\n")
		return strings.TrimSpace(line)
	}
	before := memory()
	must(s.t, m.Put([8]byte{32, 0, 0, 0, 192, 0, 2, 1}, uint64(1)))
	return memory() != before
}

// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	headings = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	udp      = headings + "  71: 00000000:6987 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 101 2 0 0\n" +
		"  72: 0A7100CB:C000 010200C0:0035 01 00000000:00000000 00:00000000 00000000  1000        0 102 2 0 0\n"
	udp6 = headings + "  9: 00000000000000000000000000000000:4ABC 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 103 2 0 0\n"
	tcp  = headings + "   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   0        0 104 1 0\n" +
		"   1: 0A7100CB:0016 076433C6:C822 01 00000024:00000000 01:00000019 00000005   0        0 105 4 0\n" +
		"   2: 0A7100CB:0016 076433C6:C823 06 00000000:00000000 03:00000019 00000000   0        0 0 3 0\n"
	tcp6 = headings + "   0: 0000000000000000FFFF00000A7100CB:0016 0000000000000000FFFF0000076433C6:C824 01 00000000:00000000 02:00000019 00000000   0        0 106 4 0\n"
)

// host writes files of a process table.
func host(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, "proc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		to, isLink := strings.CutPrefix(text, "-> ")
		var err error
		if isLink {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSocketsOfANamespace(t *testing.T) {
	root := host(t, map[string]string{"self/net/udp": udp, "self/net/udp6": udp6, "self/net/tcp": tcp, "self/net/tcp6": tcp6})
	got, err := Of(root, "self")
	if err != nil {
		t.Fatal(err)
	}
	ap := netip.MustParseAddrPort
	want := []Socket{
		{Protocol: "udp", Local: ap("0.0.0.0:27015"), Remote: ap("0.0.0.0:0"), State: Listening, Inode: 101},
		{Protocol: "udp", Local: ap("203.0.113.10:49152"), Remote: ap("192.0.2.1:53"), State: Established, Inode: 102},
		{Protocol: "udp", Local: ap("[::]:19132"), Remote: ap("[::]:0"), State: Listening, Inode: 103},
		{Protocol: "tcp", Local: ap("127.0.0.1:3306"), Remote: ap("0.0.0.0:0"), State: Listening, Inode: 104},
		{Protocol: "tcp", Local: ap("203.0.113.10:22"), Remote: ap("198.51.100.7:51234"), State: Established, Unacked: 36, Retransmits: 5, Inode: 105},
		{Protocol: "tcp", Local: ap("203.0.113.10:22"), Remote: ap("198.51.100.7:51235"), State: Other},
		{Protocol: "tcp", Local: ap("203.0.113.10:22"), Remote: ap("198.51.100.7:51236"), State: Established, Inode: 106},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !got[0].Any() || got[1].Any() {
		t.Error("only 0.0.0.0 and :: are any")
	}
}

func TestNoIPv6IsNoFault(t *testing.T) {
	if _, err := Of(host(t, map[string]string{"self/net/udp": udp, "self/net/tcp": tcp}), "self"); err != nil {
		t.Error(err)
	}
	if _, err := Of(host(t, map[string]string{"self/net/udp": udp}), "self"); err == nil {
		t.Error("a table of TCP that is missing is one")
	}
	if _, err := Of(host(t, map[string]string{"self/net/udp": headings + "1: x\n", "self/net/tcp": tcp}), "self"); err == nil || !strings.Contains(err.Error(), "too few words") {
		t.Errorf("a short line: %v", err)
	}
}

func TestProcesses(t *testing.T) {
	root := host(t, map[string]string{
		"42/stat": "42 (a (odd) name) S 7 42 42 0 -1", "42/cmdline": "./srcds_linux\x00-game\x00csgo\x00", "42/exe": "-> /srv/srcds_linux (deleted)", "42/cwd": "-> /srv",
		"42/ns/net": "-> net:[4026531840]", "42/fd/0": "-> /dev/null", "42/fd/3": "-> socket:[101]", "42/fd/4": "-> socket:[7]", "42/fd/5": "-> socket:[101]",
		"42/environ": "A=1\x00SSH_CONNECTION=x y\x00", "7/stat": "7 (init) S 0", "8/stat": "no stat", "uptime": "1",
	})
	got, err := Processes(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []Process{
		{PID: 7, Name: "init"},
		{
			PID: 42, Parent: 7, Name: "a (odd) name", Exe: "/srv/srcds_linux", Args: []string{"./srcds_linux", "-game", "csgo"}, Folder: "/srv",
			Network: "net:[4026531840]", Sockets: []uint64{7, 101},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if v := Environ(root, 42, "SSH_CONNECTION"); v != "x y" {
		t.Errorf("SSH_CONNECTION is %q", v)
	}
	if v := Environ(root, 7, "SSH_CONNECTION"); v != "" {
		t.Errorf("SSH_CONNECTION of another is %q", v)
	}
}

// This very process is among them, with a socket that it opens.
func TestThisMachine(t *testing.T) {
	if _, err := Of("/", "self"); err != nil {
		t.Fatal(err)
	}
	p, ok := One("/", os.Getpid())
	if !ok || p.Parent != os.Getppid() || len(p.Args) == 0 {
		t.Errorf("%+v, %v", p, ok)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{udp, udp6, tcp, tcp6, "", "\n\n", headings + "0: 1:2 3:4 5 6:7 8 9 a b c\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parse(text, "tcp")
		for _, s := range all {
			if err == nil && (!s.Local.IsValid() || s.Retransmits < 0) {
				t.Errorf("%+v", s)
			}
		}
	})
}

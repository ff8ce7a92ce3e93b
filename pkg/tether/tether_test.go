// SPDX-License-Identifier: Apache-2.0

package tether

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parry/pkg/config"
)

// host writes a process table: a connection a line as "LOCAL PEER STATE RETRANSMITS INODE", in the kernel's hexadecimal words.
func host(t *testing.T, connections string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	table := "headings\n"
	for i, line := range strings.Split(strings.TrimSpace(connections), "\n") {
		w := strings.Fields(line)
		if len(w) == 5 {
			table += fmt.Sprintf("%d: %s %s %s 0000000E:00000000 01:00000019 %s 0 0 %s 1 0\n", i, w[0], w[1], w[2], w[3], w[4])
		}
	}
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
	write("self/net/tcp", table)
	write("self/net/udp", "headings\n")
	for name, text := range files {
		write(name, text)
	}
	return root
}

const (
	mine     = "0A7100CB:0016 076433C6:C822 01 00000000 105" // 198.51.100.7:51234 to 203.0.113.10:22
	others   = "0A7100CB:0016 086433C6:0400 01 00000000 106" // 198.51.100.8:1024
	web      = "0A7100CB:0050 096433C6:0400 01 00000000 107"
	told     = "SSH_CONNECTION=198.51.100.7 51234 203.0.113.10 22\x00"
	loopback = "0100007F:0016 0100007F:0400 01 00000000 108"
)

func TestFindsTheLineThatACommandHangsOn(t *testing.T) {
	daemons := map[string]string{
		"50/stat": "50 (sshd) S 1", "50/fd/3": "-> socket:[105]", "60/stat": "60 (sshd-session) S 1", "60/fd/3": "-> socket:[106]", "60/fd/4": "-> socket:[108]",
		"70/stat": "70 (nginx) S 1", "70/fd/3": "-> socket:[107]",
	}
	with := func(files map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range []map[string]string{daemons, files} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	const all = mine + "\n" + others + "\n" + web + "\n" + loopback
	for _, c := range []struct {
		name, connections string
		files             map[string]string
		want              string
	}{
		{"told by its own environment", all, with(map[string]string{"99/stat": "99 (parry) S 98", "99/environ": told, "98/stat": "98 (bash) S 1"}), "*7 8"},
		{"sudo forgets, its parent doesn't", all, with(map[string]string{"99/stat": "99 (parry) S 98", "99/environ": "X=1\x00", "98/stat": "98 (sudo) S 97", "97/stat": "97 (bash) S 1", "97/environ": told}), "*7 8"},
		{"a parent is sshd", all, with(map[string]string{"99/stat": "99 (parry) S 60"}), "*8 7"},
		{"what was told is stale, in a multiplexer", all, with(map[string]string{"99/stat": "99 (parry) S 1", "99/environ": strings.Replace(told, "51234", "4", 1)}), "7 8"},
		{"but one line is open", mine + "\n" + web, with(map[string]string{"99/stat": "99 (parry) S 1"}), "*7"},
		{"none", web, with(map[string]string{"99/stat": "99 (parry) S 1"}), ""},
		{"closed", strings.Replace(mine, " 01 ", " 06 ", 1), with(map[string]string{"99/stat": "99 (parry) S 50", "99/environ": told}), ""},
		{"its parents are a loop", mine, with(map[string]string{"99/stat": "99 (parry) S 98", "98/stat": "98 (x) S 99"}), "*7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, err := Find(host(t, c.connections, c.files), 99)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range lines {
				word := strings.TrimPrefix(l.Peer.Addr().String(), "198.51.100.")
				if l.Mine {
					word = "*" + word
				}
				got = append(got, word)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestCut(t *testing.T) {
	line := func(local string) Line {
		return Line{Local: netip.MustParseAddrPort(local), Peer: netip.MustParseAddrPort("198.51.100.7:51234")}
	}
	for _, c := range []struct{ config, local, want string }{
		{"", "203.0.113.10:22", ""},
		{"", "[::ffff:203.0.113.10]:22", ""},
		{"", "203.0.113.10:2222", "x.yaml:1:1: the ssh connection of 198.51.100.7 comes in at tcp/2222, which shares the budget of all that is no service: write host: {always: [tcp/22, tcp/2222]}"},
		{"host: {always: [tcp/2222]}\n", "203.0.113.10:2222", ""},
		{"host: {always: [udp/2222]}\n", "203.0.113.10:2222", "x.yaml:1:16: the ssh connection of 198.51.100.7 comes in at tcp/2222, which shares the budget of all that is no service: write host: {always: [udp/2222, tcp/2222]}"},
		{"", "203.0.113.10:1005", `x.yaml:2:52: service "wide" takes tcp 203.0.113.10:1000-1010, by which the ssh connection of 198.51.100.7 comes in: leave that port out`},
		{"", "203.0.113.11:1005", "tcp/1005"},   // another address
		{"", "203.0.113.10:27015", "tcp/27015"}, // UDP is not TCP
	} {
		text := c.config + "services:\n" +
			"  - {name: wide, game: generic_tcp, protocol: tcp, forward: local, listen: 203.0.113.10:1000-1010}\n" +
			"  - {name: game, game: cs2, forward: local, listen: 203.0.113.10:27015}\n"
		cfg, err := config.Parse("x.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if cut := Cut(cfg, line(c.local)); cut != nil {
			got = cut.Error()
		}
		if c.want == "" && got != "" || !strings.Contains(got, strings.TrimPrefix(c.want, "x.yaml:2:52: ")) {
			t.Errorf("%q %s:\n got %s\nwant %s", c.config, c.local, got, c.want)
		}
	}
}

func TestBroken(t *testing.T) {
	l := Line{Local: netip.MustParseAddrPort("203.0.113.10:22"), Peer: netip.MustParseAddrPort("198.51.100.7:51234")}
	for _, c := range []struct{ connections, want string }{
		{mine, ""},
		{strings.Replace(mine, "00000000 105", "00000004 105", 1), ""},
		{strings.Replace(mine, "00000000 105", "00000005 105", 1), "the ssh connection of 198.51.100.7:51234 is cut: 14 bytes sent 6 times and never acknowledged"},
		{strings.Replace(mine, " 01 ", " 08 ", 1), "the ssh connection of 198.51.100.7:51234 is closing"},
		{others, "the ssh connection of 198.51.100.7:51234 is gone"},
	} {
		got := ""
		if err := Broken(host(t, c.connections, nil), l); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.connections, got, c.want)
		}
	}
}

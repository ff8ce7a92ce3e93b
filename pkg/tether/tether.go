// SPDX-License-Identifier: Apache-2.0

// Package tether knows by which ssh connection a person is on this machine, whether a configuration would cut it, and
// whether it still works. Who types a command that changes the network hangs on it.
package tether

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"parry/pkg/config"
	"parry/pkg/sockets"
)

// Line is one ssh connection to this machine.
type Line struct {
	Local, Peer netip.AddrPort
	Mine        bool // the one that the command is typed in
}

// String is `198.51.100.7:51234 to 203.0.113.10:22`.
func (l Line) String() string { return l.Peer.String() + " to " + l.Local.String() }

// deepest is how many parents are looked at: a chain that is longer has a loop in it.
const deepest = 64

// Find lists the ssh connections that are open, the one that process pid is typed in first: by what sshd told it or a
// parent of it (sudo forgets that, its parent doesn't), else by a parent that is sshd itself. In a terminal
// multiplexer neither need be true any more: where just one connection is open it is that, else none is Mine.
func Find(root string, pid int) ([]Line, error) {
	all, err := sockets.Of(root, "self")
	if err != nil {
		return nil, err
	}
	parents := parentsOf(root, pid)
	owners, err := sockets.Processes(root)
	if err != nil {
		return nil, err
	}
	var lines []Line
	for _, s := range all {
		if s.Protocol != "tcp" || s.State != sockets.Established || s.Remote.Addr().IsLoopback() {
			continue
		}
		owner := -1
		for i := range owners {
			if isSSH(owners[i].Name) && slices.Contains(owners[i].Sockets, s.Inode) {
				owner = i
			}
		}
		told := slices.ContainsFunc(parents, func(p sockets.Process) bool { return toldOf(root, p.PID, s) })
		if owner < 0 && !told {
			continue
		}
		mine := told || slices.ContainsFunc(parents, func(p sockets.Process) bool {
			return isSSH(p.Name) && slices.Contains(p.Sockets, s.Inode)
		})
		lines = append(lines, Line{Local: s.Local, Peer: s.Remote, Mine: mine})
	}
	slices.SortFunc(lines, func(a, b Line) int {
		if a.Mine != b.Mine {
			if a.Mine {
				return -1
			}
			return 1
		}
		return a.Peer.Compare(b.Peer)
	})
	if len(lines) == 1 {
		lines[0].Mine = true
	}
	return lines, nil
}

func parentsOf(root string, pid int) []sockets.Process {
	var all []sockets.Process
	for range deepest {
		p, ok := sockets.One(root, pid)
		if !ok {
			break
		}
		if all = append(all, p); p.Parent <= 1 {
			break
		}
		pid = p.Parent
	}
	return all
}

// isSSH knows servers of ssh by the kernel's name of their processes.
func isSSH(name string) bool {
	return name == "sshd" || strings.HasPrefix(name, "sshd-") || name == "dropbear"
}

// toldOf says if sshd told the process of this very connection: client's address and port, own address and port.
func toldOf(root string, pid int, s sockets.Socket) bool {
	words := strings.Fields(sockets.Environ(root, pid, "SSH_CONNECTION"))
	if len(words) != 4 {
		return false
	}
	peer, err := netip.ParseAddrPort(joined(words[0], words[1]))
	local, lerr := netip.ParseAddrPort(joined(words[2], words[3]))
	return err == nil && lerr == nil && plain(peer) == plain(s.Remote) && plain(local) == plain(s.Local)
}

func joined(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// plain leaves out what differs between two ways to write an address.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// Cut says why the configuration would get in the line's way, with the place in the file and what to write; nil if it
// would not. Blocked sources can't: those lists don't hold for the ports of host.always.
func Cut(c *config.Config, l Line) *config.Error {
	for i := range c.Services {
		s := &c.Services[i]
		for j, listen := range s.Listen {
			if s.HasProtocol("tcp") && listen.Contains(plain(l.Local)) {
				cut := c.At(fmt.Sprintf("services[%d].listen[%d]", i, j), "",
					"service %q takes tcp %s, by which the ssh connection of %s comes in: leave that port out", s.Name, listen, l.Peer.Addr())
				return &cut
			}
		}
	}
	always := config.ProtoPort{Proto: "tcp", Port: l.Local.Port()}
	if slices.Contains(c.Host.Always, always) {
		return nil
	}
	words := make([]string, 0, len(c.Host.Always)+1)
	for _, p := range append(slices.Clone(c.Host.Always), always) {
		words = append(words, p.String())
	}
	cut := c.At("host.always", "", "the ssh connection of %s comes in at %s, which shares the budget of all that is no service: write host: {always: [%s]}",
		l.Peer.Addr(), always, strings.Join(words, ", "))
	return &cut
}

// mostRetransmits is when a line is given up: the fifth repetition without an answer is 6 s after the first sending or later.
const mostRetransmits = 5

// Broken says why the line doesn't work any more, nil if it does.
func Broken(root string, l Line) error {
	all, err := sockets.Of(root, "self")
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Protocol != "tcp" || plain(s.Local) != plain(l.Local) || plain(s.Remote) != plain(l.Peer) {
			continue
		}
		switch {
		case s.State != sockets.Established:
			return fmt.Errorf("the ssh connection of %s is closing", l.Peer)
		case s.Retransmits >= mostRetransmits:
			return fmt.Errorf("the ssh connection of %s is cut: %d bytes sent %d times and never acknowledged", l.Peer, s.Unacked, s.Retransmits+1)
		}
		return nil
	}
	return fmt.Errorf("the ssh connection of %s is gone", l.Peer)
}

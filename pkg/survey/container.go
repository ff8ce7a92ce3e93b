// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"parry/pkg/sockets"
)

// container looks behind a port mapping: docker-proxy and podman's conmon hold the port for a server in a container.
func (r *reader) container(l *Listener, p *sockets.Process) {
	switch p.Name {
	case "docker-proxy":
		port, err := strconv.ParseUint(behind(p.Args, "-container-port"), 10, 16)
		addr, aerr := netip.ParseAddr(behind(p.Args, "-container-ip"))
		if err != nil || aerr != nil {
			return
		}
		l.Container, l.ask = addr.String(), netip.AddrPortFrom(addr, uint16(port))
		r.within(l, func(n string) bool { return r.has(n, addr) })
	case "conmon":
		l.Container = behind(p.Args, "-n")
		inside := map[string]bool{}
		for _, child := range r.processes {
			if child.Parent == p.PID {
				inside[child.Network] = true
			}
		}
		r.within(l, func(n string) bool { return inside[n] })
	}
}

// behind is the word behind a flag of a command line; -flag=word is the same.
func behind(args []string, name string) string {
	for i, a := range args {
		if a == name && i+1 < len(args) {
			return args[i+1]
		}
		if value, ok := strings.CutPrefix(a, name+"="); ok {
			return value
		}
	}
	return ""
}

// within finds the process that listens behind a mapping, in one of the namespaces that fit: on the port of that number, or the
// only one there is.
func (r *reader) within(l *Listener, fits func(network string) bool) {
	var same, other []*sockets.Process
	for network, socks := range r.namespaces() {
		if !fits(network) {
			continue
		}
		for _, s := range socks {
			p := r.owners[s.Inode]
			if s.Protocol != l.Protocol || s.State != sockets.Listening || p == nil {
				continue
			}
			if s.Local.Port() == l.ask.Port() {
				same = append(same, p)
			} else {
				other = append(other, p)
			}
		}
	}
	if len(same) == 0 {
		same = other
	}
	slices.SortFunc(same, func(a, b *sockets.Process) int { return a.PID - b.PID })
	same = slices.CompactFunc(same, func(a, b *sockets.Process) bool { return a.PID == b.PID })
	if len(same) == 1 || len(same) > 1 && same[0].Name == same[len(same)-1].Name {
		l.of(same[0])
	}
}

// namespaces lists the sockets of network namespaces other than this one.
func (r *reader) namespaces() map[string][]sockets.Socket {
	if r.inner != nil {
		return r.inner
	}
	r.inner = map[string][]sockets.Socket{}
	self, _ := os.Readlink(filepath.Join(r.Root, "proc/self/ns/net"))
	for _, p := range r.processes {
		if p.Network == "" || p.Network == self || r.inner[p.Network] != nil {
			continue
		}
		if socks, err := sockets.Of(r.Root, strconv.Itoa(p.PID)); err == nil { // else it has just ended
			r.inner[p.Network] = socks
		}
	}
	return r.inner
}

// has says if an address is one of a namespace's own.
func (r *reader) has(network string, addr netip.Addr) bool {
	for _, p := range r.processes {
		if p.Network != network {
			continue
		}
		dir := filepath.Join(r.Root, "proc", strconv.Itoa(p.PID), "net")
		if addr.Is4() {
			text, err := os.ReadFile(filepath.Join(dir, "fib_trie"))
			return err == nil && strings.Contains(string(text), "|-- "+addr.String()+"\n           /32 host LOCAL")
		}
		text, err := os.ReadFile(filepath.Join(dir, "if_inet6"))
		return err == nil && strings.Contains(string(text), strings.ReplaceAll(addr.StringExpanded(), ":", ""))
	}
	return false
}

// mapping adds what a container engine says of a mapping: names for one whose proxy was found, else a listener of its own.
func (r *reader) mapping(all []Listener, m Mapped) []Listener {
	found := false
	for i := range all {
		l := &all[i]
		if l.Protocol != m.Protocol || l.Port != m.Port || !slices.Contains(l.Addresses, m.Address) {
			continue
		}
		if found = true; strings.Contains(l.Container, m.Image) {
			continue // its other family
		}
		l.Container, l.subject = m.Container+" ("+m.Image+")", l.subject+" "+strings.ToLower(m.Image+" "+m.Container)
	}
	if found || m.Address.IsLoopback() {
		return all
	}
	l := Listener{
		Protocol: m.Protocol, Port: m.Port, Container: m.Container + " (" + m.Image + ")", subject: strings.ToLower(m.Image + " " + m.Container), ask: m.Inner,
		Addresses: []netip.Addr{m.Address},
	}
	if m.Inner.Addr().IsValid() {
		r.within(&l, func(n string) bool { return r.has(n, m.Inner.Addr()) })
		l.subject += " " + strings.ToLower(m.Image+" "+m.Container)
	}
	return append(all, l)
}

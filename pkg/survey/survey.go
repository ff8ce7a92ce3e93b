// SPDX-License-Identifier: Apache-2.0

// Package survey looks for the game servers of this machine, and writes a configuration that protects them: who listens,
// in containers too, which game that is, and what is none of parry's business. It changes nothing. Servers are asked what
// they tell anybody.
package survey

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"parry/pkg/game"
	"parry/pkg/sockets"
)

// Listener is a port that takes packets from outside.
type Listener struct {
	Protocol  string       // udp or tcp
	Addresses []netip.Addr // that it is bound to; 0.0.0.0 = all of IPv4, :: = all there are
	Port      uint16
	Process   string // its name; "" = not known
	PID       int    // 0 = not known
	Container string // its name, and image where that is known; "" = none
	Kind      Kind
	Game      string // of Play and Query: a game that the configuration knows
	Title     string // the same for people
	Says      string // what the server calls itself; "" = it was not asked or did not answer
	Why       string // of what is none: what it is

	subject string         // what names its game: program, arguments, image
	ask     netip.AddrPort // where it is asked
	queries string         // the game whose queries come here, where that is no game's own port
	own     []uint16       // numbers on its command line, which may be ports
}

// Kind says what to do with a listener.
type Kind uint8

// The kinds.
const (
	Unknown   Kind = iota
	Play           // players connect there
	Query          // server lists ask there
	Admin          // remote control: for nobody but its owner
	System         // no game
	Beside         // a port of a game's server that players don't connect to
	Ephemeral      // a port that the kernel gave to a program that asks others
)

// Machine is what was found.
type Machine struct {
	Listeners []Listener
	SSH       []uint16 // ports of sshd
}

// Source is where a survey reads; tests put their own in its place.
type Source struct {
	Root      string                                      // "/"
	Engine    func(ctx context.Context) ([]Mapped, error) // port mappings that a container engine knows of; an error says why it was not to be asked
	Ask       func(ctx context.Context, l *Listener) (Answer, bool)
	Ephemeral [2]uint16 // first and last port that the kernel gives away by itself
}

// Mapped is a port of this machine that leads into a container.
type Mapped struct {
	Protocol  string
	Address   netip.Addr // of this machine; unspecified = all
	Port      uint16
	Container string // its name
	Image     string
	Inner     netip.AddrPort // within; its address is not valid where it is not known
}

// Read looks at this machine.
func Read(ctx context.Context, s Source) (*Machine, error) {
	found, err := sockets.Of(s.Root, "self")
	if err != nil {
		return nil, err
	}
	processes, err := sockets.Processes(s.Root)
	if err != nil {
		return nil, err
	}
	r := reader{Source: s, processes: processes, owners: map[uint64]*sockets.Process{}}
	for i := range processes {
		for _, inode := range processes[i].Sockets {
			if r.owners[inode] == nil { // the first is the parent of those who inherited it
				r.owners[inode] = &processes[i]
			}
		}
	}
	m := &Machine{}
	for _, sock := range found {
		if l, ok := r.listener(sock); ok {
			m.Listeners = append(m.Listeners, l)
		}
	}
	if s.Engine != nil {
		if mapped, err := s.Engine(ctx); err == nil { // else docker-proxy and conmon tell
			for _, p := range mapped {
				m.Listeners = r.mapping(m.Listeners, p)
			}
		}
	}
	m.Listeners = join(m.Listeners)
	name(m.Listeners)
	askAll(ctx, s.Ask, m.Listeners)
	judge(m.Listeners, s.Ephemeral)
	for _, l := range m.Listeners {
		if l.Protocol == "tcp" && isSSH(l) && !slices.Contains(m.SSH, l.Port) {
			m.SSH = append(m.SSH, l.Port)
		}
	}
	slices.Sort(m.SSH)
	return m, nil
}

// reader puts sockets and processes together.
type reader struct {
	Source
	processes []sockets.Process
	owners    map[uint64]*sockets.Process
	inner     map[string][]sockets.Socket // by network namespace; made at first need
}

// listener makes one of a socket, false where nobody from outside gets to it.
func (r *reader) listener(s sockets.Socket) (Listener, bool) {
	a := s.Local.Addr()
	if s.State != sockets.Listening || s.Local.Port() == 0 || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return Listener{}, false
	}
	l := Listener{Protocol: s.Protocol, Port: s.Local.Port(), Addresses: []netip.Addr{a}}
	l.ask = netip.AddrPortFrom(a, l.Port)
	if s.Any() { // one of IPv6 mostly takes IPv4, too
		l.ask = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.Port)
	}
	p := r.owners[s.Inode]
	if p == nil {
		return l, true
	}
	l.of(p)
	r.container(&l, p)
	return l, true
}

// of describes a listener by the process that has it.
func (l *Listener) of(p *sockets.Process) {
	l.Process, l.PID, l.subject, l.own = p.Name, p.PID, subject(p), numbers(p.Args)
}

// join makes one listener of the same program's sockets on a port: one of each family or address.
func join(all []Listener) []Listener {
	order := func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Container, b.Container))
	}
	slices.SortStableFunc(all, order)
	var out []Listener
	for _, l := range all {
		n := len(out) - 1
		if n < 0 || out[n].Protocol != l.Protocol || out[n].Port != l.Port || out[n].PID != l.PID || out[n].Container != l.Container {
			out = append(out, l)
			continue
		}
		for _, a := range l.Addresses {
			if !slices.Contains(out[n].Addresses, a) {
				out[n].Addresses = append(out[n].Addresses, a)
			}
		}
	}
	return out
}

// name names games by programs, arguments and images.
func name(all []Listener) {
	for i := range all {
		l := &all[i]
		if title, ok := gameOf(l.subject); ok {
			l.named(title)
		}
	}
}

// named gives a listener a game that the configuration knows.
func (l *Listener) named(t named) {
	l.Game, l.Title = t.game, t.title
	if l.Title == "" {
		p, _ := game.Lookup(t.game)
		l.Title = p.Title
	}
}

// String is `udp 27015 of srcds_linux (1234)`.
func (l *Listener) String() string {
	return fmt.Sprintf("%s %d of %s", l.Protocol, l.Port, l.Who())
}

// Who is the program for people.
func (l *Listener) Who() string {
	switch {
	case l.Container != "" && l.Process != "":
		return fmt.Sprintf("%s in container %s", l.Process, l.Container)
	case l.Container != "":
		return "container " + l.Container
	case l.Process != "":
		return fmt.Sprintf("%s (process %d)", l.Process, l.PID)
	}
	return "the kernel, or a program that can't be seen"
}

// AddSSH adds a port that ssh comes in by.
func (m *Machine) AddSSH(port uint16) {
	if !slices.Contains(m.SSH, port) {
		m.SSH = append(m.SSH, port)
		slices.Sort(m.SSH)
	}
}

// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"parry/pkg/config"
	"parry/pkg/nic"
)

// Plan is the configuration that fits a machine.
type Plan struct {
	Interfaces []Interface
	Services   []Service
	Always     []uint16 // ports of ssh
	Unknown    []Listener
	Left       []Listener // Admin, System and Beside
	Addresses  []netip.Addr
}

// Interface is one that the edge is to be attached to.
type Interface struct {
	Name, Mode string
	Why        string // it is that one, or that mode; "" = there is nothing to say
}

// Service is one entry of the configuration.
type Service struct {
	Name, Game, Title string
	Protocols         []string
	Listen            []config.Listen
	Servers           []Listener
}

// mostListen is how many entries a service may have (config.Service.Listen).
const mostListen = 64

// Make plans for what was found on the machine with these interfaces. refusing says of an interface that its host lets it run no
// native XDP.
func Make(m *Machine, nics []nic.NIC, refusing func(*nic.NIC) bool) (*Plan, error) {
	p := &Plan{Always: m.SSH}
	where := nic.Outside(nics)
	if len(where) == 0 {
		return nil, fmt.Errorf("no interface of this machine has an address that players could reach")
	}
	for _, n := range where {
		p.Addresses = append(p.Addresses, n.Globals()...)
	}
	p.Addresses = append(p.Addresses, alone(nics)...)
	slices.SortFunc(p.Addresses, netip.Addr.Compare)
	p.Addresses = slices.Compact(p.Addresses)
	var play []Listener
	for _, l := range m.Listeners {
		if len(p.at(l)) == 0 {
			continue // nobody outside gets to its address
		}
		switch l.Kind {
		case Play:
			play = append(play, l)
		case Query:
			l.queries, l.Game, l.Title = l.Game, "source", "queries of server lists to "+l.Title
			play = append(play, l)
		case Unknown:
			p.Unknown = append(p.Unknown, l)
		case Admin, System, Beside:
			p.Left = append(p.Left, l)
		}
	}
	p.services(play)
	for _, n := range where {
		p.Interfaces = append(p.Interfaces, under(n, nics, refusing)...)
	}
	slices.SortFunc(p.Interfaces, func(a, b Interface) int { return strings.Compare(a.Name, b.Name) })
	p.Interfaces = slices.CompactFunc(p.Interfaces, func(a, b Interface) bool { return a.Name == b.Name })
	return p, nil
}

// alone are addresses that stand by themselves on an interface without a wire: those that a provider routes here.
func alone(nics []nic.NIC) []netip.Addr {
	var all []netip.Addr
	for _, n := range nics {
		if n.Kind != "dummy" && n.Kind != "loopback" {
			continue
		}
		for _, a := range n.Addresses {
			if a.Addr().IsGlobalUnicast() && a.Bits() == a.Addr().BitLen() {
				all = append(all, a.Addr())
			}
		}
	}
	return all
}

// under finds where packets come in: below a bridge or a VLAN is the NIC.
func under(n nic.NIC, nics []nic.NIC, refusing func(*nic.NIC) bool) []Interface {
	var below []Interface
	for _, m := range nics {
		switch {
		case n.Kind == "vlan" && m.Name == n.Parent:
			return under(m, nics, refusing)
		case n.Kind == "bridge" && m.Master == n.Name && (m.Kind == "device" || m.Kind == "bond" || m.Kind == "vlan"):
			for _, i := range under(m, nics, refusing) {
				i.Why = strings.TrimPrefix(i.Why+"; the NIC of "+n.Name, "; ")
				below = append(below, i)
			}
		}
	}
	if len(below) > 0 {
		return below
	}
	i := Interface{Name: n.Name, Mode: "native"}
	_, known := nic.DriverOf(n.Driver)
	switch {
	case refusing(&n):
		i.Mode, i.Why = "generic", "slow: the host of this virtual machine lets it have no native XDP (parry doctor says more)"
	case n.XDP.Known && !n.XDP.Basic, !n.XDP.Known && !known:
		i.Mode, i.Why = "generic", fmt.Sprintf("slow: its driver (%s) has no native XDP", cmp.Or(n.Driver, n.Kind))
	}
	return []Interface{i}
}

// services groups listeners by game, and by the addresses and protocols that they share.
func (p *Plan) services(play []Listener) {
	type group struct{ game, title, protocols, addresses string }
	members, order := map[group][]Listener{}, []group{}
	for _, l := range play {
		both := func(o Listener) bool {
			return o.Game == l.Game && o.Port == l.Port && o.PID == l.PID && o.Protocol != l.Protocol
		}
		g := group{l.Game, l.Title, l.Protocol, fmt.Sprint(p.at(l))}
		if slices.ContainsFunc(play, both) {
			if l.Protocol == "tcp" { // its entry is udp's
				continue
			}
			g.protocols = "udp tcp"
		}
		if members[g] == nil {
			order = append(order, g)
		}
		members[g] = append(members[g], l)
	}
	slices.SortStableFunc(order, func(a, b group) int {
		return cmp.Or(strings.Compare(a.game, b.game), strings.Compare(a.protocols, b.protocols))
	})
	for _, g := range order {
		s := Service{Name: members[g][0].base(), Game: g.game, Title: g.title, Protocols: strings.Fields(g.protocols)}
		ports := portsOf(members[g])
		perAddress := max(mostListen/len(p.at(members[g][0])), 1)
		for part := range slices.Chunk(ports, perAddress) {
			one := s
			one.Listen, one.Servers = p.listen(members[g][0], part), inside(members[g], part)
			p.Services = append(p.Services, one)
		}
	}
	p.number()
}

// at are the addresses that a listener takes packets to.
func (p *Plan) at(l Listener) []netip.Addr {
	var all []netip.Addr
	for _, a := range p.Addresses {
		if slices.Contains(l.Addresses, a) || slices.Contains(l.Addresses, netip.IPv6Unspecified()) ||
			a.Is4() && slices.Contains(l.Addresses, netip.IPv4Unspecified()) {
			all = append(all, a)
		}
	}
	return all
}

// portsOf joins neighbours to ranges.
func portsOf(all []Listener) []config.PortRange {
	ports := make([]uint16, len(all))
	for i, l := range all {
		ports[i] = l.Port
	}
	slices.Sort(ports)
	var out []config.PortRange
	for _, port := range slices.Compact(ports) {
		if n := len(out); n > 0 && out[n-1].Last+1 == port {
			out[n-1].Last = port
			continue
		}
		out = append(out, config.PortRange{First: port, Last: port})
	}
	return out
}

func (p *Plan) listen(l Listener, ports []config.PortRange) []config.Listen {
	var all []config.Listen
	for _, a := range p.at(l) {
		for _, r := range ports {
			all = append(all, config.Listen{Addr: a, First: r.First, Last: r.Last})
		}
	}
	return all
}

func inside(all []Listener, ports []config.PortRange) []Listener {
	var some []Listener
	for _, l := range all {
		if slices.ContainsFunc(ports, func(r config.PortRange) bool { return r.First <= l.Port && l.Port <= r.Last }) {
			some = append(some, l)
		}
	}
	return some
}

// base is what the service of a listener is called: by its game, or where that is any game, by its title.
func (l *Listener) base() string {
	switch {
	case l.queries != "":
		return l.queries + "-queries"
	case l.Game == "generic_udp" || l.Game == "generic_tcp":
		return slug(l.Title)
	}
	return l.Game
}

// number makes the names of services differ.
func (p *Plan) number() {
	count, seen := map[string]int{}, map[string]int{}
	for _, s := range p.Services {
		count[s.Name]++
	}
	for i := range p.Services {
		if s := &p.Services[i]; count[s.Name] > 1 {
			seen[s.Name]++
			s.Name = fmt.Sprintf("%s-%d", s.Name, seen[s.Name])
		}
	}
}

// slug makes a name of a title: Don't Starve Together is dont-starve-together.
func slug(title string) string {
	const longest = 28 // and a number behind it
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == ' ' && b.Len() > 0:
			b.WriteByte('-')
		}
	}
	name := b.String()
	return strings.Trim(name[:min(len(name), longest)], "-")
}

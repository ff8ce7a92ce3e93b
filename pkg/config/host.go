// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"parry/pkg/spell"
)

// HostFacts is what CheckHost needs to know about the machine, as plain values.
type HostFacts struct {
	// LocalPortRange is net.ipv4.ip_local_port_range, which also holds for IPv6: the ports that the
	// kernel gives to the host's own connections. The zero value skips the check.
	LocalPortRange PortRange
	// ReservedPorts is net.ipv4.ip_local_reserved_ports: ports left out of that range.
	ReservedPorts []PortRange
	// Interfaces are the host's network interfaces.
	Interfaces []HostInterface
}

// HostInterface is one of the host's network interfaces.
type HostInterface struct {
	Name      string
	Addresses []netip.Prefix // with the prefix length they are configured with
	Default   bool           // a default route leaves by it
}

// CheckHost holds a parsed configuration against the machine that is to run it, and returns what can't
// work there, each with its place in the file. An empty result is a good one.
func CheckHost(c *Config, host HostFacts) []Error {
	var errs Errors
	errs = append(errs, hostInterfaces(c, host)...)
	errs = append(errs, localServices(c, host)...)
	if e, bad := natOverlap(c, host); bad {
		errs = append(errs, e)
	}
	return errs.sorted(0)
}

func hostInterfaces(c *Config, host HostFacts) Errors {
	names := make([]string, 0, len(host.Interfaces))
	for _, i := range host.Interfaces {
		names = append(names, i.Name)
	}
	var errs Errors
	for i, want := range c.Interfaces {
		if slices.Contains(names, want.Name) {
			continue
		}
		hint, ok := spell.Nearest(want.Name, names)
		message := fmt.Sprintf("no interface %q on this host", want.Name)
		if !ok && len(names) > 0 {
			message += ", there are: " + strings.Join(names, ", ")
		}
		errs = append(errs, c.At(fmt.Sprintf("interfaces[%d].name", i), hint, "%s", message))
	}
	if len(c.Interfaces) == 0 && len(ChooseInterfaces(c, host)) == 0 {
		errs = append(errs, c.At("interfaces", "", "no interfaces given, and none on this host carries the services' addresses: name them as interfaces: [{name: eth0}]"))
	}
	return errs
}

// ChooseInterfaces returns the interfaces of c, or where c names none those that carry the services'
// addresses: each address's own interface, else one whose network holds it, else those of the default route.
func ChooseInterfaces(c *Config, host HostFacts) []Interface {
	if len(c.Interfaces) > 0 {
		return c.Interfaces
	}
	var chosen []Interface
	add := func(match func(HostInterface) bool) bool {
		found := false
		for _, i := range host.Interfaces {
			if i.Name == "lo" || !match(i) {
				continue
			}
			found = true
			if want := (Interface{Name: i.Name, Mode: "native"}); !slices.Contains(chosen, want) {
				chosen = append(chosen, want)
			}
		}
		return found
	}
	for _, s := range c.Services {
		for _, l := range s.Listen {
			own := func(p netip.Prefix) bool { return p.Addr() == l.Addr }
			network := func(p netip.Prefix) bool { return p.Contains(l.Addr) }
			_ = add(func(i HostInterface) bool { return slices.ContainsFunc(i.Addresses, own) }) ||
				add(func(i HostInterface) bool { return slices.ContainsFunc(i.Addresses, network) }) ||
				add(func(i HostInterface) bool { return i.Default })
		}
	}
	return chosen
}

// localServices: with forward: local this host's own stack answers, so it must own the address.
func localServices(c *Config, host HostFacts) Errors {
	var errs Errors
	for i, s := range c.Services {
		for j, l := range s.Listen {
			if s.Forward == ForwardLocal && !owns(host, l.Addr) {
				errs = append(errs, c.At(fmt.Sprintf("services[%d].listen[%d]", i, j), "",
					"service %q is local, and %s is no address of this host: nothing here would answer", s.Name, l.Addr))
			}
		}
	}
	return errs
}

func owns(host HostFacts, a netip.Addr) bool {
	return slices.ContainsFunc(host.Interfaces, func(i HostInterface) bool {
		return slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
	})
}

// natOverlap: a port that both the host and a session use would give one's packets to the other.
// A NAT address that the host doesn't own has all its ports to itself.
func natOverlap(c *Config, host HostFacts) (Error, bool) {
	isNAT := func(s Service) bool { return s.Forward == ForwardNAT }
	if host.LocalPortRange == (PortRange{}) || !slices.ContainsFunc(c.Services, isNAT) {
		return Error{}, false
	}
	if n := c.NAT.Addresses; len(n) > 0 && !slices.ContainsFunc(n, func(a netip.Addr) bool { return owns(host, a) }) {
		return Error{}, false
	}
	clash := free(overlapOf(c.NAT.Ports, host.LocalPortRange), host.ReservedPorts)
	if len(clash) == 0 {
		return Error{}, false
	}
	return c.At("nat.ports", otherRange(host.LocalPortRange, c.NAT.Ports),
		"NAT ports %s overlap %s, which the host uses for its own connections: reserve them with sysctl -w net.ipv4.ip_local_reserved_ports=%s, or choose another range",
		c.NAT.Ports, joinRanges(clash), joinRanges(merge(append(clash, host.ReservedPorts...)))), true
}

func overlapOf(a, b PortRange) []PortRange {
	r := PortRange{First: max(a.First, b.First), Last: min(a.Last, b.Last)}
	if r.First > r.Last {
		return nil
	}
	return []PortRange{r}
}

// free takes the reserved ports out of ranges.
func free(ranges, reserved []PortRange) []PortRange {
	for _, r := range reserved {
		var rest []PortRange
		for _, p := range ranges {
			if r.Last < p.First || r.First > p.Last {
				rest = append(rest, p)
				continue
			}
			if r.First > p.First {
				rest = append(rest, PortRange{p.First, r.First - 1})
			}
			if r.Last < p.Last {
				rest = append(rest, PortRange{r.Last + 1, p.Last})
			}
		}
		ranges = rest
	}
	return ranges
}

// merge joins ranges that touch, in order.
func merge(ranges []PortRange) []PortRange {
	slices.SortFunc(ranges, func(a, b PortRange) int { return int(a.First) - int(b.First) })
	var out []PortRange
	for _, r := range ranges {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

func joinRanges(ranges []PortRange) string {
	words := make([]string, len(ranges))
	for i, r := range ranges {
		words[i] = r.String()
	}
	return strings.Join(words, ",")
}

// otherRange suggests the larger of the ranges below and above the host's.
func otherRange(host, nat PortRange) string {
	below := PortRange{First: 1024, Last: max(host.First, 1) - 1}
	above := PortRange{First: min(host.Last, 65534) + 1, Last: 65535}
	if host.First > 1024 && below.Len() >= above.Len() && below.Len() >= minNATPorts {
		return below.String()
	}
	if host.Last < 65535 && above.Len() >= minNATPorts && above != nat {
		return above.String()
	}
	return ""
}

// ParsePortRanges reads the kernel's list of port ranges, as in ip_local_reserved_ports: "8080,9000-9010".
func ParsePortRanges(s string) ([]PortRange, error) {
	var ranges []PortRange
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == ' ' }) {
		r, err := parsePorts(word)
		if err != nil {
			return nil, fmt.Errorf("port ranges %q: %w", s, err)
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// ParsePortPair reads the kernel's ip_local_port_range: two numbers with white space between.
func ParsePortPair(s string) (PortRange, error) {
	words := strings.Fields(s)
	if len(words) != 2 {
		return PortRange{}, fmt.Errorf("port range %q: want two numbers", s)
	}
	first, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		return PortRange{}, fmt.Errorf("port range %q: %w", s, err)
	}
	last, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil {
		return PortRange{}, fmt.Errorf("port range %q: %w", s, err)
	}
	return PortRange{First: uint16(first), Last: uint16(last)}, nil
}

// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"parry/pkg/config"
)

// Table is the name of the nftables table that holds the rules: by the first server's name, so that several on one host may
// have one each.
func (g *Guard) Table() string { return "parry_guard_" + g.Servers[0].Pool + "_" + g.Servers[0].Name }

// Nft is what `nft -f` loads. Loading it again replaces what was loaded before; nothing else is touched.
//
// The hook comes after connection tracking, for the server's own talk (lists of servers, Steam) is answered to its game port; and
// before destination NAT, so that a port mapping to a container is seen as players see it. No accept here overrides another
// table's drop.
func (g *Guard) Nft() string {
	var b strings.Builder
	fmt.Fprintf(&b, `#!/usr/sbin/nft -f
# Server %s takes play from the edge only. Written by: parry server guard
# Load it on the server: nft -f FILE        take it away: nft delete table inet %s
# Packets of any other kind, ssh too, pass as before.

table inet %s
delete table inet %s

table inet %s {
`, g.names(true), g.Table(), g.Table(), g.Table(), g.Table())
	if len(g.NAT) > 0 {
		g.chainNAT(&b)
	}
	if len(g.Transparent) > 0 {
		g.chainTransparent(&b)
	}
	b.WriteString("\tchain incoming {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n" +
		"\t\tiifname \"lo\" accept\n\t\tfib daddr type != local accept comment \"what this host only passes on\"\n")
	for _, v := range []struct {
		ports []Ports
		chain string
	}{{g.NAT, "from_edge"}, {g.Transparent, "by_edge"}} {
		for _, proto := range []string{"udp", "tcp"} {
			if set := portSet(v.ports, proto); set != "" {
				fmt.Fprintf(&b, "\t\t%s dport { %s } jump %s\n", proto, set, v.chain)
			}
		}
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

func (g *Guard) chainNAT(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain from_edge { # services: %s\n", services(g.NAT))
	for _, is6 := range []bool{false, true} {
		var addrs []string
		for _, a := range g.From {
			if a.Is6() == is6 {
				addrs = append(addrs, a.String())
			}
		}
		if len(addrs) > 0 {
			fmt.Fprintf(b, "\t\t%s saddr { %s } accept comment \"the edge\"\n", family(is6), strings.Join(addrs, ", "))
		}
	}
	b.WriteString(ending)
}

// ending lets answers in to what the server itself began, and nothing else.
const ending = "\t\tct direction reply ct state established accept comment \"answers to the server's own talk\"\n" +
	"\t\tcounter drop\n\t}\n\n"

func (g *Guard) chainTransparent(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain by_edge { # services: %s\n", services(g.Transparent))
	if g.Interface != "" {
		fmt.Fprintf(b, "\t\tiifname %q accept comment \"nobody but the edge is there\"\n", g.Interface)
	} else {
		fmt.Fprintf(b, "\t\tether saddr { %s } accept comment \"the edge\"\n", strings.Join(g.macs(), ", "))
	}
	b.WriteString(ending)
}

// macs are the edge's link addresses.
func (g *Guard) macs() []string {
	var all []string
	for _, s := range g.Servers {
		if len(s.Way.MAC) == macLength && !s.Way.Gateway.IsValid() {
			all = append(all, s.Way.MAC.String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// names lists the servers, with their addresses if wanted.
func (g *Guard) names(addresses bool) string {
	var all []string
	for _, s := range g.Servers {
		text := s.String()
		if addresses {
			text += " (" + s.Address.String() + ")"
		}
		all = append(all, text)
	}
	if addresses {
		return strings.Join(all, " and ")
	}
	return strings.Join(all, " ")
}

func family(is6 bool) string {
	if is6 {
		return "ip6"
	}
	return "ip"
}

func services(ports []Ports) string {
	var names []string
	for _, p := range ports {
		names = append(names, p.Service)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// portSet writes a protocol's ports as nft's sets have them: none twice, none that overlap.
func portSet(ports []Ports, proto string) string {
	var all []config.PortRange
	for _, p := range ports {
		if p.Protocol == proto {
			all = append(all, p.PortRange)
		}
	}
	slices.SortFunc(all, func(a, b config.PortRange) int { return cmp.Compare(a.First, b.First) })
	var out []config.PortRange
	for _, r := range all {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	words := make([]string, len(out))
	for i, r := range out {
		words[i] = r.String()
	}
	return strings.Join(words, ", ")
}

// Explain says for a person what the rules do, what they rest on, and how to load them.
func (g *Guard) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Server %s is to take play from the edge only: who comes past it is dropped, by IPv4 and IPv6.\n#\n", g.names(true))
	list := func(ports []Ports, how string) {
		for _, p := range ports {
			fmt.Fprintf(&b, "#   %-15s service %s: %s\n", p.Protocol+" "+p.PortRange.String(), p.Service, how)
		}
	}
	list(g.NAT, "from "+addresses(g.From))
	if g.Interface != "" {
		list(g.Transparent, "players' own addresses, by the server's interface "+g.Interface)
	} else {
		list(g.Transparent, "players' own addresses, in frames of the edge's "+strings.Join(g.macs(), ", "))
	}
	list(g.Left, "left alone: a rule for ssh could lock you out")
	if len(g.Transparent) > 0 && g.Interface == "" {
		b.WriteString("#\n# A link address can be forged by whoever is on the server's own network, not from farther away.\n")
	}
	fmt.Fprintf(&b, `#
# If the same machine has an address of the other family in the file, name both at once, else either's rules refuse the
# other's players: parry server guard NAME4 NAME6. The edge's own questions to the server come from the same addresses.
# Other edges, or a host that watches the game's port: --from ADDRESS for each. Load the rules on the server:
#
#   parry server guard %s --nft | ssh root@%s nft -f -
#
# They hold until the next boot: keep them where its nftables.service reads them (on Debian /etc/nftables.conf includes
# what you name there). Take them away again: nft delete table inet %s

`, g.names(false), g.Servers[0].Address, g.Table())
	return b.String()
}

func addresses(all []netip.Addr) string {
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

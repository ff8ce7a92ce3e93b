// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"parry/pkg/config"
	"parry/pkg/nic"
	"parry/pkg/sockets"
)

// network judges what the host's own stack does.
func (f *Facts) network(r *Report, a Ask) {
	t := to{r, "network"}
	f.conntrack(t, a)
	f.reversePath(t, a)
	t.ok("forwarding", "net.ipv4.ip_forward need not be on: XDP forwards by itself, and has the kernel answer its questions about routes by lo")
	if a.Config == nil {
		f.ownPorts(t)
	}
	f.ssh(t, a)
}

func (f *Facts) conntrack(t to, a Ask) {
	local := a.Config == nil || slices.ContainsFunc(a.Config.Services, func(s config.Service) bool { return s.Forward == config.ForwardLocal })
	c := f.Conntrack
	switch {
	case c.Max == 0:
		t.ok("conntrack", "no connection tracking is loaded")
	case !local:
		t.ok("conntrack", "connection tracking never sees what XDP forwards")
	case c.Count*2 > c.Max:
		t.costs("conntrack", fmt.Sprintf("connection tracking is %d %% full (%d of %d)", c.Count*100/c.Max, c.Count, c.Max),
			"when it is full the kernel drops new players of `local` services, whom parry let in", fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 4*c.Max))
	default:
		t.ok("conntrack", "connection tracking has room (%d of %d); players of `local` services take an entry each", c.Count, c.Max)
	}
}

// reversePath: a strict filter drops what comes in by another interface than its answer would leave by.
func (f *Facts) reversePath(t to, a Ask) {
	names := a.Interfaces
	outside := nic.Outside(f.NICs)
	if len(names) == 0 {
		for _, n := range outside {
			names = append(names, n.Name)
		}
	}
	var strict []string
	for _, name := range names {
		if max(f.ReversePat[name], f.ReversePat["all"]) == 1 && f.ReversePat[name] != 2 && f.ReversePat["all"] != 2 {
			strict = append(strict, name)
		}
	}
	if len(strict) > 0 && len(outside) > 1 {
		t.costs("rp_filter", "the kernel drops what comes in by another interface than its answer leaves by (strict rp_filter on "+strings.Join(strict, ", ")+"), and there are several ways out",
			"players of `local` services who come by the other way are dropped behind parry, and counted by nobody",
			"sysctl -w net.ipv4.conf.all.rp_filter=2")
		return
	}
	t.ok("rp_filter", "reverse path filters are in nobody's way")
}

// ownPorts is said where no configuration names NAT's: then CheckHost says it with its place.
func (f *Facts) ownPorts(t to) {
	nat := config.Default().NAT.Ports
	var words []string
	for _, r := range f.Host.OwnPorts(nat.First, nat.Last) {
		words = append(words, r.String())
	}
	if len(words) == 0 {
		t.ok("ports", "the host's own ports (%s) are none of those that `forward: nat` gives out (%s)", f.Host.LocalPorts, nat)
		return
	}
	list := strings.Join(words, ",")
	for _, r := range slices.Backward(f.Host.Reserved) {
		list = r.String() + "," + list
	}
	t.fails("ports", fmt.Sprintf("the host takes ports %s for connections of its own, which `forward: nat` gives out, too (%s)", strings.Join(words, ", "), nat),
		"sysctl -w net.ipv4.ip_local_reserved_ports="+list+", or other `nat: {ports: …}`; `forward: local` doesn't care")
}

// ssh holds the ports of sshd against those that always work.
func (f *Facts) ssh(t to, a Ask) {
	always := config.Default().Host.Always
	if a.Config != nil {
		always = a.Config.Host.Always
	}
	var ports, words []string
	for _, p := range always {
		words = append(words, p.String())
	}
	missing := false
	for _, s := range f.Listening {
		p := config.ProtoPort{Proto: "tcp", Port: s.Local.Port()}
		if s.Protocol != "tcp" || s.Local.Addr().IsLoopback() || s.Process != "sshd" && s.Process != "dropbear" && (s.Process != "systemd" || p.Port != 22) {
			continue
		}
		if !slices.Contains(ports, p.String()) {
			ports = append(ports, p.String())
		}
		if !slices.Contains(words, p.String()) {
			missing, words = true, append(words, p.String())
		}
	}
	switch {
	case missing:
		t.costs("ssh", "ssh listens on "+strings.Join(ports, ", ")+", which has no budget of its own", "a flood at closed ports can lock you out", "host: {always: ["+strings.Join(words, ", ")+"]} in the configuration")
	case len(ports) > 0:
		t.ok("ssh", "%s has a budget of its own", strings.Join(ports, ", "))
	default:
		t.ok("ssh", "no ssh server was found")
	}
}

// configuration judges what a file asks of this host.
func (f *Facts) configuration(r *Report, a Ask) {
	t := to{r, "configuration"}
	for _, fault := range a.Faults {
		t.fails("file", fault, "")
	}
	f.metrics(t, a)
	f.natPorts(t, a)
	if len(a.Faults) == 0 {
		t.ok("file", "the file is good: %d services", len(a.Config.Services))
	}
	if !a.Config.Enforce {
		t.costs("enforce", "enforce is false", "nothing is dropped, all is counted", "enforce: true, once `parry status` shows nothing that should not be dropped")
	}
}

func (f *Facts) metrics(t to, a Ask) {
	at, err := netip.ParseAddrPort(a.Config.Metrics)
	if err != nil || a.Runs {
		return
	}
	for _, s := range f.Listening {
		if s.Protocol == "tcp" && s.Local.Port() == at.Port() && (s.Any() || s.Local.Addr() == at.Addr()) {
			t.fails("metrics", fmt.Sprintf("%s listens where metrics are to be served (%s)", who(s), a.Config.Metrics), `metrics: another address, or ""`)
			return
		}
	}
}

// natPorts looks for programs whose ports sessions would get.
func (f *Facts) natPorts(t to, a Ask) {
	c := a.Config
	if !slices.ContainsFunc(c.Services, func(s config.Service) bool { return s.Forward == config.ForwardNAT }) {
		return
	}
	var clash []string
	for _, s := range f.Listening {
		p := s.Local.Port()
		if p < c.NAT.Ports.First || p > c.NAT.Ports.Last || !f.natAddress(c, s) || s.State != sockets.Listening || listed(c, s) {
			continue
		}
		clash = append(clash, fmt.Sprintf("%s %d (%s)", s.Protocol, p, who(s)))
	}
	slices.Sort(clash)
	clash = slices.Compact(clash)
	if len(clash) == 0 {
		return
	}
	t.costs("nat_ports", "programs of this host listen on ports that nat gives to sessions: "+strings.Join(clash, ", "),
		"while a session has the port, a server's packets to that program are taken for the session's", "nat: {ports: …} beside them, or a NAT address that no program listens on")
}

// natAddress says if a socket takes packets to an address that NAT uses.
func (f *Facts) natAddress(c *config.Config, s Socket) bool {
	if s.Local.Addr().IsLoopback() {
		return false
	}
	if s.Any() {
		own := func(a netip.Addr) bool {
			return slices.ContainsFunc(f.NICs, func(n nic.NIC) bool {
				return slices.ContainsFunc(n.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
			})
		}
		return len(c.NAT.Addresses) == 0 || slices.ContainsFunc(c.NAT.Addresses, own)
	}
	return slices.Contains(c.NAT.Addresses, s.Local.Addr())
}

// listed says if a service of the file has the socket's port: those are left out by NAT.
func listed(c *config.Config, s Socket) bool {
	return slices.ContainsFunc(c.Services, func(v config.Service) bool {
		return v.HasProtocol(s.Protocol) && slices.ContainsFunc(v.Listen, func(l config.Listen) bool { return l.First <= s.Local.Port() && s.Local.Port() <= l.Last })
	})
}

func who(s Socket) string {
	if s.Process == "" {
		return "a program that can't be seen"
	}
	return s.Process
}

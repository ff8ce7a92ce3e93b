// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"parry/pkg/spell"
)

func (k *checker) services() {
	at := func(i int) string { return fmt.Sprintf("services[%d]", i) }
	k.unique(len(k.c.Services), "service",
		func(i int) string { return at(i) + ".name" }, func(i int) string { return k.c.Services[i].Name })
	for i := range k.c.Services {
		if k.bad[at(i)] {
			continue
		}
		s := &k.c.Services[i]
		k.addresses(at(i), s)
		k.protocol(at(i), s)
		k.handshake(at(i), s)
		k.limits(at(i)+".limits", s.Limits)
		k.attack(at(i)+".attack", s.Attack)
		k.health(at(i)+".health", s.Health)
		k.pool(at(i), s)
	}
}

// addresses checks each listen by itself, and that a forwarded service is of one family.
func (k *checker) addresses(path string, s *Service) {
	for j, l := range s.Listen {
		at := fmt.Sprintf("%s.listen[%d]", path, j)
		if k.has(at) {
			k.unicast(at, l.Addr, "listened on")
		}
		if s.Forward != ForwardLocal && j > 0 && k.has(path+".listen") && l.Addr.Is4() != s.Listen[0].Addr.Is4() {
			k.fail(at, "", "%s and %s in one service: what is forwarded is of one address family; write a service (and a pool) for each",
				s.Listen[0].Addr, l.Addr)
		}
	}
}

func (k *checker) protocol(path string, s *Service) {
	at := path + ".protocol"
	if k.bad[at] || k.bad[path+".game"] {
		return
	}
	if len(s.Protocol) == 0 {
		k.fail(path, "", "%s: \"protocol\" is missing, and game %s doesn't say: udp, tcp or [udp, tcp]", path, s.Game)
		return
	}
	if len(s.Protocol) == 2 && s.Protocol[0] == s.Protocol[1] {
		k.fail(at, s.Protocol[0], "protocol %s twice", s.Protocol[0])
	}
	p, ok := k.c.profile(s.Game)
	if !ok || len(p.Protos) == 0 {
		return
	}
	if !slices.ContainsFunc(p.Protos, s.HasProtocol) {
		k.fail(at, p.Proto, "game %s is played over %s, not %s", s.Game, strings.Join(p.Protos, " and "), s.Protocol[0])
	}
}

// handshake checks what concerns TCP alone, and servers that are not this host.
func (k *checker) handshake(path string, s *Service) {
	for _, key := range []struct{ name, value, want string }{
		{"syn_proxy", s.SynProxy, SynProxyAlways}, {"proxy_protocol", s.ProxyProtocol, ProxyV2},
	} {
		at := path + "." + key.name
		switch {
		case !k.has(at) || key.value != key.want:
		case s.Forward == ForwardLocal && key.name == "syn_proxy":
			k.fail(at, SynProxyAuto, "syn_proxy: always for a local service: this host's own kernel answers SYNs, by cookies where net.ipv4.tcp_syncookies is on")
		case s.Forward == ForwardLocal:
			k.fail(at, Off, "proxy_protocol: v2 for a local service: the server sees its players' addresses as they are")
		case len(s.Protocol) > 0 && !s.HasProtocol("tcp"):
			k.fail(at, Off, "%s: %s is about TCP, and service %q is not on TCP", key.name, key.want, s.Name)
		}
	}
}

// pool checks that the service and its pool fit: existence, family, ports.
func (k *checker) pool(path string, s *Service) {
	at := path + ".pool"
	_, written := k.pos[at]
	switch {
	case k.bad[at] || k.bad[path+".forward"]:
		return
	case s.Forward == ForwardLocal && written:
		k.fail(at, "", "a local service has no pool: the server runs on this host")
		return
	case s.Forward == ForwardLocal:
		return
	case !written:
		k.fail(path, "", "%s: \"pool\" is missing (forward: %s needs servers; forward: local needs none)", path, s.Forward)
		return
	}
	p := k.c.Pool(s.Pool)
	if p == nil {
		k.unknownPool(at, s.Pool)
		return
	}
	if len(s.Listen) == 0 || !k.has(path+".listen") {
		return
	}
	k.fits(at, s, p)
	k.natFamily(s)
}

func (k *checker) unknownPool(at, name string) {
	names := make([]string, 0, len(k.c.Pools))
	for _, p := range k.c.Pools {
		names = append(names, p.Name)
	}
	hint, ok := spell.Nearest(name, names)
	if !ok && len(names) == 1 {
		hint = names[0]
	}
	k.fail(at, hint, "unknown pool %q", name)
}

// fits checks every server of p against the service; one fault of a kind is enough.
func (k *checker) fits(at string, s *Service, p *Pool) {
	ports := s.Ports()
	for _, v := range p.Servers {
		if !v.Address.IsValid() {
			continue // refused where it stands
		}
		if v.Address.Is4() != s.Listen[0].Addr.Is4() {
			k.fail(at, "", "service %q listens on %s, server %q of pool %q is %s: the address families differ",
				s.Name, s.Listen[0].Addr, v.Name, p.Name, v.Address)
			return
		}
	}
	for _, v := range p.Servers {
		if !v.Address.IsValid() {
			continue
		}
		want := Listen{Addr: v.Address, First: v.First, Last: v.First}
		single := v.First == v.Last
		if end := int(v.First) + ports.Len() - 1; end > 65535 {
			k.fail(at, "", "service %q has ports %s: counted from %s, those of server %q end beyond 65535", s.Name, ports, v.Endpoint(), v.Name)
			return
		} else if want.Last = uint16(end); want.Last == v.Last || single && !s.hasRange() {
			continue
		}
		k.fail(at, "", "service %q listens on %s, server %q of pool %q is %s: ranges map port by port, so it must be %s",
			s.Name, ports, v.Name, p.Name, v.Endpoint(), want)
		return
	}
}

func (k *checker) natFamily(s *Service) {
	addrs := k.c.NAT.Addresses
	if s.Forward != ForwardNAT || len(addrs) == 0 || !k.has("nat.addresses") {
		return
	}
	is4 := s.Listen[0].Addr.Is4()
	if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is4() == is4 }) {
		family := map[bool]string{true: "IPv4", false: "IPv6"}[is4]
		k.fail("nat.addresses", "", "no %s address, and service %q needs one: add it, or leave the key out", family, s.Name)
	}
}

// span is one listened range of one protocol.
type span struct {
	Listen
	proto   string
	service string
	path    string
}

// listens checks what services share: no port twice, no server that is a listened port itself.
func (k *checker) listens() {
	spans, ports := k.spans()
	if ports > MaxListenPorts {
		k.fail("services", "", "%d listened ports (address, port, protocol) in all services: the limit is %d", ports, MaxListenPorts)
	} else {
		k.serverPorts()
	}
	overlap := false
	for i := 1; i < len(spans); i++ {
		a, b := spans[i-1], spans[i]
		if a.Addr != b.Addr || a.proto != b.proto || a.Last < b.First {
			continue
		}
		overlap = true
		k.overlap(a, b)
		if a.Last > b.Last { // the longer one goes on to the next
			spans[i] = a
		}
	}
	if !overlap {
		k.loops(spans)
	}
}

// overlap blames the later of the two in the file.
func (k *checker) overlap(a, b span) {
	if pa, pb := k.find(a.path), k.find(b.path); pa.line > pb.line || pa.line == pb.line && pa.column > pb.column {
		a, b = b, a
	}
	k.fail(b.path, "", "%s %s: service %q already listens on %s, in line %d", b.proto, b.Listen, a.service, a.Listen, k.find(a.path).line)
}

// spans returns what services listen on, in the order of address, protocol and port.
func (k *checker) spans() (spans []span, ports int) {
	for i, s := range k.c.Services {
		for j, l := range s.Listen {
			path := fmt.Sprintf("services[%d].listen[%d]", i, j)
			if !k.has(path) {
				continue
			}
			for _, proto := range slices.Compact(slices.Clone(s.Protocol)) {
				spans = append(spans, span{Listen: l, proto: proto, service: s.Name, path: path})
				ports += PortRange{l.First, l.Last}.Len()
			}
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.proto, b.proto), cmp.Compare(a.First, b.First))
	})
	return spans, ports
}

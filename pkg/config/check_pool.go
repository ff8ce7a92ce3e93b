// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"

	"parry/pkg/spell"
)

func (k *checker) pools() {
	at := func(i int) string { return fmt.Sprintf("pools[%d]", i) }
	k.unique(len(k.c.Pools), "pool",
		func(i int) string { return at(i) + ".name" }, func(i int) string { return k.c.Pools[i].Name })
	total := 0
	for i := range k.c.Pools {
		k.servers(at(i), &k.c.Pools[i])
		total += len(k.c.Pools[i].Servers)
	}
	if total > MaxServers {
		k.fail("pools", "", "%d servers in all pools: the limit is %d", total, MaxServers)
	}
}

func (k *checker) servers(path string, p *Pool) {
	at := func(i int) string { return fmt.Sprintf("%s.servers[%d]", path, i) }
	k.unique(len(p.Servers), "server",
		func(i int) string { return at(i) + ".name" }, func(i int) string { return p.Servers[i].Name })
	k.unique(len(p.Servers), "a server at",
		func(i int) string { return at(i) + ".address" }, func(i int) string { return p.Servers[i].Endpoint().String() })
	for i, s := range p.Servers {
		address := at(i) + ".address"
		if k.has(address) && k.unicast(address, s.Address, "a server's") && slices.Contains(k.c.NAT.Addresses, s.Address) {
			k.fail(address, "", "%s is one of nat.addresses: the edge's own, not a server's", s.Address)
		}
		k.serverRegion(at(i)+".region", s.Region)
	}
}

// serverRegion: in a file without regions a server's region is only a label.
func (k *checker) serverRegion(at, name string) {
	if name == "" || len(k.c.Regions) == 0 || !k.has(at) || k.c.Region(name) != nil {
		return
	}
	names := make([]string, 0, len(k.c.Regions))
	for _, r := range k.c.Regions {
		names = append(names, r.Name)
	}
	hint, _ := spell.Nearest(name, names)
	k.fail(at, hint, "unknown region %q", name)
}

// serverPorts bounds what services lead to in all: ports times servers, which short lines of a file make millions of.
func (k *checker) serverPorts() {
	total := 0
	for i, s := range k.c.Services {
		p := k.c.Pool(s.Pool)
		if p == nil || s.Forward == ForwardLocal {
			continue
		}
		ports := 0
		for _, l := range s.Listen {
			ports += PortRange{l.First, l.Last}.Len()
		}
		if total += ports * len(s.Protocol) * len(p.Servers); total > MaxServerPorts {
			k.fail(fmt.Sprintf("services[%d].pool", i), "", "%d server ports (each listened port on each server, by protocol) up to this service: "+
				"the limit is %d; listen on fewer ports, or split the servers over several edges", total, MaxServerPorts)
			return
		}
	}
}

// loops refuses servers whose address is a listened port of this edge: a player's packet would
// go round in circles. spans are sorted and don't overlap.
func (k *checker) loops(spans []span) {
	protos := map[string]map[string]bool{} // pool → protocols of the services that use it
	for _, s := range k.c.Services {
		if protos[s.Pool] == nil {
			protos[s.Pool] = map[string]bool{}
		}
		for _, proto := range s.Protocol {
			protos[s.Pool][proto] = true
		}
	}
	for i, p := range k.c.Pools {
		for j, s := range p.Servers {
			at := fmt.Sprintf("pools[%d].servers[%d].address", i, j)
			if !k.has(at) {
				continue
			}
			for _, proto := range []string{"udp", "tcp"} {
				if hit, ok := overlapping(spans, s.Endpoint(), proto); ok && protos[p.Name][proto] {
					k.fail(at, "", "%s is what service %q listens on: packets would go round in circles", s.Endpoint(), hit.service)
					break
				}
			}
		}
	}
}

// overlapping finds the first span that shares a port with l.
func overlapping(spans []span, l Listen, proto string) (span, bool) {
	i, _ := slices.BinarySearchFunc(spans, l, func(s span, l Listen) int {
		return cmp.Or(s.Addr.Compare(l.Addr), cmp.Compare(s.proto, proto), cmp.Compare(s.Last, l.First))
	})
	if i == len(spans) || spans[i].Addr != l.Addr || spans[i].proto != proto || spans[i].First > l.Last {
		return span{}, false
	}
	return spans[i], true
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"
)

// lead is the way that a transparent service's listen leads in its pool: Listen is what it comes to at a server, or, of no
// server yet, distances from the server's first port.
type lead struct {
	Listen
	proto   string
	pool    string
	from    Listen
	service string
	path    string
}

// transparents refuses two ways to one server's port that keep the player's address and port: the server could not tell
// a player's session on the one from that on the other, so the second would never begin. Clients that always use the
// same port of their own are the rule among older games.
func (k *checker) transparents() {
	pools, clash := map[string][]lead{}, false
	for i := range k.c.Services {
		s := &k.c.Services[i]
		if s.Forward != ForwardTransparent || k.c.Pool(s.Pool) == nil {
			continue
		}
		mine, ok := k.leads(i, s, pools[s.Pool])
		clash = clash || !ok
		pools[s.Pool] = append(pools[s.Pool], mine...)
	}
	if !clash {
		k.sharedServers(pools)
	}
}

// leads returns the ways of one service, none where two of them, or one and an earlier service's, are the same: a player
// has one server in a pool.
func (k *checker) leads(i int, s *Service, earlier []lead) (mine []lead, ok bool) {
	lowest := s.Ports().First
	for j, l := range s.Listen {
		path := fmt.Sprintf("services[%d].listen[%d]", i, j)
		if !k.has(path) {
			continue
		}
		for _, proto := range slices.Compact(slices.Clone(s.Protocol)) {
			way := lead{Listen: Listen{First: l.First - lowest, Last: l.Last - lowest}, proto: proto, pool: s.Pool, from: l, service: s.Name, path: path}
			for _, other := range slices.Concat(earlier, mine) {
				if way.meets(other) {
					k.meeting(other, way, "pool "+s.Pool)
					return nil, false
				}
			}
			mine = append(mine, way)
		}
	}
	return mine, true
}

func (l lead) meets(o lead) bool {
	return l.Addr == o.Addr && l.proto == o.proto && l.First <= o.Last && o.First <= l.Last
}

// meeting blames the later of the two in the file.
func (k *checker) meeting(a, b lead, where string) {
	a, b = k.inOrder(a, b)
	k.fail(b.path, "", "%s %s leads to the same ports of %s as %s of service %q in line %d: with `forward: transparent` a server can't tell "+
		"a player's two sessions apart; give it another port there, or use nat", b.proto, b.from, where, a.from, a.service, k.find(a.path).line)
}

func (k *checker) inOrder(a, b lead) (first, second lead) {
	if pa, pb := k.find(a.path), k.find(b.path); cmp.Or(cmp.Compare(pa.line, pb.line), cmp.Compare(pa.column, pb.column)) > 0 {
		return b, a
	}
	return a, b
}

// sharedServers compares ways through different pools. Within a pool none meet: each has few.
func (k *checker) sharedServers(pools map[string][]lead) {
	var all []lead
	for i := range k.c.Pools {
		p := &k.c.Pools[i]
		for _, way := range pools[p.Name] {
			for _, v := range p.Servers {
				if !v.Address.IsValid() {
					continue // refused where it stands
				}
				at := way
				at.Addr, at.First, at.Last = v.Address, v.First+way.First, v.First+way.Last
				all = append(all, at)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b lead) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.proto, b.proto), cmp.Compare(a.First, b.First))
	})
	told := map[string]bool{}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if !a.meets(b) {
				break
			}
			if _, second := k.inOrder(a, b); a.pool != b.pool && !told[second.path] {
				told[second.path] = true
				k.meeting(a, b, a.Addr.String())
			}
		}
	}
}

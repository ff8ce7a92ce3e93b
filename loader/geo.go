// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// GeoTable is what services' geo rules come to. Nobody changes one: a generation of the same table takes over its maps.
type GeoTable struct {
	Default uint64 // bit n: rule n refuses whom no entry is about
	Entries []GeoEntry
}

// GeoEntry is a prefix that some rules judge otherwise; none covers another.
type GeoEntry struct {
	Prefix netip.Prefix
	Mask   uint64 // bit n: rule n does
}

// refuses tells what a service's rule makes of addresses that no entry is about: 1 = it refuses them.
func (t *GeoTable) refuses(rule uint8) uint8 {
	if t == nil || rule == 0 {
		return 0
	}
	return uint8(t.Default >> (rule - 1) & 1)
}

// geoMaps are a table in the kernel.
type geoMaps struct {
	table  *GeoTable
	v4, v6 *ebpf.Map
}

func (g *geoMaps) close() error {
	if g == nil {
		return nil
	}
	return errors.Join(g.v4.Close(), g.v6.Close())
}

// geoBatch is how many entries are written at once.
const geoBatch = 4096

// makeGeo writes a table into maps of its own, or finds it there: it may be half a million entries.
func (e *Edge) makeGeo(t *GeoTable, spec *ebpf.CollectionSpec) (*geoMaps, error) {
	if e.geo != nil && e.geo.table == t {
		return e.geo, nil
	}
	var keys4 []bpfInsideKey4
	var keys6 []bpfInsideKey6
	var masks4, masks6 []uint64
	for _, x := range t.Entries {
		if a := x.Prefix.Addr(); a.Is4() {
			keys4, masks4 = append(keys4, bpfInsideKey4{Prefixlen: uint32(x.Prefix.Bits()), Addr: be32(a)}), append(masks4, x.Mask)
		} else {
			keys6, masks6 = append(keys6, bpfInsideKey6{Prefixlen: uint32(x.Prefix.Bits()), Addr: addr16(a)}), append(masks6, x.Mask)
		}
	}
	g := &geoMaps{table: t}
	var err error
	if g.v4, err = geoMap(spec.Maps[bpfMapGeo4], keys4, masks4); err != nil {
		return nil, err
	}
	if g.v6, err = geoMap(spec.Maps[bpfMapGeo6], keys6, masks6); err != nil {
		return nil, errors.Join(err, g.v4.Close())
	}
	return g, nil
}

func geoMap[K any](spec *ebpf.MapSpec, keys []K, masks []uint64) (*ebpf.Map, error) {
	spec = spec.Copy()
	spec.MaxEntries = max(uint32(len(keys)), 1)
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("make map %s of %d entries: %w", spec.Name, spec.MaxEntries, err)
	}
	for i := 0; i < len(keys); i += geoBatch {
		end := min(i+geoBatch, len(keys))
		if _, err := m.BatchUpdate(keys[i:end], masks[i:end], nil); err != nil {
			return nil, errors.Join(fmt.Errorf("write map %s: %w", spec.Name, err), m.Close())
		}
	}
	return m, nil
}

// useGeo has a generation use the maps of its plan's table.
func (e *Edge) useGeo(p *Plan, spec *ebpf.CollectionSpec, use map[string]*ebpf.Map) (*geoMaps, error) {
	if p.Geo == nil {
		return nil, nil
	}
	g, err := e.makeGeo(p.Geo, spec)
	if err != nil {
		return nil, err
	}
	for name, m := range map[string]*ebpf.Map{bpfMapGeo4: g.v4, bpfMapGeo6: g.v6} {
		use[name] = m
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	return g, nil
}

// keepGeo lets go of the table before, if this is another.
func (e *Edge) keepGeo(g *geoMaps) error {
	old := e.geo
	if e.geo = g; old == g {
		return nil
	}
	return old.close()
}

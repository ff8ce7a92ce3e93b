// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"math/bits"

	"github.com/cilium/ebpf"
)

// Sizes of the state maps, in entries. They hold for as long as the maps are pinned.
type Sizes struct {
	Sessions  uint32 // each of IPv4 and IPv6; transparent and local sessions take two entries
	Blocks    uint32 // hosts on the deny list
	Allows    uint32 // hosts on the allow list
	Prefixes  uint32 // prefixes on each list
	Sources   uint32
	Fragments uint32
	Services  uint32 // numbers, those of services that went included
	NAT4      uint32 // NAT addresses
	NAT6      uint32
	Unproven  uint32 // slots for strangers' sessions, each of IPv4 and IPv6, rounded up to a power of two; 0 = no bound
	Greylist  uint32 // strangers that are remembered, rounded up to a power of two
	Regulars  uint32 // sources that have played
	Watched   uint32 // sessions that can be watched at a time, at most 32768; rounded up to a power of two
	Samples   uint32 // bytes of the ring of samples, rounded up to a power of two, at least 64 KiB
}

// entries is the size of each state map whose size is not fixed in bpf/maps.h.
func (s Sizes) entries() map[string]uint32 {
	return map[string]uint32{
		bpfMapFlow4:         s.Sessions,
		bpfMapFlow6:         s.Sessions,
		bpfMapNat4:          s.NAT4 * portsOfAddr,
		bpfMapNat6:          s.NAT6 * portsOfAddr,
		bpfMapProxied4:      s.NAT4 * portsOfAddr,
		bpfMapProxied6:      s.NAT6 * portsOfAddr,
		bpfMapProxiedCell:   powerOfTwo(s.Sessions),
		bpfMapNatRing4:      s.NAT4 * portsOfAddr,
		bpfMapNatRing6:      s.NAT6 * portsOfAddr,
		bpfMapNatAddr4:      s.NAT4,
		bpfMapNatAddr6:      s.NAT6,
		bpfMapNatIndex4:     s.NAT4,
		bpfMapNatIndex6:     s.NAT6,
		bpfMapSource:        s.Sources,
		bpfMapFrag:          s.Fragments,
		bpfMapDenyHost4:     s.Blocks,
		bpfMapDenyHost6:     s.Blocks,
		bpfMapAllowHost4:    s.Allows,
		bpfMapAllowHost6:    s.Allows,
		bpfMapDenyNet4:      s.Prefixes,
		bpfMapDenyNet6:      s.Prefixes,
		bpfMapAllowNet4:     s.Prefixes,
		bpfMapAllowNet6:     s.Prefixes,
		bpfMapDenial:        s.denials(),
		bpfMapUnproven4:     powerOfTwo(s.Unproven),
		bpfMapUnproven6:     powerOfTwo(s.Unproven),
		bpfMapGreylist:      powerOfTwo(max(s.Greylist, greyPerLine) / greyPerLine),
		bpfMapRegular:       s.Regulars,
		bpfMapWatch:         watchCells(s.Watched),
		bpfMapSamples:       ringBytes(s.Samples),
		bpfMapServiceState:  s.Services,
		bpfMapServiceMode:   s.Services,
		bpfMapStrangerCount: s.Services,
		bpfMapServiceCount:  s.Services,
		bpfMapReasonCount:   s.Services * reasonsMax,
	}
}

// powerOfTwo is the next one.
func powerOfTwo(n uint32) uint32 {
	if n <= 1 {
		return n
	}
	return 1 << bits.Len32(n-1)
}

// denials is how many lines of cells there are: far ones, half as many as hosts may be listed and a power of two, and an eighth
// of that near ones.
func (s Sizes) denials() uint32 {
	far := uint32(1) << bits.Len32(max(s.Blocks/2, denialsMin)-1)
	return far + far/denialNear
}

const denialsMin = 1 << 12 // prefixes take cells, too, whatever the size of the lists of hosts

// fixedState are the state maps whose size bpf/maps.h gives.
var fixedState = []string{
	bpfMapNetFilter4, bpfMapNetFilter6, bpfMapAllowFilter4, bpfMapAllowHosts4, bpfMapAllowLooked, bpfMapHop, bpfMapHopIndex, bpfMapLink, bpfMapTxPort, bpfMapFaultCount,
	bpfMapEdge, bpfMapEpoch, bpfMapLoosened, bpfMapSecret, bpfMapHostBucket, bpfMapHostSource,
	bpfMapSketch, bpfMapPrefixWord, bpfMapPrefixUse, bpfMapHeavy, bpfMapAsks, bpfMapGateSecret, bpfMapSampler, bpfMapSampleCount, bpfMapRuleCount, bpfMapRuleBucket, bpfMapRuleCell,
	bpfMapShadowBook, bpfMapShadowSource, bpfMapDoubt, bpfMapWatcher, bpfMapWatchFlag,
}

// apply sets the sizes in a spec's state maps.
func (s Sizes) apply(spec *ebpf.CollectionSpec) {
	for name, n := range s.entries() {
		spec.Maps[name].MaxEntries = max(n, 1)
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
)

// Bounds of the whole file; those of single lists and numbers stand in the check tags.
const (
	MaxServers     = 4095   // in all pools together
	MaxPrefixes    = 131072 // in all regions together
	MaxListenPorts = 65536  // address, port and protocol, over all services
	MaxServerPorts = 262144 // each service's listened ports on each of its servers: a fast path's entry each
	minNATPorts    = 64
	maxSocketPath  = 107 // sun_path without its final zero
)

// checker holds what was decoded against what can work. It reports only on values that
// were decoded well, so that one slip is one error.
type checker struct {
	*decoder
	c *Config
}

func (k *checker) all() {
	k.interfaces()
	k.socket()
	k.peers()
	k.nat()
	k.sizes()
	k.always()
	k.limits("limits", k.c.Limits)
	k.attack("attack", k.c.Attack)
	k.games()
	k.health("health", k.c.Health)
	k.pools()
	k.services()
	k.listens()
	k.transparents()
	k.geo()
	k.regions()
}

// unique reports names that occur twice among n, what they name in words, each at its own place.
func (k *checker) unique(n int, what string, path func(int) string, name func(int) string) {
	first := make(map[string]string, n)
	for i := range n {
		at := path(i)
		if name(i) == "" || !k.has(at) {
			continue
		}
		if other, ok := first[name(i)]; ok {
			k.fail(at, "", "%s %s is already there, in line %d", what, name(i), k.find(other).line)
			continue
		}
		first[name(i)] = at
	}
}

func (k *checker) interfaces() {
	k.unique(len(k.c.Interfaces), "interface",
		func(i int) string { return fmt.Sprintf("interfaces[%d].name", i) },
		func(i int) string { return k.c.Interfaces[i].Name })
}

func (k *checker) socket() {
	if len(k.c.API.Socket) > maxSocketPath {
		k.fail("api.socket", "", "a socket path of %d bytes: the kernel takes at most %d", len(k.c.API.Socket), maxSocketPath)
	}
}

func (k *checker) nat() {
	at := func(i int) string { return fmt.Sprintf("nat.addresses[%d]", i) }
	for i, a := range k.c.NAT.Addresses {
		if k.has(at(i)) {
			k.unicast(at(i), a, "a NAT address")
		}
	}
	k.unique(len(k.c.NAT.Addresses), "NAT address", at, func(i int) string { return k.c.NAT.Addresses[i].String() })
	if r := k.c.NAT.Ports; k.has("nat.ports") {
		if r.First < 1024 {
			k.fail("nat.ports", fmt.Sprintf("1024-%d", max(r.Last, 1024+minNATPorts-1)),
				"NAT ports begin at 1024: the lower ones belong to the host's own servers")
		} else if r.Len() < minNATPorts {
			k.fail("nat.ports", "", "%d NAT ports are too few: at least %d", r.Len(), minNATPorts)
		}
	}
}

// unicast refuses an address that no packet to or from one machine on a network carries.
func (k *checker) unicast(path string, a netip.Addr, what string) bool {
	word := ""
	switch {
	case !a.IsValid():
		return false
	case a.IsUnspecified():
		word = "unspecified: name each address"
	case a.IsMulticast():
		word = "a multicast address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		word = "the broadcast address"
	case a.IsLoopback():
		word = "a loopback address: it never comes in from a network"
	case a.Is6() && a.IsLinkLocalUnicast():
		word = "link-local: it means nothing without an interface"
	default:
		return true
	}
	k.fail(path, "", "%s can't be %s: it is %s", a, what, word)
	return false
}

func (k *checker) sizes() {
	s := k.c.Sizes
	if k.bad["sizes.sessions"] || k.bad["sizes.unproven"] || s.Unproven <= s.Sessions/2 {
		return
	}
	at := "sizes.unproven"
	if !k.has(at) {
		at = "sizes.sessions"
	}
	k.fail(at, "", "unproven %d is more than half of sessions %d: strangers would crowd players out", s.Unproven, s.Sessions)
}

func (k *checker) always() {
	k.unique(len(k.c.Host.Always), "port",
		func(i int) string { return fmt.Sprintf("host.always[%d]", i) },
		func(i int) string { return k.c.Host.Always[i].String() })
}

// limits checks the limits at path, which may be inherited in part: then the part in the file is
// where the fault shows.
func (k *checker) limits(path string, l Limits) {
	s := path + ".source"
	k.wide(path, l)
	k.bucket(s, "packets_per_second", "burst", l.Source.PacketsPerSecond, l.Source.Burst)
	k.bucket(s, "bytes_per_second", "bytes_burst", l.Source.BytesPerSecond, l.Source.BytesBurst)
	const fullPacket = 1500
	if b := s + ".bytes_burst"; k.has(b) && l.Source.BytesPerSecond > 0 && l.Source.BytesBurst < min(fullPacket, uint64(l.MaxPacket)) {
		k.fail(b, "", "bytes_burst %d is less than one full packet: none would ever pass; at least %d",
			l.Source.BytesBurst, min(fullPacket, l.MaxPacket))
	}
}

// bucket checks a rate against its burst: buckets move in ticks of 4 ms and are 64 bits wide.
func (k *checker) bucket(path, rateKey, burstKey string, rate, burst uint64) {
	at := path + "." + burstKey
	if !k.has(at) {
		at = path + "." + rateKey
	}
	if rate == 0 || !k.has(at) || k.bad[path+"."+rateKey] || k.bad[path+"."+burstKey] {
		return
	}
	if least := (rate + 99) / 100; burst < least {
		k.fail(at, "", "%s %d is too small for %s %d: buckets move in ticks of 4 ms, so it is at least a hundredth, %d",
			burstKey, burst, rateKey, rate, least)
	}
	if burst/3600 > rate || burst > rate*3600 {
		k.fail(at, "", "%s %d is too large for %s %d: at most an hour's worth, %d", burstKey, burst, rateKey, rate, rate*3600)
	}
}

// attack checks that the levels stand in their order: else the state would never be elevated.
func (k *checker) attack(path string, a Attack) {
	for _, f := range []struct {
		key       string
		low, high uint64
	}{
		{"strangers_per_second", a.Elevated.StrangersPerSecond, a.Attack.StrangersPerSecond},
		{"refused_per_second", a.Elevated.RefusedPerSecond, a.Attack.RefusedPerSecond},
		{"times_usual", uint64(a.Elevated.TimesUsual), uint64(a.Attack.TimesUsual)},
	} {
		low, high := path+".elevated."+f.key, path+".attack."+f.key
		at := high
		if !k.has(at) {
			at = low
		}
		if f.high > 0 && f.low > f.high && k.has(at) && !k.bad[low] && !k.bad[high] {
			k.fail(at, "", "attack begins at %s %d, below elevated at %d", f.key, f.high, f.low)
		}
	}
}

// health checks shares, which are no whole numbers.
func (k *checker) health(path string, h Health) {
	for _, f := range []struct {
		class string
		loss  float64
	}{{"fps", h.FPS.LossPercent}, {"moba", h.MOBA.LossPercent}, {"rts", h.RTS.LossPercent}, {"mmorpg", h.MMORPG.LossPercent}} {
		if at := path + "." + f.class + ".loss_percent"; k.has(at) && !(f.loss >= 0 && f.loss <= 100) {
			k.fail(at, "", "loss_percent %g: want 0 to 100", f.loss)
		}
	}
}

func (k *checker) regions() {
	k.unique(len(k.c.Regions), "region",
		func(i int) string { return fmt.Sprintf("regions[%d].name", i) },
		func(i int) string { return k.c.Regions[i].Name })
	total := 0
	prefixes, countries := map[netip.Prefix]string{}, map[string]string{}
	for i, r := range k.c.Regions {
		path := fmt.Sprintf("regions[%d]", i)
		if at := path + ".location"; k.has(at) && (r.Location[0] < -90 || r.Location[0] > 90 || r.Location[1] < -180 || r.Location[1] > 180) {
			k.fail(at, "", "location [%g, %g] is not on earth: want [latitude -90..90, longitude -180..180]", r.Location[0], r.Location[1])
		}
		for j, p := range r.Prefixes {
			once(k, prefixes, fmt.Sprintf("%s.prefixes[%d]", path, j), "prefix", p)
		}
		for j, c := range r.Countries {
			once(k, countries, fmt.Sprintf("%s.countries[%d]", path, j), "country", c)
		}
		total += len(r.Prefixes)
	}
	if total > MaxPrefixes {
		k.fail("regions", "", "%d prefixes in all regions: the limit is %d", total, MaxPrefixes)
	}
}

// once reports a value that an earlier region already claims.
func once[T comparable](k *checker, seen map[T]string, path, what string, v T) {
	if !k.has(path) {
		return
	}
	if other, ok := seen[v]; ok {
		k.fail(path, "", "%s %v is already there, in line %d", what, v, k.find(other).line)
		return
	}
	seen[v] = path
}

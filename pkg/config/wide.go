// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PrefixLimits are what all sources of one prefix may send to a service together. 0 means unlimited. Neighbours who flood don't harm
// who plays: the unproven may use half of what is there, those who have just been proven three quarters, and the rest is for
// sessions that have lasted 30 s.
type PrefixLimits struct {
	// IPv4 is the length of such a prefix of IPv4 addresses; it must be shorter than a source's.
	IPv4 uint8 `yaml:"ipv4" check:"min=8 max=31"`
	// IPv6 is the length of such a prefix of IPv6 addresses; it must be shorter than a source's.
	IPv6 uint8 `yaml:"ipv6" check:"min=16 max=63"`
	// PacketsPerSecond is the lasting rate of packets, those that a limit of their source or a gate refuses not counted.
	PacketsPerSecond uint64 `yaml:"packets_per_second" check:"max=1000000000"`
	// Burst is the number of packets that may come at once. 0 means twice `packets_per_second`.
	Burst uint64 `yaml:"burst" check:"max=1000000000"`
	// BytesPerSecond is the lasting rate of bytes, from the IP header on.
	BytesPerSecond uint64 `yaml:"bytes_per_second" check:"max=1000000000000"`
	// BytesBurst is the number of bytes that may come at once. 0 means twice `bytes_per_second`, and at least 131070: half of it has to
	// hold a packet of an unproven client.
	BytesBurst uint64 `yaml:"bytes_burst" check:"max=1000000000000"`
	// NewSessions is the number of sessions that may begin within `window`, half of them by the unproven.
	NewSessions uint32 `yaml:"new_sessions" check:"max=1000000"`
	// Window is the time that `new_sessions` is counted over.
	Window time.Duration `yaml:"window" check:"min=1s max=1h"`
	// Enforce false counts what these limits alone would have dropped. Default: as `limits.enforce`, without which nothing is.
	Enforce *bool `yaml:"enforce"`
}

// ServiceLimits are what all clients that are not proven may send to a service together: what their gate, their own limits and the
// greylist let through to its servers. Whoever is proven is never refused by them. 0 means unlimited.
type ServiceLimits struct {
	// PacketsPerSecond is the lasting rate of packets.
	PacketsPerSecond uint64 `yaml:"packets_per_second" check:"max=1000000000"`
	// Burst is the number of packets that may come at once. 0 means twice `packets_per_second`.
	Burst uint64 `yaml:"burst" check:"max=1000000000"`
	// BytesPerSecond is the lasting rate of bytes, from the IP header on.
	BytesPerSecond uint64 `yaml:"bytes_per_second" check:"max=1000000000000"`
	// BytesBurst is the number of bytes that may come at once. 0 means twice `bytes_per_second`, and at least 65535.
	BytesBurst uint64 `yaml:"bytes_burst" check:"max=1000000000000"`
	// NewSessions is the number of sessions of theirs that may begin within `window`; who has played before is not counted.
	NewSessions uint32 `yaml:"new_sessions" check:"max=1000000"`
	// Window is the time that `new_sessions` is counted over.
	Window time.Duration `yaml:"window" check:"min=1s max=1h"`
	// Enforce false counts what these limits alone would have dropped. Default: as `limits.enforce`, without which nothing is.
	Enforce *bool `yaml:"enforce"`
}

// SharedLimits say when a source is an address that many players share (carrier-grade NAT, a dormitory): its limits are wider then.
type SharedLimits struct {
	// Sessions is how many sessions of it must have lasted 30 s, with 20 packets each way; 0 means that none is shared.
	Sessions uint32 `yaml:"sessions" check:"max=1000000"`
	// Factor is how many times wider its limits are: packets, bytes, new and concurrent sessions.
	Factor uint32 `yaml:"factor" check:"min=1 max=1000"`
}

// GeoFiles are what says where an address is: files in MaxMind's mmdb form. parry ships none. Each is read into memory as a
// whole (at most 256 MiB).
type GeoFiles struct {
	// Country is a file that names countries (as GeoLite2-Country does).
	Country string `yaml:"country" check:"format=path"`
	// ASN is a file that names networks by their number (as GeoLite2-ASN does).
	ASN string `yaml:"asn" check:"format=path"`
	// Refresh is how often the files are looked at, and read again if they are others by then. One that is damaged is refused, and the
	// one before stays.
	Refresh time.Duration `yaml:"refresh" check:"min=1s max=720h"`
}

// GeoRule is from where a service takes players. An entry of an allow list comes before it. At most 64 different ones in the file.
type GeoRule struct {
	// Allow are countries (DE, by ISO 3166) and networks (AS3320): where there are any, everybody else is refused, those of whom nothing
	// is known included.
	Allow []string `yaml:"allow" check:"items=1000 format=place"`
	// Deny are countries and networks that are refused, those in `allow` as well.
	Deny []string `yaml:"deny" check:"items=1000 format=place"`
}

// Empty tells whether it takes players from anywhere.
func (g *GeoRule) Empty() bool { return len(g.Allow)+len(g.Deny) == 0 }

var placeForm = regexp.MustCompile(`^([A-Z]{2}|AS[1-9][0-9]{0,9})$`)

func placeFault(s string) *fault {
	if placeForm.MatchString(s) {
		if _, err := strconv.ParseUint(strings.TrimPrefix(s, "AS"), 10, 32); err == nil || len(s) == 2 {
			return nil
		}
	}
	hint := strings.ToUpper(s)
	if !placeForm.MatchString(hint) {
		hint = ""
	}
	return faultf(hint, "%q is no country or network: want two capital letters (DE), or AS and a number (AS3320)", s)
}

func burstOf(burst, rate, least uint64) uint64 {
	if burst == 0 && rate > 0 {
		return max(2*rate, least)
	}
	return burst
}

// completeWide derives bursts, and what is enforced, of a service's limits (or the file's). The same values come out of a second call.
func (l *Limits) completeWide(enforced bool) {
	const longestPacket = 65535
	p, s := &l.Prefix, &l.Service
	p.Burst, p.BytesBurst = burstOf(p.Burst, p.PacketsPerSecond, 2), burstOf(p.BytesBurst, p.BytesPerSecond, 2*longestPacket)
	s.Burst, s.BytesBurst = burstOf(s.Burst, s.PacketsPerSecond, 2), burstOf(s.BytesBurst, s.BytesPerSecond, longestPacket)
	for _, on := range []**bool{&p.Enforce, &s.Enforce} {
		v := enforced && (*on == nil || **on)
		*on = &v
	}
}

// wide checks the limits of more than one source.
func (k *checker) wide(path string, l Limits) {
	p, s := path+".prefix", path+".service"
	k.bucket(p, "packets_per_second", "burst", l.Prefix.PacketsPerSecond, l.Prefix.Burst)
	k.bucket(p, "bytes_per_second", "bytes_burst", l.Prefix.BytesPerSecond, l.Prefix.BytesBurst)
	k.bucket(s, "packets_per_second", "burst", l.Service.PacketsPerSecond, l.Service.Burst)
	k.bucket(s, "bytes_per_second", "bytes_burst", l.Service.BytesPerSecond, l.Service.BytesBurst)
	full := min(1500, uint64(l.MaxPacket))
	k.holds(p+".bytes_burst", l.Prefix.BytesPerSecond, l.Prefix.BytesBurst, 2*full, "two full packets: the unproven may use half of it")
	k.holds(s+".bytes_burst", l.Service.BytesPerSecond, l.Service.BytesBurst, full, "one full packet")
	if l.Prefix.PacketsPerSecond == 0 && l.Prefix.BytesPerSecond == 0 && l.Prefix.NewSessions == 0 {
		return
	}
	for _, f := range []struct {
		key, source    string
		prefix, within uint8
	}{{".ipv4", ".source.ipv4_prefix", l.Prefix.IPv4, l.Source.IPv4Prefix}, {".ipv6", ".source.ipv6_prefix", l.Prefix.IPv6, l.Source.IPv6Prefix}} {
		at := p + f.key
		if !k.has(at) {
			at = path + f.source
		}
		if !k.has(at) {
			at = p
		}
		if k.has(at) && f.prefix >= f.within {
			k.fail(at, "", "prefixes of length %d hold no more than one source, whose length is %d (limits%s)", f.prefix, f.within, f.source)
		}
	}
}

func (k *checker) holds(at string, rate, burst, least uint64, what string) {
	if k.has(at) && rate > 0 && burst < least {
		k.fail(at, "", "bytes_burst %d is less than %s: at least %d", burst, what, least)
	}
}

// geo checks that rules have files to go by, and that they are not too many.
func (k *checker) geo() {
	const most = 64 // geo.MaxRules
	different := map[string]bool{}
	for i := range k.c.Services {
		g := &k.c.Services[i].Geo
		path := fmt.Sprintf("services[%d].geo", i)
		for _, list := range []struct {
			key   string
			names []string
		}{{".allow", g.Allow}, {".deny", g.Deny}} {
			for j, name := range list.names {
				k.placeHasFile(fmt.Sprintf("%s%s[%d]", path, list.key, j), name)
			}
		}
		if !g.Empty() {
			different[g.Key()] = true
		}
		if len(different) == most+1 && !g.Empty() {
			k.fail(path, "", "more than %d different geo rules", most)
			return
		}
	}
}

func (k *checker) placeHasFile(at, name string) {
	if !k.has(at) {
		return
	}
	kind, file := "country", k.c.Geo.Country
	if strings.HasPrefix(name, "AS") && len(name) > 2 {
		kind, file = "asn", k.c.Geo.ASN
	}
	if file == "" && !k.bad["geo."+kind] {
		k.fail(at, "", "%s needs geo.%s: the mmdb file that says which addresses are there", name, kind)
	}
}

// Key is the same for rules that say the same.
func (g *GeoRule) Key() string {
	sorted := func(names []string) []string {
		s := slices.Clone(names)
		slices.Sort(s)
		return slices.Compact(s)
	}
	return fmt.Sprint(sorted(g.Allow), sorted(g.Deny))
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
)

// wideUsed is what others have used, too: the sources of an address's prefix, and all who are not proven.
func wideUsed(s *config.Service, u *loader.WideUse, enforce bool) []api.LimitUse {
	p, l := &s.Limits.Prefix, &s.Limits.Service
	var all []api.LimitUse
	for _, x := range []struct {
		level, limit string
		value        uint64
		used         float64
		enforced     bool
	}{
		{api.LevelPrefix, "packets_per_second", p.PacketsPerSecond, u.Packets, isTrue(p.Enforce)},
		{api.LevelPrefix, "bytes_per_second", p.BytesPerSecond, u.Bytes, isTrue(p.Enforce)},
		{api.LevelPrefix, "new_sessions", uint64(p.NewSessions), u.News, isTrue(p.Enforce)},
		{api.LevelService, "packets_per_second", l.PacketsPerSecond, u.AllPackets, isTrue(l.Enforce)},
		{api.LevelService, "bytes_per_second", l.BytesPerSecond, u.AllBytes, isTrue(l.Enforce)},
		{api.LevelService, "new_sessions", uint64(l.NewSessions), u.AllNews, isTrue(l.Enforce)},
	} {
		if x.value == 0 {
			continue
		}
		use := api.LimitUse{Level: x.level, Service: s.Name, Limit: x.limit, Value: x.value, Used: x.used, Enforced: enforce && isTrue(s.Enforce) && x.enforced}
		if x.level == api.LevelPrefix {
			use.Source = u.Prefix.String()
		}
		all = append(all, use)
	}
	return all
}

// placeOf is where an address is; nil: nobody says.
func (e *Engine) placeOf(a netip.Addr) *api.Place {
	e.mu.Lock()
	places := e.places
	e.mu.Unlock()
	if places == nil {
		return nil
	}
	p, ok := places.db.Lookup(a)
	if !ok {
		return nil
	}
	return &api.Place{Country: p.Country, ASN: p.ASN, Network: p.Org}
}

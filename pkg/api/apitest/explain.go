// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"net/netip"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
)

// Explain says the same of each address but the blocked 203.0.113.7; every player is at 198.51.100.7.
func (e *Edge) Explain(_ context.Context, q api.ExplainQuery) (api.Explanation, error) {
	var player *string
	if q.Player != "" {
		q.Address, player = netip.MustParseAddr("198.51.100.7"), &q.Player
	}
	x := api.Explanation{
		Player: player, Address: q.Address, Time: Epoch(), Proven: true, Entries: []api.ListedEntry{}, Regular: []string{"arena"}, Place: &api.Place{Country: "DE", ASN: 3320, Network: "Example Net"},
		Sessions: sessions()[:1], Limits: []api.LimitUse{
			{Level: api.LevelSource, Service: "arena", Limit: "packets_per_second", Source: "198.51.100.7/32", Value: 1000, Used: 0.34, Enforced: true},
			{Level: api.LevelSource, Service: "craft", Limit: "new_sessions", Source: "198.51.100.7/32", Value: 10, Used: 0.9},
		},
		Drops: map[string]uint64{"rate_packets": 12}, WouldDrop: map[string]uint64{"rate_sessions": 1},
		Reasons: []api.DropReason{
			{Service: "arena", Reason: "rate_packets", Samples: 12, First: Epoch().Add(-time.Minute), Last: Epoch().Add(-3 * time.Second), Text: "more packets came than one player sends"},
			{Service: "craft", Reason: "rate_sessions", Would: true, Rule: 3, Samples: 1, First: Epoch().Add(-time.Hour), Last: Epoch().Add(-time.Hour), Text: "more connections were begun than one player needs"},
		},
		Last: []api.DroppedPacket{{
			Time: Epoch().Add(-3 * time.Second), Service: "arena", Reason: "rate_packets", Direction: "up", Length: 74,
			Packet: "udp 198.51.100.7:40001 > 203.0.113.10:27960", Header: "0200",
		}},
		Text: []string{"Your address 198.51.100.7 is not blocked.", "It is connected to arena."},
	}
	if q.Address == netip.MustParseAddr("203.0.113.7") {
		x.Blocked, x.Proven, x.Sessions, x.Reasons, x.Last, x.Limits, x.Place = true, false, nil, nil, nil, nil, nil
		x.Entries = []api.ListedEntry{{List: api.Block, Entry: blocklist.Entry{
			Prefix: netip.PrefixFrom(q.Address, 32), Reason: "griefing", Expires: new(Epoch().Add(time.Hour)), Service: "arena",
		}}}
		x.Text = []string{"Your address 203.0.113.7 is blocked until 2026-01-31 13:00 UTC."}
	}
	if q.Watch > 0 {
		x.Watched = &api.Watched{ForMS: q.Watch.Milliseconds(), Up: 600, Down: 1200, Dropped: 12, Would: 1}
	}
	return x, e.Fail
}

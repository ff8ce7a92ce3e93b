// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"net/netip"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/detect"
)

// ExplainBlock says that 203.0.113.7 is blocked by the detector, and of others that they are not.
func (e *Edge) ExplainBlock(_ context.Context, a netip.Addr) (api.BlockExplanation, error) {
	x := api.BlockExplanation{
		Address: a, Time: Epoch(), Entries: []api.ListedEntry{}, Decisions: []api.Evidence{}, Text: []string{"It is not blocked."},
		Standing: &detect.Standing{Source: netip.PrefixFrom(a, a.BitLen()), People: 1, Factors: []detect.Factor{}},
	}
	if a != netip.MustParseAddr("203.0.113.7") {
		return x, e.Fail
	}
	p, ends := netip.PrefixFrom(a, 32), Epoch().Add(8*time.Minute)
	x.Blocked, x.Text = true, []string{"203.0.113.7 is blocked by the detector for risk, for 8m more."}
	x.Entries = []api.ListedEntry{{List: api.Block, Entry: blocklist.Entry{Prefix: p, Reason: "risk", Source: blocklist.SourceDetect, Confidence: 1, Added: Epoch().Add(-2 * time.Minute), Expires: &ends, Hits: 812}}}
	x.Decisions = []api.Evidence{{
		Prefix: p, Scope: "all", Reason: "risk", Confidence: 1, At: Epoch().Add(-2 * time.Minute), Expires: ends, Level: 2, Acted: true, DelayMS: 3.5,
		Facts: []detect.Fact{{Name: "connections", Value: 12, Limit: 10, Text: "12 connections in 60 s, more than 10 (11 of them proved the address)"}},
		Text:  "12 connections in 60 s, more than 10 (11 of them proved the address); offence 2",
	}}
	x.Standing = &detect.Standing{
		Source: p, Known: true, Proven: true, People: 1, Risk: 1, RiskAll: 1, Connections: 12, Game: "minecraft_java", Nothing: 11, Destinations: 1, Blocked: true, Reason: "risk",
		Left: 8 * time.Minute, Offences: 2, Refused: 40, Factors: []detect.Factor{{Name: "connections", Value: 12, Limit: 10, Weight: 0.4, Holds: true}},
		Network: detect.Neighbours{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Active: 3, Nothing: 2, Flagged: 1, Players: 1},
	}
	return x, e.Fail
}

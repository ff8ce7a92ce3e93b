// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/event"
	"parry/pkg/history"
)

// Records are two sessions that ended: one that was blocked, and before it one that left by itself, of a name that wants to move the cursor.
func Records() []history.Record {
	front, server := netip.MustParseAddrPort("203.0.113.10:27960"), netip.MustParseAddrPort("10.0.1.11:27960")
	return []history.Record{
		{
			ID: "9f3a5c7711e0d2b4", Service: "arena", Protocol: "udp", Client: netip.MustParseAddrPort("203.0.113.7:40009"), Edge: front, Server: server, ServerName: "eu-1",
			Game: "quake3", Player: new("Grinder"), Start: Epoch().Add(-26 * time.Minute), End: Epoch().Add(-4 * time.Minute), DurationMS: 1_320_000, EndedBy: history.ByBlock,
			Proof: "strong", Up: &history.Way{Packets: 81_200, Bytes: 7_300_000, Loss: new(0.013), LongestGapMS: new(412.0)}, Down: &history.Way{Packets: 26_400, Bytes: 8_400_000, LongestGapMS: new(96.5)},
			Drops: map[string]uint64{"denied": 240},
		},
		{
			ID: "51b0c2aa90ffee01", Service: "craft", Protocol: "tcp", Client: netip.MustParseAddrPort("[2001:db8:5::1]:50002"), Edge: netip.MustParseAddrPort("[2001:db8::10]:25565"),
			Server: netip.MustParseAddrPort("[fd00::21]:25565"), Game: "minecraft_java", Player: new("Al\x1b[2Jex\u202e"), Start: Epoch().Add(-90 * time.Minute),
			End: Epoch().Add(-30 * time.Minute), DurationMS: 3_600_000, EndedBy: history.ByClient, Proof: "strong",
			Up: &history.Way{Packets: 1000, Bytes: 100_000}, Down: &history.Way{Packets: 2000, Bytes: 300_000},
		},
	}
}

// History is Records.
func (e *Edge) History(_ context.Context, f history.Filter) iter.Seq2[history.Record, error] {
	return func(yield func(history.Record, error) bool) {
		if e.Fail != nil {
			yield(history.Record{}, e.Fail)
			return
		}
		n := 0
		for _, r := range Records() {
			if f.Match(&r) && (f.Limit == 0 || n < f.Limit) {
				if n++; !yield(r, nil) {
					return
				}
			}
		}
	}
}

// Players are one who plays, and one who did.
func (e *Edge) Players(_ context.Context, f api.PlayerFilter) ([]api.Player, error) {
	all := []api.Player{{
		Name: new("Sarge"), Client: netip.MustParseAddr("198.51.100.7"), Service: "arena", Game: "quake3", Sessions: 1, Since: Epoch().Add(-754 * time.Second),
		LastSeen: Epoch().Add(-12 * time.Millisecond), Up: api.Traffic{Packets: 94250, Bytes: 8_482_500}, Down: api.Traffic{Packets: 15080, Bytes: 4_826_000},
	}}
	r := Records()[0]
	if f.Lately >= 4*time.Minute {
		all = append(all, api.Player{
			Name: r.Player, Client: r.Client.Addr(), Service: r.Service, Game: r.Game, Since: r.Start, LastSeen: r.End, EndedBy: &r.EndedBy,
			Up: api.Traffic{Packets: r.Up.Packets, Bytes: r.Up.Bytes}, Down: api.Traffic{Packets: r.Down.Packets, Bytes: r.Down.Bytes},
		})
	}
	return all[:min(len(all), 2*f.Limit)], e.Fail
}

// Player knows Grinder, and his address.
func (e *Edge) Player(_ context.Context, who string) (api.PlayerPage, error) {
	p := api.PlayerPage{
		Who: who, Time: Epoch(), Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.7")}, Names: []string{"Grinder"}, Sessions: []api.Session{}, History: Records()[:1],
		Entries: []api.ListedEntry{{List: api.Block, Entry: blocklist.Entry{
			Prefix: netip.MustParsePrefix("203.0.113.7/32"), Reason: "griefing", Expires: new(Epoch().Add(time.Hour)), Service: "arena",
		}}},
	}
	if who != "Grinder" && who != "203.0.113.7" {
		return p, api.Mark(api.ErrNotFound, fmt.Errorf("nothing is known of %q", who))
	}
	return p, e.Fail
}

// Past is that of Grinder, four minutes ago.
func (e *Edge) Past(_ context.Context, q api.PastQuery) (api.Past, error) {
	p := api.Past{
		At: q.At, AroundMS: api.PastAround.Milliseconds(), History: Records()[:1], Sessions: []api.Session{},
		Entries: []api.ListedEntry{{List: api.Block, Entry: blocklist.Entry{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Reason: "griefing", Added: Epoch().Add(-4 * time.Minute)}}},
		Reasons: []api.DropReason{{Service: "arena", Reason: "denied", Samples: 12, First: Epoch().Add(-4 * time.Minute), Last: Epoch().Add(-3 * time.Minute), Text: "the address is blocked"}},
		Events:  []event.Event{{Time: Epoch().Add(-4 * time.Minute), Type: event.BlockAdd, Text: "blocked 203.0.113.7: griefing"}},
		Attacks: attacks()[:1], Unknown: []string{"sessions that only asked for the server's status, or never proved their address: they are counted, and not recorded"},
		Text: []string{"The address 203.0.113.7 was connected to arena from 11:34:00 UTC until 11:56:00 UTC; then the address was blocked."},
	}
	if q.Player != "" {
		p.Player = &q.Player
	} else {
		p.Address = &q.Address
	}
	return p, e.Fail
}

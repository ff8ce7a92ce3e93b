// SPDX-License-Identifier: Apache-2.0

// Package history keeps a record of each session that ended, on disk, bounded by time and by bytes: lines of JSON in segments that are
// removed whole. It starts nothing by itself: who writes calls Append and Tend now and then, and anybody may ask meanwhile.
package history

import (
	"bytes"
	"net/netip"
	"strings"
	"time"
)

// Record is one session that ended. Null is unknown, not 0.
type Record struct {
	ID         string            `json:"id"` // of its tuple, as it had while it lived
	Service    string            `json:"service"`
	Protocol   string            `json:"protocol"` // udp or tcp
	Client     netip.AddrPort    `json:"client"`
	Edge       netip.AddrPort    `json:"edge"` // what the player sent to
	Server     netip.AddrPort    `json:"server"`
	ServerName string            `json:"server_name"` // "": no server of that address was configured as it ended
	Game       string            `json:"game"`
	Player     *string           `json:"player"` // as the client called itself; null where the protocol doesn't say, or nobody read it
	Start      time.Time         `json:"start"`
	End        time.Time         `json:"end"` // when its last packet passed
	DurationMS int64             `json:"duration_ms"`
	EndedBy    string            `json:"ended_by"`
	Proof      string            `json:"proof"` // of the client's address: weak, lasting or strong
	Up         *Way              `json:"up"`    // from the player; null where the edge doesn't see this direction
	Down       *Way              `json:"down"`
	Drops      map[string]uint64 `json:"drops"` // packets by reason; null where it was not watched
}

// Way is one direction of a session.
type Way struct {
	Packets      uint64   `json:"packets"`
	Bytes        uint64   `json:"bytes"`
	Loss         *float64 `json:"loss"`           // share of 0 to 1, of its last 30 s; null where it was not watched, or can't be read
	LongestGapMS *float64 `json:"longest_gap_ms"` // of its last 30 s; null where it was not watched
}

// Filter picks records; a zero field matches all.
type Filter struct {
	ID      string
	Service string
	Client  netip.Prefix
	Server  string // a server's name, address or address:port
	Game    string
	Player  string // whole, in whatever case
	EndedBy string
	Since   time.Time // that had not ended before
	Until   time.Time // that had begun by then
	Limit   int       // at most so many; 0 = all
}

// Match says if a record is picked, the limit aside.
func (f *Filter) Match(r *Record) bool {
	return (f.ID == "" || f.ID == r.ID) &&
		(f.Service == "" || f.Service == r.Service) &&
		(!f.Client.IsValid() || f.Client.Contains(r.Client.Addr())) &&
		(f.Server == "" || strings.EqualFold(f.Server, r.ServerName) || f.Server == r.Server.Addr().String() || f.Server == r.Server.String()) &&
		(f.Game == "" || f.Game == r.Game) &&
		(f.Player == "" || r.Player != nil && strings.EqualFold(f.Player, *r.Player)) &&
		(f.EndedBy == "" || f.EndedBy == r.EndedBy) &&
		f.within(r.Start, r.End)
}

// within says if what went on from first to last overlaps the time that is asked about.
func (f *Filter) within(first, last time.Time) bool {
	return (f.Since.IsZero() || !last.Before(f.Since)) && (f.Until.IsZero() || !first.After(f.Until))
}

// needle is text that the line of each picked record holds: to look for it is a tenth of the work of reading the line.
func (f *Filter) needle() string {
	switch {
	case f.ID != "":
		return f.ID
	case f.Client.IsValid() && f.Client.IsSingleIP() && f.Client.Addr().Is4():
		return `"client":"` + f.Client.Addr().String() + ":"
	case f.Client.IsValid() && f.Client.IsSingleIP():
		return `"client":"[` + f.Client.Addr().String() + "]:"
	case f.EndedBy != "" && plain(f.EndedBy):
		return `"ended_by":"` + f.EndedBy + `"`
	case f.Service != "" && plain(f.Service):
		return `"service":"` + f.Service + `"`
	}
	return ""
}

// maybe says of a line, cheaply, if the record may be picked.
func (f *Filter) maybe(line, needle []byte) bool {
	if len(needle) > 0 && !bytes.Contains(line, needle) {
		return false
	}
	if f.Player == "" || !plain(f.Player) {
		return true
	}
	const key = `"player":"`
	at, n := bytes.Index(line, []byte(key))+len(key), len(f.Player)
	return at >= len(key) && len(line) > at+n && line[at+n] == '"' && strings.EqualFold(string(line[at:at+n]), f.Player)
}

// plain says that JSON writes it as it is.
func plain(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0
}

// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"parry/pkg/blocklist"
)

// ExplainWatchMax is the longest that an address may be watched for.
const ExplainWatchMax = 45 * time.Second

// Explanation is what the edge knows of an address and does with it, at one moment. Of IPv6 the limits and what was dropped are those of
// its /64.
type Explanation struct {
	Address   netip.Addr        `json:"address"`
	Player    *string           `json:"player"` // whose address that is, if a player was asked about
	Time      time.Time         `json:"time"`
	Blocked   bool              `json:"blocked"` // by an entry for all services or one, where nothing allows it
	Allowed   bool              `json:"allowed"`
	Proven    bool              `json:"proven"`   // some session of its is
	Entries   []ListedEntry     `json:"entries"`  // of both lists, that hold for it
	Sessions  []Session         `json:"sessions"` // at most 100
	Regular   []string          `json:"regular"`  // services that it has played on
	Place     *Place            `json:"place"`    // null where the edge has no files that say, or they don't
	Limits    []LimitUse        `json:"limits"`
	Drops     map[string]uint64 `json:"drops"`      // samples of what was dropped lately, by reason: one a second at most, unless it was watched
	WouldDrop map[string]uint64 `json:"would_drop"` // the same, where policy only watches
	Reasons   []DropReason      `json:"reasons"`    // the latest first
	Last      []DroppedPacket   `json:"last"`       // packets that were dropped, or would have been; the latest first
	Watched   *Watched          `json:"watched"`    // null unless it was asked for
	Text      []string          `json:"text"`       // sentences for the player
}

// ListedEntry is an entry of one of the two lists.
type ListedEntry struct {
	List  Kind            `json:"list"` // block or allow
	Entry blocklist.Entry `json:"entry"`
}

// Place is where an address is, as the files say that the operator gave.
type Place struct {
	Country string `json:"country"` // ISO 3166 alpha-2; "" = not known
	ASN     uint32 `json:"asn"`     // 0 = not known
	Network string `json:"network"` // whose that is
}

// The levels of limits.
const (
	LevelSource  = "source"
	LevelPrefix  = "prefix"  // all sources of a network together
	LevelService = "service" // all who are not proven
)

// LimitUse is how much of a limit is used up.
type LimitUse struct {
	Level    string  `json:"level"` // source, prefix or service
	Service  string  `json:"service"`
	Limit    string  `json:"limit"`  // its key in the configuration: packets_per_second, bytes_per_second, new_sessions or sessions
	Source   string  `json:"source"` // address or prefix that is counted together; "" = all
	Value    uint64  `json:"value"`  // as configured
	Used     float64 `json:"used"`   // share of what may come at once, 0 to 1
	Enforced bool    `json:"enforced"`
	Shared   bool    `json:"shared,omitempty"` // players share the address: value is limits.source.shared.factor times what is configured
}

// DropReason is why packets of an address were dropped lately.
type DropReason struct {
	Service string    `json:"service"` // "" = none: traffic to the edge itself
	Reason  string    `json:"reason"`
	Would   bool      `json:"would"` // they were not: policy only watches
	Rule    uint32    `json:"rule,omitempty"`
	Samples uint64    `json:"samples"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Text    string    `json:"text"` // what that means
}

// DroppedPacket is one of them.
type DroppedPacket struct {
	Time      time.Time `json:"time"`
	Service   string    `json:"service"`
	Reason    string    `json:"reason"`
	Would     bool      `json:"would"`
	Direction string    `json:"direction"` // up: from the player; down
	Length    uint32    `json:"length"`    // bytes of its frame
	Packet    string    `json:"packet"`    // protocol, source and destination
	Header    string    `json:"header"`    // the beginning of its frame, in hexadecimal
}

// Watched is what came and went while an address was watched.
type Watched struct {
	ForMS   int64  `json:"for_ms"`
	Up      uint64 `json:"up"`   // packets from it, dropped ones included
	Down    uint64 `json:"down"` // to it
	Dropped uint64 `json:"dropped"`
	Would   uint64 `json:"would_drop"`
	Lost    uint64 `json:"lost"` // that matched and were not counted here
}

// ExplainQuery says what to explain.
type ExplainQuery struct {
	Address netip.Addr
	Player  string        // in place of an address: the one that he plays from, or played from last
	Watch   time.Duration // look at each packet for so long first; at most ExplainWatchMax
}

func (s *HTTPServer) explain(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "address", "player", "watch"); err != nil {
		return err
	}
	v := r.URL.Query()
	var q ExplainQuery
	var err error
	if q.Address, q.Player, err = whoParams(v); err != nil {
		return err
	}
	if t := v.Get("watch"); t != "" {
		if q.Watch, err = time.ParseDuration(t); err != nil || q.Watch < 0 || q.Watch > ExplainWatchMax {
			return invalidf("watch=%q is no duration of at most %v", t, ExplainWatchMax)
		}
	}
	e, err := s.edge.Explain(r.Context(), q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, e)
}

// Explain asks what becomes of an address, and why.
func (c *Client) Explain(ctx context.Context, q ExplainQuery) (Explanation, error) {
	v := whoQuery(q.Address, q.Player)
	if q.Watch > 0 {
		v.Set("watch", q.Watch.String())
	}
	var e Explanation
	err := c.call(ctx, http.MethodGet, "/v1/explain", v, nil, &e)
	return e, err
}

// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"parry/pkg/attack"
	"parry/pkg/event"
	"parry/pkg/history"
)

// PastAround is how long before and after the time that is asked about things are told.
const PastAround = 10 * time.Minute

// maxWho is the most bytes that the name of a player has in a question.
const maxWho = 256

// PastQuery says whom and when to explain.
type PastQuery struct {
	Address netip.Addr
	Player  string // in place of an address
	At      time.Time
}

// Past is what was so of an address or a player at another time, and around it, as far as is known.
type Past struct {
	Address  *netip.Addr      `json:"address"` // null: a player was asked about
	Player   *string          `json:"player"`
	At       time.Time        `json:"at"`
	AroundMS int64            `json:"around_ms"` // what was so within so long of it is told as well
	History  []history.Record `json:"history"`   // sessions that went on then, and have ended; at most 100, those that ended last first
	Sessions []Session        `json:"sessions"`  // that went on then, and still do; at most 100
	Entries  []ListedEntry    `json:"entries"`   // that hold now, and were there by then
	Reasons  []DropReason     `json:"reasons"`   // of its packets that were dropped then, as far as samples are remembered; null: nothing is
	Events   []event.Event    `json:"events"`    // about it, its services and the edge, since the daemon started
	Attacks  []attack.Record  `json:"attacks"`   // that went on then, on the services that it played on; on any where none is known
	Unknown  []string         `json:"unknown"`   // what can't be told, and why
	Text     []string         `json:"text"`      // sentences
}

// whoParams is an address or a player, one of the two.
func whoParams(v url.Values) (a netip.Addr, player string, err error) {
	addr, player := v.Get("address"), v.Get("player")
	switch {
	case (addr == "") == (player == ""):
		return a, "", invalidf("say whom: address or player")
	case len(player) > maxWho:
		return a, "", invalidf("player has %d bytes, at most %d", len(player), maxWho)
	case player != "":
		return a, player, nil
	}
	if a, err = netip.ParseAddr(addr); err != nil || a.Zone() != "" {
		return a, "", invalidf("address=%q is no address", addr)
	}
	return a.Unmap(), "", nil
}

func whoQuery(a netip.Addr, player string) url.Values {
	if player != "" {
		return url.Values{"player": {player}}
	}
	return url.Values{"address": {a.String()}}
}

func (s *HTTPServer) past(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "address", "player", "at"); err != nil {
		return err
	}
	v := r.URL.Query()
	var q PastQuery
	var err error
	if q.Address, q.Player, err = whoParams(v); err != nil {
		return err
	}
	if q.At, err = timeParam(v, "at"); err != nil {
		return err
	}
	if now := s.opt.Now(); q.At.IsZero() || q.At.After(now) {
		return invalidf("at=%q: want a time that is over, like %s", v.Get("at"), now.Add(-time.Hour).UTC().Format(time.RFC3339))
	}
	p, err := s.edge.Past(r.Context(), q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, p)
}

// Past asks what was so at another time.
func (c *Client) Past(ctx context.Context, q PastQuery) (Past, error) {
	v := whoQuery(q.Address, q.Player)
	v.Set("at", q.At.UTC().Format(time.RFC3339Nano))
	var p Past
	err := c.call(ctx, http.MethodGet, "/v1/past", v, nil, &p)
	return p, err
}

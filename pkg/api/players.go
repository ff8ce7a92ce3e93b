// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"parry/pkg/history"
)

// Bounds of what is told of players.
const (
	LatelyMax      = 24 * time.Hour
	defaultLately  = 15 * time.Minute
	PlayerSessions = 100 // that a page has
	PlayerHistory  = 50  // records that a page has

	PlayerAddresses = 16 // whose entries a page has

	maxPlayers = 10_000
)

// Player is somebody at one service, from one address: by the name that the protocol tells, else by that address.
type Player struct {
	Name     *string    `json:"name"` // as the client called itself; null where the protocol doesn't say, or nobody read it
	Client   netip.Addr `json:"client"`
	Service  string     `json:"service"`
	Game     string     `json:"game"`
	Sessions int        `json:"sessions"`  // proven ones that go on; 0: he was seen lately, and what follows is of his last session
	Since    time.Time  `json:"since"`     // when the first of them began
	LastSeen time.Time  `json:"last_seen"` // when the last packet passed
	Up       Traffic    `json:"up"`        // from the player, in these sessions
	Down     Traffic    `json:"down"`
	EndedBy  *string    `json:"ended_by"` // of who was seen lately; null of who plays
}

// PlayerFilter picks players; a zero field matches all.
type PlayerFilter struct {
	Name    string // whole, in whatever case
	Client  netip.Prefix
	Service string
	Lately  time.Duration // also those whose last session ended within that; 0: only those who play
	Limit   int           // at most so many of those who play, and as many of those who did; 1 to 10,000
}

// PlayerPage is what is known of one.
type PlayerPage struct {
	Who       string           `json:"who"`
	Time      time.Time        `json:"time"`
	Addresses []netip.Addr     `json:"addresses"` // that he plays from, or did as far as history tells here
	Names     []string         `json:"names"`     // that he calls himself
	Sessions  []Session        `json:"sessions"`  // at most 100
	History   []history.Record `json:"history"`   // at most 50, those that ended last first
	Entries   []ListedEntry    `json:"entries"`   // of both lists, that hold for these addresses
}

// Meet adds an address and a name that the player was met with.
func (p *PlayerPage) Meet(a netip.Addr, name *string) {
	if !slices.Contains(p.Addresses, a) {
		p.Addresses = append(p.Addresses, a)
	}
	if name != nil && !slices.Contains(p.Names, *name) {
		p.Names = append(p.Names, *name)
	}
}

func (s *HTTPServer) players(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "player", "client", "service", "lately", "limit"); err != nil {
		return err
	}
	q := r.URL.Query()
	f := PlayerFilter{Name: q.Get("player"), Service: q.Get("service"), Lately: defaultLately}
	var err error
	if f.Client, err = clientParam(q); err != nil {
		return err
	}
	if f.Limit, err = limitParam(q, defaultLimit); err != nil {
		return err
	}
	if f.Limit == 0 || f.Limit > maxPlayers {
		return invalidf("limit=%d is not within 1 and %d", f.Limit, maxPlayers)
	}
	if v := q.Get("lately"); v != "" {
		if f.Lately, err = time.ParseDuration(v); err != nil || f.Lately < 0 || f.Lately > LatelyMax {
			return invalidf("lately=%q is no duration of at most %v", v, LatelyMax)
		}
	}
	list, err := s.edge.Players(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nonNil(list))
}

func (s *HTTPServer) player(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "who"); err != nil {
		return err
	}
	who := r.URL.Query().Get("who")
	if who == "" || len(who) > maxWho {
		return invalidf("who: want a name or an address, of at most %d bytes", maxWho)
	}
	page, err := s.edge.Player(r.Context(), who)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page)
}

// Players lists those who play, and those who did lately.
func (c *Client) Players(ctx context.Context, f PlayerFilter) ([]Player, error) {
	q := url.Values{"lately": {f.Lately.String()}, "limit": {strconv.Itoa(f.Limit)}}
	if f.Name != "" {
		q.Set("player", f.Name)
	}
	if f.Service != "" {
		q.Set("service", f.Service)
	}
	if f.Client.IsValid() {
		q.Set("client", f.Client.String())
	}
	var list []Player
	err := c.call(ctx, http.MethodGet, "/v1/players", q, nil, &list)
	return list, err
}

// Player asks what is known of one.
func (c *Client) Player(ctx context.Context, who string) (PlayerPage, error) {
	var p PlayerPage
	err := c.call(ctx, http.MethodGet, "/v1/player", url.Values{"who": {who}}, nil, &p)
	return p, err
}

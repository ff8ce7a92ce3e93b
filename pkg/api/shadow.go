// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// ShadowReport is what policy would have dropped where it only watches, and what of it may be switched on.
type ShadowReport struct {
	Time        time.Time     `json:"time"`
	SourceError float64       `json:"source_error"` // standard error of rows' sources, as a share of them
	Rows        []ShadowRow   `json:"rows"`
	Things      []ShadowThing `json:"things"`
}

// ShadowRow is what would have been dropped of one service for one reason, since the maps were made.
type ShadowRow struct {
	Service string `json:"service"` // "" = traffic of no service
	Reason  string `json:"reason"`
	What    string `json:"what"`    // that would drop it, as promote takes it
	Packets uint64 `json:"packets"` // exact
	Bytes   uint64 `json:"bytes"`
	Sources uint64 `json:"sources"` // an estimate
	Players uint64 `json:"players"` // sources among them that proved to be players: strongly, or by playing for a while
}

// What a ShadowThing does.
const (
	ShadowWatches  = "watches"  // it counts, and drops nothing
	ShadowTrial    = "trial"    // it was promoted, and is rolled back if it hits players
	ShadowPromoted = "promoted" // it was promoted, and drops
)

// ShadowThing is something that only watches by the configuration: all, a service, or a part of a service's policy.
type ShadowThing struct {
	What       string     `json:"what"` // all, SERVICE, or SERVICE/ and gate, limits, prefix or service
	State      string     `json:"state"`
	Since      *time.Time `json:"since"` // when it was promoted; null if it was not
	Until      *time.Time `json:"until"` // when its trial ends; null if it is on none
	MaxPlayers uint64     `json:"max_players"`
	Hit        uint64     `json:"hit"` // players that it has dropped packets of on its trial
}

// ShadowPromotion asks to switch something on.
type ShadowPromotion struct {
	What       string `json:"what"`
	ForMS      int64  `json:"for_ms"`      // how long it is on trial; 0 = not at all
	MaxPlayers uint64 `json:"max_players"` // that it may hit on its trial; one more, and it only watches again
}

// What a promotion is by default, and at most.
const (
	ShadowTrialTime    = 10 * time.Minute
	ShadowTrialLongest = 7 * 24 * time.Hour
	ShadowMaxPlayers   = 3
)

func (s *HTTPServer) shadow(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "service"); err != nil {
		return err
	}
	rep, err := s.edge.Shadow(r.Context(), r.URL.Query().Get("service"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, rep)
}

func (s *HTTPServer) promote(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	var p ShadowPromotion
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return invalidf("the body is no promotion: %v", err)
	}
	if p.ForMS < 0 || p.ForMS > ShadowTrialLongest.Milliseconds() {
		return invalidf("for_ms=%d is not between 0 and %d", p.ForMS, ShadowTrialLongest.Milliseconds())
	}
	t, err := s.edge.Promote(r.Context(), p)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, t)
}

func (s *HTTPServer) rollBack(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "what"); err != nil {
		return err
	}
	if err := s.edge.RollBack(r.Context(), r.URL.Query().Get("what")); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}

// Shadow asks what policy would have dropped, of one service or (empty) all.
func (c *Client) Shadow(ctx context.Context, service string) (ShadowReport, error) {
	q := url.Values{}
	if service != "" {
		q.Set("service", service)
	}
	var rep ShadowReport
	err := c.call(ctx, http.MethodGet, "/v1/shadow", q, nil, &rep)
	return rep, err
}

// Promote switches on what only watches.
func (c *Client) Promote(ctx context.Context, p ShadowPromotion) (ShadowThing, error) {
	var t ShadowThing
	err := c.call(ctx, http.MethodPost, "/v1/shadow", nil, p, &t)
	return t, err
}

// RollBack has something that was promoted only watch again.
func (c *Client) RollBack(ctx context.Context, what string) error {
	return c.call(ctx, http.MethodDelete, "/v1/shadow", url.Values{"what": {what}}, nil, &struct{}{})
}

// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"parry/pkg/detect"
)

// Evidence is one decision of the detector's, and what it rests on.
type Evidence struct {
	Prefix     netip.Prefix  `json:"prefix"`
	Service    string        `json:"service"` // "" = all
	Scope      string        `json:"scope"`   // all: it is on the block list; unproven: it has to prove its address strongly before anything of it gets in
	Reason     string        `json:"reason"`
	Confidence float64       `json:"confidence"`
	At         time.Time     `json:"at"`
	Expires    time.Time     `json:"expires"`
	Level      int           `json:"level"`   // how many offences there were, this one included; 0 = it is none
	Players    int           `json:"players"` // who played there then
	Facts      []detect.Fact `json:"facts"`
	Text       string        `json:"text"`
	Acted      bool          `json:"acted"`    // false: the detector only watched
	Lifted     bool          `json:"lifted"`   // a person took it back
	DelayMS    float64       `json:"delay_ms"` // from the packet that completed the evidence until it held
}

// BlockExplanation is why an address is blocked, or was, or how far it is from it.
type BlockExplanation struct {
	Address   netip.Addr       `json:"address"`
	Time      time.Time        `json:"time"`
	Blocked   bool             `json:"blocked"` // by an entry for all services or one, where nothing allows it
	Allowed   bool             `json:"allowed"`
	Entries   []ListedEntry    `json:"entries"`   // of both lists, that hold for it
	Decisions []Evidence       `json:"decisions"` // of the detector, about it or its network, the latest first; those that are over for a day
	Standing  *detect.Standing `json:"standing"`  // what the detector knows of it now; null where it is off
	Text      []string         `json:"text"`
}

func (s *HTTPServer) explainBlock(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "address"); err != nil {
		return err
	}
	word := r.URL.Query().Get("address")
	a, err := netip.ParseAddr(word)
	if err != nil || a.Zone() != "" {
		return invalidf("address=%q is no address", word)
	}
	e, err := s.edge.ExplainBlock(r.Context(), a.Unmap())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, e)
}

// ExplainBlock asks why an address is blocked.
func (c *Client) ExplainBlock(ctx context.Context, a netip.Addr) (BlockExplanation, error) {
	var e BlockExplanation
	err := c.call(ctx, http.MethodGet, "/v1/blocks/explain", url.Values{"address": {a.String()}}, nil, &e)
	return e, err
}

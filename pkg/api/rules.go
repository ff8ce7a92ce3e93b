// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Rule is one of the operator's rules, and what it did.
type Rule struct {
	ID          uint32     `json:"id"`
	Expression  string     `json:"expression"`
	Action      string     `json:"action"`      // drop, limit:RATE, limit:RATE/source, count or pass
	Service     string     `json:"service"`     // "" = every service's
	Monitor     bool       `json:"monitor"`     // it only notes what it would do
	Established bool       `json:"established"` // it judges sessions' packets, too
	Added       time.Time  `json:"added"`
	Expires     *time.Time `json:"expires"` // null = never
	Packets     uint64     `json:"packets"` // that it was about
	Bytes       uint64     `json:"bytes"`
	Dropped     uint64     `json:"dropped"`    // of those
	WouldDrop   uint64     `json:"would_drop"` // of those, were the rule and policy enforced
}

// NewRule is what a rule is to be.
type NewRule struct {
	Expression  string     `json:"expression"`
	Action      string     `json:"action"`
	Service     string     `json:"service,omitempty"`
	Monitor     bool       `json:"monitor,omitempty"`
	Established bool       `json:"established,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Force       bool       `json:"force,omitempty"` // though it drops every packet of a service
}

// maxRule is the most bytes of a NewRule.
const maxRule = 16 << 10

func (s *HTTPServer) rules(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	list, err := s.edge.Rules(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nonNil(list))
}

func (s *HTTPServer) addRule(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	var n NewRule
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(&n)
	if err == nil && dec.More() {
		err = errors.New("more than one document")
	}
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return err
	case errors.Is(err, io.EOF):
		return invalidf("no rule came: send it as the body")
	case err != nil:
		return invalidf("that is no rule: %w", err)
	case n.Expires != nil && !n.Expires.After(s.opt.Now()):
		return invalidf("it expired at %s", n.Expires.Format(time.RFC3339))
	}
	made, err := s.edge.AddRule(r.Context(), n)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, made)
}

func (s *HTTPServer) delRule(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	id, err := strconv.ParseUint(r.PathValue("rule"), 10, 32)
	if err != nil {
		return invalidf("%q is no rule's number", r.PathValue("rule"))
	}
	if err := s.edge.DelRule(r.Context(), uint32(id)); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}

// Rules lists them in the order in which they judge.
func (c *Client) Rules(ctx context.Context) ([]Rule, error) {
	var list []Rule
	err := c.call(ctx, http.MethodGet, "/v1/rules", nil, nil, &list)
	return list, err
}

// AddRule adds one behind the others.
func (c *Client) AddRule(ctx context.Context, n NewRule) (Rule, error) {
	var made Rule
	err := c.call(ctx, http.MethodPost, "/v1/rules", nil, n, &made)
	return made, err
}

// DelRule removes one.
func (c *Client) DelRule(ctx context.Context, id uint32) error {
	return c.call(ctx, http.MethodDelete, "/v1/rules/"+strconv.FormatUint(uint64(id), 10), nil, nil, &struct{}{})
}

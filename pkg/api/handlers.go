// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"parry/pkg/blocklist"
)

// defaultLimit is how many sessions a listing holds unless the caller asks for more.
const defaultLimit = 1000

func (s *HTTPServer) status(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	st, err := s.edge.Status(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, st)
}

func (s *HTTPServer) sessions(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "id", "service", "client", "server", "player", "limit"); err != nil {
		return err
	}
	f, err := sessionFilter(r.URL.Query(), defaultLimit)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return writeArray(w, s.edge.PickSessions(r.Context(), f))
}

// endSessions wants a filter or all=1: an empty one is more likely a mistake than a wish.
func (s *HTTPServer) endSessions(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "id", "service", "client", "server", "player", "limit", "all"); err != nil {
		return err
	}
	q := r.URL.Query()
	f, err := sessionFilter(q, 0)
	if err != nil {
		return err
	}
	all, err := flagParam(q, "all")
	if err != nil {
		return err
	}
	if f.empty() && !all {
		return invalidf("say which sessions to end: id, service, client, server or player (or all=1)")
	}
	if all && !f.empty() {
		return invalidf("all=1 and a filter contradict each other: keep one")
	}
	n, err := s.edge.EndSessions(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, countBody{Ended: &n})
}

func (s *HTTPServer) servers(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	list, err := s.edge.Servers(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nonNil(list))
}

func (s *HTTPServer) who(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "edge", "proto"); err != nil {
		return err
	}
	q := r.URL.Query()
	addr, err := netip.ParseAddrPort(q.Get("edge"))
	if err != nil {
		return invalidf("edge=%q is not address:port (what the server sees as the player's)", q.Get("edge"))
	}
	proto := q.Get("proto")
	if proto != "udp" && proto != "tcp" {
		return invalidf("proto=%q is neither udp nor tcp", proto)
	}
	sess, err := s.edge.Who(r.Context(), proto, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, sess)
}

func (s *HTTPServer) reload(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	if err := s.edge.Reload(r.Context()); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}

// countBody says how many of what a call changed.
type countBody struct {
	Added   *int `json:"added,omitempty"`
	Removed *int `json:"removed,omitempty"`
	Ended   *int `json:"ended,omitempty"`
}

// params refuses parameters that the call doesn't know: a misspelt filter must not become no filter.
func params(r *http.Request, known ...string) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalidf("query: %w", err)
	}
	for k, v := range q {
		if !slices.Contains(known, k) {
			return invalidf("unknown parameter %q", k)
		}
		if len(v) > 1 && k != "prefix" {
			return invalidf("parameter %q is given %d times", k, len(v))
		}
	}
	return nil
}

func sessionFilter(q url.Values, limit int) (Filter, error) {
	f := Filter{ID: q.Get("id"), Service: q.Get("service"), Server: q.Get("server"), Player: q.Get("player")}
	var err error
	if f.Client, err = clientParam(q); err == nil {
		f.Limit, err = limitParam(q, limit)
	}
	return f, err
}

func clientParam(q url.Values) (p netip.Prefix, err error) {
	if c := q.Get("client"); c != "" {
		if p, err = blocklist.ParsePrefix(c); err != nil {
			return p, invalidf("client: %w", err)
		}
	}
	return p, nil
}

func limitParam(q url.Values, otherwise int) (int, error) {
	l := q.Get("limit")
	if l == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(l)
	if err != nil || n < 0 {
		return 0, invalidf("limit=%q is not a whole number from 0 (all) up", l)
	}
	return n, nil
}

// timeParam is a moment, to the millisecond; the zero time where none is given.
func timeParam(q url.Values, name string) (t time.Time, err error) {
	v := q.Get(name)
	if v == "" {
		return t, nil
	}
	if t, err = time.Parse(time.RFC3339, v); err != nil {
		return t, invalidf("%s=%q is no time like 2026-01-31T12:00:00Z", name, v)
	}
	return t, nil
}

// flagParam reads a switch: absent, 0 and false are off, 1 and true are on.
func flagParam(q url.Values, name string) (bool, error) {
	v := q.Get(name)
	if v == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, invalidf("%s=%q is neither 1 nor 0", name, v)
	}
	return on, nil
}

// nonNil makes an empty list [] rather than null.
func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

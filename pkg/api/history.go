// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"parry/pkg/history"
)

func (s *HTTPServer) history(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "id", "service", "client", "server", "player", "game", "ended_by", "since", "until", "limit"); err != nil {
		return err
	}
	f, err := historyFilter(r.URL.Query())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return writeArray(w, s.edge.History(r.Context(), f))
}

func historyFilter(q url.Values) (f history.Filter, err error) {
	f = history.Filter{
		ID: q.Get("id"), Service: q.Get("service"), Server: q.Get("server"), Player: q.Get("player"), Game: q.Get("game"), EndedBy: q.Get("ended_by"),
	}
	if known := history.EndedBy(); f.EndedBy != "" && !slices.Contains(known, f.EndedBy) {
		return f, invalidf("ended_by=%q is none of %s", f.EndedBy, strings.Join(known, ", "))
	}
	if f.Client, err = clientParam(q); err != nil {
		return f, err
	}
	if f.Since, err = timeParam(q, "since"); err != nil {
		return f, err
	}
	if f.Until, err = timeParam(q, "until"); err != nil {
		return f, err
	}
	if !f.Until.IsZero() && f.Until.Before(f.Since) {
		return f, invalidf("until is before since")
	}
	f.Limit, err = limitParam(q, defaultLimit)
	return f, err
}

// History yields records as the daemon streams them.
func (c *Client) History(ctx context.Context, f history.Filter) iter.Seq2[history.Record, error] {
	return streamArray[history.Record](ctx, c, "/v1/history", historyQuery(f))
}

// RawHistory yields the same as the daemon's own JSON, each on one line.
func (c *Client) RawHistory(ctx context.Context, f history.Filter) iter.Seq2[json.RawMessage, error] {
	return streamArray[json.RawMessage](ctx, c, "/v1/history", historyQuery(f))
}

func historyQuery(f history.Filter) url.Values {
	q := url.Values{"limit": {strconv.Itoa(f.Limit)}}
	for k, v := range map[string]string{"id": f.ID, "service": f.Service, "server": f.Server, "player": f.Player, "game": f.Game, "ended_by": f.EndedBy} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.Client.IsValid() {
		q.Set("client", f.Client.String())
	}
	for k, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			q.Set(k, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return q
}

// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"

	"parry/pkg/attack"
	"parry/pkg/event"
)

// maxEvent is the longest event in bytes that a client reads.
const maxEvent = 1 << 20

// Events yields events as the daemon sends them. When the daemon stops they end without an error; if it dies, with one.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		const path = "/v1/events"
		resp, err := c.open(ctx, http.MethodGet, path, q.values(), nil)
		if err != nil {
			yield(event.Event{}, err)
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxEvent)
		for lines.Scan() {
			e, ok, err := readEvent(lines.Bytes(), q.Beat > 0)
			if err != nil {
				yield(event.Event{}, c.broke(path, err))
				return
			}
			if ok && !yield(e, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil && ctx.Err() == nil {
			yield(event.Event{}, c.broke(path, err))
		}
	}
}

// readEvent reads a line of a stream. An event's data is one line and says all; a line that begins with a colon is a sign
// of life.
func readEvent(line []byte, beat bool) (e event.Event, ok bool, err error) {
	if beat && bytes.HasPrefix(line, []byte(":")) {
		return e, true, nil
	}
	data, ok := bytes.CutPrefix(line, []byte("data: "))
	if ok {
		err = json.Unmarshal(data, &e)
	}
	return e, ok, err
}

// Attacks lists attacks, the newest first.
func (c *Client) Attacks(ctx context.Context, f AttackFilter) ([]attack.Record, error) {
	q := url.Values{}
	for k, v := range map[string]string{"id": f.ID, "service": f.Service} {
		if v != "" {
			q.Set(k, v)
		}
	}
	var list []attack.Record
	err := c.call(ctx, http.MethodGet, "/v1/attacks", q, nil, &list)
	return list, err
}

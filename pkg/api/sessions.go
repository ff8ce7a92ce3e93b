// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// writeArray writes what a sequence yields as one JSON array, a line each. Nothing reaches w before an error that comes first.
func writeArray[T any](w io.Writer, seq iter.Seq2[T, error]) error {
	out := bufio.NewWriterSize(w, 64<<10)
	between, end := "[\n", "[]\n"
	for s, err := range seq {
		if err != nil {
			return err
		}
		doc, err := json.Marshal(&s)
		if err != nil {
			return fmt.Errorf("encode an answer: %w", err)
		}
		// A bufio.Writer keeps its first error: Flush returns it.
		_, _ = out.WriteString(between)
		if _, err := out.Write(doc); err != nil {
			return fmt.Errorf("send an answer: %w", err)
		}
		between, end = ",\n", "\n]\n"
	}
	_, _ = out.WriteString(end)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("send an answer: %w", err)
	}
	return nil
}

// PickSessions yields what the filter picks as the daemon streams it.
func (c *Client) PickSessions(ctx context.Context, f Filter) iter.Seq2[Session, error] {
	return streamArray[Session](ctx, c, "/v1/sessions", f.listing())
}

// RawSessions yields the same as the daemon's own JSON, each on one line: to hand on a million, nobody has to read them.
func (c *Client) RawSessions(ctx context.Context, f Filter) iter.Seq2[json.RawMessage, error] {
	return streamArray[json.RawMessage](ctx, c, "/v1/sessions", f.listing())
}

// listing are the parameters of a listing, which has a limit of its own where none is given.
func (f Filter) listing() url.Values {
	q := f.query()
	q.Set("limit", strconv.Itoa(f.Limit))
	return q
}

// streamArray yields the elements of a JSON array as the daemon sends them.
func streamArray[T any](ctx context.Context, c *Client, path string, q url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		resp, err := c.open(ctx, http.MethodGet, path, q, nil)
		if err != nil {
			yield(none, err)
			return
		}
		defer resp.Body.Close()
		dec := json.NewDecoder(bufio.NewReaderSize(resp.Body, 64<<10))
		if _, err = dec.Token(); err != nil { // [
			yield(none, c.broke(path, err))
			return
		}
		for dec.More() {
			var s T
			if err = dec.Decode(&s); err != nil {
				break
			}
			if !yield(s, nil) {
				return
			}
		}
		if err == nil {
			_, err = dec.Token() // ]
		}
		if err != nil {
			yield(none, c.broke(path, err))
		}
	}
}

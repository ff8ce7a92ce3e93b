// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"

	"parry/pkg/blocklist"
)

// Entries yields a list as the daemon streams it.
func (c *Client) Entries(ctx context.Context, kind Kind) iter.Seq2[blocklist.Entry, error] {
	return c.Pick(ctx, kind, EntryFilter{})
}

// errStop ends a stream that the caller reads no further.
var errStop = errors.New("stop")

// Pick is Entries filtered by the daemon.
func (c *Client) Pick(ctx context.Context, kind Kind, f EntryFilter) iter.Seq2[blocklist.Entry, error] {
	return func(yield func(blocklist.Entry, error) bool) {
		path := "/v1/" + kind.plural() + "/export"
		q := f.query()
		q.Set("format", blocklist.FormatJSONL)
		resp, err := c.open(ctx, http.MethodGet, path, q, nil)
		if err != nil {
			yield(blocklist.Entry{}, err)
			return
		}
		defer resp.Body.Close()
		_, bad, err := blocklist.Parse(resp.Body, blocklist.Entry{}, func(e blocklist.Entry) error {
			if !yield(e, nil) {
				return errStop
			}
			return nil
		})
		if err == nil && len(bad) > 0 {
			err = bad[0]
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(blocklist.Entry{}, c.broke(path, err))
		}
	}
}

// Export copies a list as the daemon writes it, in one of the formats of pkg/blocklist.
func (c *Client) Export(ctx context.Context, kind Kind, f EntryFilter, format string, w io.Writer) error {
	path := "/v1/" + kind.plural() + "/export"
	q := f.query()
	q.Set("format", format)
	resp, err := c.open(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return c.broke(path, err)
	}
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// Add writes entries, however wide their prefixes are: whether that is meant is for its caller to ask (CheckWide).
func (c *Client) Add(ctx context.Context, kind Kind, entries []blocklist.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	q := url.Values{}
	if slices.ContainsFunc(entries, func(e blocklist.Entry) bool { return CheckWide(kind, e.Prefix) != nil }) {
		q.Set("force", "1")
	}
	_, err := c.count(ctx, http.MethodPost, "/v1/"+kind.plural(), q, entries)
	return err
}

// Del removes entries and says how many there were.
func (c *Client) Del(ctx context.Context, kind Kind, keys []blocklist.Key) (int, error) {
	if len(keys) == 0 {
		return 0, nil
	}
	type key struct {
		Prefix  string `json:"prefix"`
		Service string `json:"service"`
	}
	named := make([]key, 0, len(keys))
	for _, k := range keys {
		named = append(named, key{Prefix: blocklist.FormatPrefix(k.Prefix), Service: k.Service})
	}
	return c.count(ctx, http.MethodDelete, "/v1/"+kind.plural(), nil, named)
}

// Import sends a list for the daemon to check and apply; see the function Import for what it does with bad lines.
// tell gets bad lines that were left out and progress; it may be nil.
func (c *Client) Import(ctx context.Context, kind Kind, r io.Reader, opt ImportOptions, tell func(ImportEvent) error) (ImportResult, error) {
	path := "/v1/" + kind.plural() + "/import"
	// A body that knows its length would be sent again on a lost connection: hide all but Read.
	resp, err := c.open(ctx, http.MethodPost, path, opt.query(), struct{ io.Reader }{r})
	if err != nil {
		return ImportResult{}, err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var ev ImportEvent
		if err := dec.Decode(&ev); err != nil {
			return ImportResult{}, c.broke(path, err)
		}
		switch {
		case ev.Error != "":
			return ImportResult{}, errors.New(ev.Error)
		case ev.Done != nil:
			return *ev.Done, nil
		case tell != nil:
			if err := tell(ev); err != nil {
				return ImportResult{}, err
			}
		}
	}
}

func (f EntryFilter) query() url.Values {
	q := url.Values{}
	if f.Service != "" {
		q.Set("service", f.Service)
	}
	if f.Prefix.IsValid() {
		q.Set("prefix", f.Prefix.String())
	}
	return q
}

// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"parry/pkg/blocklist"
)

// listHandlers serve one of the two lists.
type listHandlers struct {
	*HTTPServer
	kind Kind
}

// list streams the list as one JSON array.
func (l listHandlers) list(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "service", "prefix"); err != nil {
		return err
	}
	return l.stream(w, r, blocklist.FormatJSON)
}

// export streams the list as a file that import takes.
func (l listHandlers) export(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "service", "prefix", "format"); err != nil {
		return err
	}
	return l.stream(w, r, cmp.Or(r.URL.Query().Get("format"), blocklist.FormatText))
}

func (l listHandlers) stream(w http.ResponseWriter, r *http.Request, format string) error {
	filter, err := entryFilter(r.URL.Query())
	if err != nil {
		return err
	}
	switch format {
	case blocklist.FormatText:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	case blocklist.FormatJSON:
		w.Header().Set("Content-Type", "application/json")
	case blocklist.FormatJSONL:
		w.Header().Set("Content-Type", "application/x-ndjson")
	default:
		return invalidf("format=%q is none of text, json, jsonl", format)
	}
	return blocklist.Write(w, format, filter.Apply(l.edge.Entries(r.Context(), l.kind)))
}

// add takes an array of entries (or one entry) as export writes them; only the prefix must be there.
func (l listHandlers) add(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "force"); err != nil {
		return err
	}
	force, err := flagParam(r.URL.Query(), "force")
	if err != nil {
		return err
	}
	names, err := l.edge.ServiceNames(r.Context())
	if err != nil {
		return err
	}
	c, now := checker{kind: l.kind, services: names, force: force}, l.opt.Now()
	entries, err := l.parse(r, func(e *blocklist.Entry) error {
		// An import takes what is over, since backups hold such entries; here it is a mistake.
		if e.Expires != nil && !e.Expires.After(now) {
			return fmt.Errorf("it expired at %s", e.Expires.Format(time.RFC3339))
		}
		return c.check(e)
	})
	if err != nil {
		return err
	}
	if err := l.edge.Add(r.Context(), l.kind, entries); err != nil {
		return err
	}
	n := len(entries)
	return writeJSON(w, http.StatusOK, countBody{Added: &n})
}

// parse reads the entries of a body: all of them are good, or none is used.
func (l listHandlers) parse(r *http.Request, check func(*blocklist.Entry) error) ([]blocklist.Entry, error) {
	doc, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	if doc = bytes.TrimSpace(doc); len(doc) == 0 || doc[0] != '[' && doc[0] != '{' {
		return nil, invalidf(`the body is not JSON like [{"prefix": "203.0.113.7"}]`)
	}
	var entries []blocklist.Entry
	def := blocklist.Entry{Source: blocklist.SourceAPI, Confidence: 1, Added: l.opt.Now()}
	_, bad, err := blocklist.Parse(bytes.NewReader(doc), def, func(e blocklist.Entry) error {
		if err := check(&e); err != nil {
			return invalidf("%s: %w", blocklist.FormatPrefix(e.Prefix), err)
		}
		if len(entries) == MaxBatch {
			return invalidf("more than %d entries: send them in several calls", MaxBatch)
		}
		entries = append(entries, e)
		return nil
	})
	switch {
	case err != nil:
		return nil, Mark(ErrInvalid, err)
	case len(bad) > 0:
		return nil, &ImportError{Lines: badLines(bad), Bad: len(bad)}
	case !json.Valid(doc): // Parse takes objects one after the other too
		return nil, invalidf("the body is not one JSON document")
	}
	return entries, nil
}

// del removes the entries of the prefixes named in the address, each for the service (none: those of all services),
// or of a body like that of add.
func (l listHandlers) del(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "prefix", "service"); err != nil {
		return err
	}
	q := r.URL.Query()
	var keys []blocklist.Key
	for _, text := range q["prefix"] {
		p, err := blocklist.ParsePrefix(text)
		if err != nil {
			return Mark(ErrInvalid, err)
		}
		keys = append(keys, blocklist.Key{Prefix: p, Service: q.Get("service")})
	}
	if len(keys) == 0 {
		if q.Has("service") {
			return invalidf("service goes with prefix: a body says the service of each of its entries")
		}
		entries, err := l.parse(r, func(*blocklist.Entry) error { return nil })
		if err != nil {
			return fmt.Errorf("say which entries to remove, by prefix=203.0.113.7 or in a body: %w", err)
		}
		for i := range entries {
			keys = append(keys, entries[i].Key())
		}
	}
	n, err := l.edge.Del(r.Context(), l.kind, keys)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, countBody{Removed: &n})
}

func entryFilter(q url.Values) (EntryFilter, error) {
	f := EntryFilter{Service: q.Get("service")}
	switch ps := q["prefix"]; len(ps) {
	case 0:
		return f, nil
	case 1:
		p, err := blocklist.ParsePrefix(ps[0])
		f.Prefix = p
		return f, Mark(ErrInvalid, err)
	default:
		return f, invalidf("parameter \"prefix\" is given %d times", len(ps))
	}
}

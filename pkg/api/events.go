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
	"strings"
	"time"

	"parry/pkg/event"
)

// beatEvery is how often a stream says that it is still there while nothing happens: far more often than a stall would end it.
const beatEvery = 15 * time.Second

// EventQuery says which events to read. Without After and Since they are those to come or, if there is no Follow, all there are.
type EventQuery struct {
	After  string        // behind the event of this ID
	Since  time.Time     // what is still there from this time on
	Types  []string      // of these types or groups of types; none = all
	Follow bool          // wait for more until ctx ends, or the daemon
	Beat   time.Duration // yield a zero Event at once, and after so long without any; 0 = never
}

// match says if an event is asked for. What a reader lost is always told.
func (q *EventQuery) match(e *event.Event) bool {
	return len(q.Types) == 0 || e.Type == event.Lost || slices.ContainsFunc(q.Types, e.Is)
}

// ReadEvents yields what a query asks of a log: what an Edge answers Events by.
func ReadEvents(ctx context.Context, log *event.Log, q EventQuery) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		r, err := readerOf(log, &q)
		if err != nil {
			yield(event.Event{}, Mark(ErrInvalid, err))
			return
		}
		if q.Beat > 0 && !yield(event.Event{}, nil) {
			return
		}
		said := time.Now() // when something was last yielded
		for q.Follow || r.Ready() {
			e, err := nextOrBeat(ctx, r, q.Beat, said)
			switch {
			case errors.Is(err, event.ErrEnded), ctx.Err() != nil:
				return
			case err != nil:
				yield(event.Event{}, err)
				return
			case e.Type != "" && !q.match(&e):
				continue
			}
			if !yield(e, nil) {
				return
			}
			said = time.Now()
		}
	}
}

func readerOf(log *event.Log, q *EventQuery) (*event.Reader, error) {
	switch {
	case q.After != "":
		return log.After(q.After)
	case q.Since.IsZero() && q.Follow:
		return log.Now(), nil
	}
	return log.Since(q.Since), nil
}

// nextOrBeat is the next event, or a zero one when it is time for a sign of life.
func nextOrBeat(ctx context.Context, r *event.Reader, beat time.Duration, said time.Time) (event.Event, error) {
	if beat == 0 {
		return r.Next(ctx)
	}
	wait, cancel := context.WithDeadline(ctx, said.Add(beat))
	defer cancel()
	e, err := r.Next(wait)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return event.Event{}, nil
	}
	return e, err
}

// events streams events as server-sent ones: a browser's EventSource can read them, and goes on where it was by itself.
func (s *HTTPServer) events(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "after", "since", "type", "follow"); err != nil {
		return err
	}
	q, err := s.eventQuery(r)
	if err != nil {
		return err
	}
	begun := false
	for e, err := range s.edge.Events(r.Context(), q) {
		if err != nil {
			return err
		}
		if !begun {
			beginEvents(w)
			begun = true
		}
		if err := writeEvent(w, &e); err != nil {
			return err
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return fmt.Errorf("send events: %w", err)
		}
	}
	if !begun {
		beginEvents(w)
	}
	return nil
}

func beginEvents(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
}

func (s *HTTPServer) eventQuery(r *http.Request) (EventQuery, error) {
	v := r.URL.Query()
	q := EventQuery{After: v.Get("after"), Beat: beatEvery}
	if q.After == "" {
		q.After = r.Header.Get("Last-Event-ID")
	}
	var err error
	if q.Follow, err = flagParam(v, "follow"); err != nil {
		return q, err
	}
	if t := v.Get("type"); t != "" {
		q.Types = strings.Split(t, ",")
	}
	if t := v.Get("since"); t != "" {
		if q.Since, err = sinceParam(t, s.opt.Now()); err != nil {
			return q, err
		}
	}
	return q, nil
}

// sinceParam reads a time, or how long ago it was.
func sinceParam(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, invalidf("since=%q is neither a time like 2026-01-31T12:00:00Z nor a duration like 10m", text)
}

// writeEvent writes one event; a zero one is a line that readers skip.
func writeEvent(w io.Writer, e *event.Event) error {
	if e.Type == "" {
		_, err := io.WriteString(w, ": nothing happens\n\n")
		return err
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	id := ""
	if e.ID != "" {
		id = "id: " + e.ID + "\n"
	}
	_, err = fmt.Fprintf(w, "%sevent: %s\ndata: %s\n\n", id, e.Type, doc)
	return err
}

func (q *EventQuery) values() url.Values {
	v := url.Values{}
	if q.After != "" {
		v.Set("after", q.After)
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if len(q.Types) > 0 {
		v.Set("type", strings.Join(q.Types, ","))
	}
	if q.Follow {
		v.Set("follow", "1")
	}
	return v
}

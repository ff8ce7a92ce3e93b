// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/event"
)

// happening is an edge with an empty log.
func happening() *apitest.Edge {
	e := apitest.World()
	e.Log = event.New(64, time.Now)
	return e
}

func TestEventsComeAsTheyHappen(t *testing.T) {
	edge := happening()
	c := serve(t, edge)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var got []string
	began := false
	for e, err := range c.Events(ctx, api.EventQuery{Follow: true, Types: []string{"attack", "reload"}, Beat: time.Second}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Type == "" && !began: // the stream is there
			began = true
			for _, kind := range []string{event.AttackStart, event.BlockAdd, event.Reload, event.AttackEnd} {
				edge.Log.Publish(event.Event{Type: kind, Service: "arena", Text: kind, Data: map[string]any{"n": 7}})
			}
		case e.Type != "":
			got = append(got, e.Type)
			if e.ID == "" || e.Time.IsZero() || e.Service != "arena" || e.Text != e.Type || e.Data["n"] != 7.0 {
				t.Errorf("it came as %+v", e)
			}
		}
		if len(got) == 3 {
			edge.Log.End() // the daemon stops: the stream ends without an error
		}
	}
	if diff := cmp.Diff([]string{event.AttackStart, event.Reload, event.AttackEnd}, got); diff != "" || ctx.Err() != nil {
		t.Errorf("%v (-want +got):\n%s", ctx.Err(), diff)
	}
}

// A client asks for what it knows from the client and from the edge itself, and is told the same.
func TestEventQueries(t *testing.T) {
	edge := apitest.World()
	c := serve(t, edge)
	all, err := api.Collect(edge.Events(t.Context(), api.EventQuery{}))
	if err != nil || len(all) != 5 {
		t.Fatalf("%d events, %v", len(all), err)
	}
	for name, q := range map[string]api.EventQuery{
		"all": {}, "since": {Since: all[2].Time}, "after": {After: all[1].ID}, "of a type": {Types: []string{"attack"}},
		"another run's": {After: "ZZZZZZZZ-3"},
	} {
		want, err := api.Collect(edge.Events(t.Context(), q))
		if err != nil || len(want) == 0 {
			t.Errorf("%s: the edge has %d, %v", name, len(want), err)
		}
		got, err := api.Collect(c.Events(t.Context(), q))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-edge +client):\n%s", name, err, diff)
		}
	}
	for _, q := range []string{"after=x", "after=" + all[4].ID[:9] + "99", "since=soon", "since=-5m", "follow=maybe", "from=1"} {
		if code, body := get(t, c, "/v1/events?"+q, nil); code != http.StatusBadRequest || !strings.Contains(body, `"error"`) {
			t.Errorf("%s: %d %s", q, code, body)
		}
	}
}

// get asks a daemon as any program would.
func get(t *testing.T, c *api.Client, path string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://parry"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := plain(c).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func plain(c *api.Client) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.Socket())
	}}}
}

// The stream is what a browser's EventSource reads, and its header brings it back to where it was.
func TestEventsAreServerSent(t *testing.T) {
	edge := happening()
	c := serve(t, edge)
	edge.Log.Publish(event.Event{Type: event.Reload, Text: "two\nlines"})
	edge.Log.Publish(event.Event{Type: event.BlockAdd, Text: "b"})
	all, err := api.Collect(edge.Events(t.Context(), api.EventQuery{}))
	if err != nil {
		t.Fatal(err)
	}
	code, body := get(t, c, "/v1/events", http.Header{"Last-Event-ID": {all[0].ID}})
	want := fmt.Sprintf(": nothing happens\n\nid: %s\nevent: block.add\ndata: {\"id\":%q,", all[1].ID, all[1].ID)
	if code != http.StatusOK || !strings.HasPrefix(body, want) || !strings.HasSuffix(body, "}\n\n") {
		t.Errorf("%d %q", code, body)
	}
	if _, body := get(t, c, "/v1/events?type=reload", nil); strings.Count(body, "data: ") != 1 || !strings.Contains(body, `two\nlines`) {
		t.Errorf("of two lines came %q", body)
	}
}

// A reader that hangs up is noticed: its call ends, so nothing is held for it, and the server can end.
func TestWhoHangsUpIsForgotten(t *testing.T) {
	edge := happening()
	watched := &hungUp{Edge: edge, ended: make(chan struct{})}
	c := serve(t, watched)
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", c.Socket())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: parry\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), ":") { // until the stream is there
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-watched.ended:
	case <-time.After(20 * time.Second):
		t.Error("its call goes on")
	}
}

// hungUp says when a call of Events has ended.
type hungUp struct {
	*apitest.Edge
	ended chan struct{}
}

func (h *hungUp) Events(ctx context.Context, q api.EventQuery) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		defer close(h.ended)
		for e, err := range h.Edge.Events(ctx, q) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// A reader that takes nothing keeps nobody from publishing, and hears what it lost.
func TestASlowReaderLosesAndIsTold(t *testing.T) {
	edge := happening()
	c := serve(t, edge)
	const many = 20_000
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	lost, read := 0.0, 0
	began := false
	for e, err := range c.Events(ctx, api.EventQuery{Follow: true, Beat: time.Second}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == "" && !began {
			began = true
			for range many { // far more than a socket holds, while nobody reads
				edge.Log.Publish(event.Event{Type: event.BlockAdd, Text: strings.Repeat("x", 1000)})
			}
			edge.Log.End()
		}
		switch e.Type {
		case event.Lost:
			lost += e.Data["events"].(float64)
		case event.BlockAdd:
			read++
		}
	}
	if lost == 0 || int(lost)+read != many || ctx.Err() != nil {
		t.Errorf("%d were read and %v lost of %d: %v", read, lost, many, ctx.Err())
	}
}

func TestAttacksAreListed(t *testing.T) {
	edge := apitest.World()
	c := serve(t, edge)
	for _, f := range []api.AttackFilter{{}, {Service: "craft"}, {ID: "arena-20260131T115750Z"}, {ID: "nosuch"}, {ID: "arena-20260131T115750Z", Service: "craft"}} {
		want, _ := edge.Attacks(t.Context(), f)
		got, err := c.Attacks(t.Context(), f)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%+v: %v (-edge +client):\n%s", f, err, diff)
		}
	}
	edge.Fail = errors.New("the maps are gone")
	if _, err := c.Attacks(t.Context(), api.AttackFilter{}); err == nil || !strings.Contains(err.Error(), "the maps are gone") {
		t.Errorf("a failure is told as %v", err)
	}
	for _, err := range c.Events(t.Context(), api.EventQuery{Follow: true}) {
		if err == nil || !strings.Contains(err.Error(), "the maps are gone") {
			t.Errorf("a failure of events is told as %v", err)
		}
	}
}

// A stream says that it is there even while all that happens is something else than was asked for: silence would end it.
func TestBeatsComeBesideEventsOfOtherTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := event.New(64, time.Now)
		go func() {
			for range 12 {
				time.Sleep(10 * time.Second)
				log.Publish(event.Event{Type: event.BlockAdd})
			}
			log.End()
		}()
		beats := 0
		for e, err := range api.ReadEvents(t.Context(), log, api.EventQuery{Types: []string{"attack"}, Follow: true, Beat: 15 * time.Second}) {
			if err != nil || e.Type != "" {
				t.Errorf("%+v, %v", e, err)
			}
			beats++
		}
		if beats < 8 { // one at once, and one each 15 s of two minutes
			t.Errorf("%d signs of life in two minutes", beats)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/event"
)

// heard is what a command writes, for another goroutine to wait for.
type heard struct {
	mu   sync.Mutex // guards text
	text strings.Builder
	more chan struct{}
}

func newHeard() *heard { return &heard{more: make(chan struct{}, 1)} }

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Write(b)
	select {
	case h.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

// await waits until something was written, and returns all that was.
func (h *heard) await(t *testing.T, want string) string {
	t.Helper()
	patience := time.After(30 * time.Second)
	for {
		h.mu.Lock()
		text := h.text.String()
		h.mu.Unlock()
		if strings.Contains(text, want) {
			return text
		}
		select {
		case <-h.more:
		case <-patience:
			t.Fatalf("no %q in %q", want, text)
		}
	}
}

// followed is an edge that says when somebody follows its events.
type followed struct {
	*apitest.Edge
	begun chan struct{} // a place for each that does
}

func (f followed) Events(ctx context.Context, q api.EventQuery) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for e, err := range f.Edge.Events(ctx, q) {
			if e.Type == "" {
				f.begun <- struct{}{}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// daemon answers on a socket until stop is called.
func daemon(t *testing.T, socket string) (edge followed, stop func()) {
	t.Helper()
	edge = followed{apitest.World(), make(chan struct{}, 100)}
	edge.Log = event.New(16, time.Now)
	l, err := api.Listen(t.Context(), socket, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- api.NewHTTPServer(edge, api.HTTPOptions{}, slog.New(slog.DiscardHandler)).Serve(ctx, l)
	}()
	return edge, func() {
		cancel()
		edge.Log.End()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestTailFollowsOverARestart(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "parry.sock")
	edge, stop := daemon(t, socket)
	out, errs := newHeard(), newHeard()
	done := make(chan int, 1)
	go func() {
		done <- execute(t.Context(), wire(), []string{"event", "tail", "--socket", socket, "--count", "4"}, streams{out: out, err: errs})
	}()
	<-edge.begun
	edge.Log.Publish(event.Event{Type: event.DaemonStart, Text: "the first one starts"})
	out.await(t, "the first one starts")
	edge.Log.Publish(event.Event{Type: event.DaemonStop, Text: "the first one stops"})
	stop()
	errs.await(t, "the daemon went away: waiting for its return\n")
	edge, stop = daemon(t, socket)
	defer stop()
	edge.Log.Publish(event.Event{Type: event.DaemonStart, Text: "the second one starts"})
	errs.await(t, "the daemon is back\n")
	edge.Log.Publish(event.Event{Type: event.Reload, Text: "a reload"})
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	text := out.await(t, "a reload")
	for _, want := range []string{"the first one starts", "the first one stops", "the second one starts", "a reload"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, text)
		}
	}
	if said := errs.await(t, "back"); strings.Count(said, "\n") != 2 {
		t.Errorf("it said %q", said)
	}
}

// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
)

const gateObject = "\x7fELF and so on: mygame"

func TestGatesAreForRootAlone(t *testing.T) {
	for _, row := range []struct {
		name, method, path string
		uid                uint32
		peer               bool
		want               int
	}{
		{"root loads", http.MethodPost, "/v1/gates", 0, true, http.StatusOK},
		{"the group may not load", http.MethodPost, "/v1/gates", 4711, true, http.StatusForbidden},
		{"who is not known may not load", http.MethodPost, "/v1/gates", 0, false, http.StatusForbidden},
		{"the group may not unload", http.MethodDelete, "/v1/gates/old", 4711, true, http.StatusForbidden},
		{"root unloads", http.MethodDelete, "/v1/gates/old", 0, true, http.StatusOK},
		{"the group may look", http.MethodGet, "/v1/gates", 4711, true, http.StatusOK},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := api.NewHTTPServer(apitest.World(), api.HTTPOptions{}, quiet()).Handler()
			if row.peer {
				h = api.As(row.uid, h)
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(row.method, row.path, strings.NewReader(gateObject)))
			if rec.Code != row.want {
				t.Errorf("status %d, want %d: %s", rec.Code, row.want, rec.Body)
			}
		})
	}
}

// No path leads out of the folder of gates, and no body is read that is larger than a gate.
func TestBadGateCallsAreRefused(t *testing.T) {
	for _, row := range []struct {
		name, method, path string
		body               []byte
		want               int
	}{
		{"a path", http.MethodDelete, "/v1/gates/..%2f..%2fetc%2fpasswd", nil, http.StatusBadRequest},
		{"dots", http.MethodDelete, "/v1/gates/%2e%2e", nil, http.StatusBadRequest},
		{"a NUL", http.MethodDelete, "/v1/gates/a%00b", nil, http.StatusBadRequest},
		{"a long name", http.MethodDelete, "/v1/gates/" + strings.Repeat("a", 24), nil, http.StatusBadRequest},
		{"one that isn't there", http.MethodDelete, "/v1/gates/nobody", nil, http.StatusNotFound},
		{"one in use", http.MethodDelete, "/v1/gates/quake3", nil, http.StatusConflict},
		{"nothing", http.MethodPost, "/v1/gates", nil, http.StatusBadRequest},
		{"no object", http.MethodPost, "/v1/gates", []byte("int main"), http.StatusBadRequest},
		{"100 MB", http.MethodPost, "/v1/gates", bytes.Repeat([]byte("\x7fELF"), 25_000_000), http.StatusRequestEntityTooLarge},
		{"a parameter", http.MethodPost, "/v1/gates?name=x", []byte(gateObject), http.StatusBadRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			edge := apitest.World()
			before, _ := edge.Gates(t.Context())
			rec := httptest.NewRecorder()
			h := api.As(0, api.NewHTTPServer(edge, api.HTTPOptions{}, quiet()).Handler())
			h.ServeHTTP(rec, httptest.NewRequest(row.method, row.path, bytes.NewReader(row.body)))
			if rec.Code != row.want {
				t.Errorf("status %d, want %d: %s", rec.Code, row.want, rec.Body)
			}
			if after, _ := edge.Gates(t.Context()); len(after) != len(before) {
				t.Errorf("%d gates before, %d after", len(before), len(after))
			}
		})
	}
}

// Over a real socket the kernel says who calls.
func TestGatesOverTheSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(t.Context(), socket, "", quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.NewHTTPServer(apitest.World(), api.HTTPOptions{}, quiet()).Serve(ctx, l) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	c := api.Dial(socket)
	g, err := c.LoadGate(t.Context(), []byte(gateObject))
	if err != nil || g.Name != "mygame" {
		t.Fatalf("LoadGate = %+v, %v", g, err)
	}
	if list, err := c.Gates(t.Context()); err != nil || len(list) != 4 {
		t.Errorf("Gates = %+v, %v", list, err)
	}
	if err := c.UnloadGate(t.Context(), "mygame"); err != nil {
		t.Error(err)
	}
	for _, row := range []struct {
		name string
		want error
	}{{"mygame", api.ErrNotFound}, {"quake3", api.ErrBusy}, {"../x", api.ErrInvalid}} {
		if err := c.UnloadGate(t.Context(), row.name); !errors.Is(err, row.want) {
			t.Errorf("UnloadGate(%s) = %v, want %v", row.name, err, row.want)
		}
	}
	if _, err := c.LoadGate(t.Context(), make([]byte, api.MaxGate+1)); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("a gate that is too large: %v", err)
	}
}

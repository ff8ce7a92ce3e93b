// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"

	"parry/pkg/game"
)

var gateName = regexp.MustCompile(game.GatePattern)

func (s *HTTPServer) gates(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	list, err := s.edge.Gates(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nonNil(list))
}

func (s *HTTPServer) loadGate(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	object, err := io.ReadAll(r.Body)
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return fmt.Errorf("a compiled gate has at most %d bytes: %w", MaxGate, err)
	}
	if err != nil {
		return fmt.Errorf("read the gate: %w", err)
	}
	if len(object) == 0 {
		return invalidf("no gate came: send the compiled object as the body")
	}
	g, err := s.edge.LoadGate(r.Context(), object)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, g)
}

func (s *HTTPServer) unloadGate(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	name := r.PathValue("name")
	if !gateName.MatchString(name) {
		return invalidf("%q is no gate's name", name)
	}
	if err := s.edge.UnloadGate(r.Context(), name); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}

// Gates lists the gates that services may name.
func (c *Client) Gates(ctx context.Context) ([]Gate, error) {
	var list []Gate
	err := c.call(ctx, http.MethodGet, "/v1/gates", nil, nil, &list)
	return list, err
}

// LoadGate sends a compiled gate.
func (c *Client) LoadGate(ctx context.Context, object []byte) (Gate, error) {
	const path = "/v1/gates"
	var g Gate
	if len(object) > MaxGate {
		return g, invalidf("a gate of %d bytes is too large: at most %d", len(object), MaxGate)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.open(ctx, http.MethodPost, path, nil, bytes.NewReader(object))
	if err != nil {
		return g, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&g); err != nil {
		return g, c.broke(path, err)
	}
	return g, nil
}

// UnloadGate forgets an operator's gate.
func (c *Client) UnloadGate(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/gates/"+url.PathEscape(name), nil, nil, &struct{}{})
}

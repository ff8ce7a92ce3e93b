// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
)

// Confirmed is an edge that was on trial and stays.
type Confirmed struct {
	PID    int    `json:"pid"`    // of its daemon
	Config string `json:"config"` // path of its file
	Pin    string `json:"pin"`
}

func (s *HTTPServer) confirm(w http.ResponseWriter, r *http.Request) error {
	if err := params(r); err != nil {
		return err
	}
	c, err := s.edge.Confirm(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, c)
}

// Confirm keeps an edge that is on trial.
func (c *Client) Confirm(ctx context.Context) (Confirmed, error) {
	var done Confirmed
	err := c.call(ctx, http.MethodPost, "/v1/confirm", nil, nil, &done)
	return done, err
}

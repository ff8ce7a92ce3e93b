// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// What callers tell errors apart by, on both sides of the socket.
var (
	ErrInvalid  = errors.New("invalid request")             // what was asked makes no sense: 400
	ErrConfig   = errors.New("configuration refused")       // the configuration can't be used, the old one stays: 422
	ErrNotFound = errors.New("not found")                   // 404
	ErrBusy     = errors.New("in use")                      // 409
	ErrRoot     = errors.New("root alone may do that")      // 403
	ErrFull     = errors.New("table full")                  // 507
	ErrNoDaemon = errors.New("no daemon answers")           // client only: nobody listens on the socket
	errStalled  = errors.New("request stalled")             // server only: 408
	ErrInUse    = errors.New("another daemon holds socket") // server only: Listen found a live daemon
)

// Mark gives err a kind that errors.Is finds, and leaves its text alone.
func Mark(kind, err error) error {
	if err == nil {
		return nil
	}
	return &marked{error: err, kind: kind}
}

type marked struct {
	error
	kind error
}

func (m *marked) Is(target error) bool { return target == m.kind }
func (m *marked) Unwrap() error        { return m.error }

// invalidf is an error of kind ErrInvalid.
func invalidf(format string, args ...any) error { return Mark(ErrInvalid, fmt.Errorf(format, args...)) }

// BadLine is one line of an import that can't be used.
type BadLine struct {
	Line  int    `json:"line"`
	Text  string `json:"text"`
	Error string `json:"error"`
}

// ImportError refuses an import: nothing of it was applied.
type ImportError struct {
	Lines []BadLine // the first maxBadLines of them
	Bad   int       // how many there are
}

// Error names the first bad line and counts the others.
func (e *ImportError) Error() string {
	first, others := "", ""
	if len(e.Lines) > 0 {
		first = fmt.Sprintf(": line %d: %s", e.Lines[0].Line, e.Lines[0].Error)
	}
	if e.Bad > 1 {
		others = fmt.Sprintf(" (and %d more bad lines)", e.Bad-1)
	}
	return "nothing was applied" + first + others
}

// Is makes it an ErrInvalid.
func (e *ImportError) Is(target error) bool { return target == ErrInvalid }

// errorBody is the JSON of a refusal.
type errorBody struct {
	Error string    `json:"error"`
	Bad   int       `json:"bad,omitempty"`
	Lines []BadLine `json:"lines,omitempty"`
}

// statuses pairs kinds with HTTP statuses, for both directions.
func statuses() []struct {
	kind error
	code int
} {
	return []struct {
		kind error
		code int
	}{
		{ErrInvalid, http.StatusBadRequest},
		{ErrConfig, http.StatusUnprocessableEntity},
		{ErrNotFound, http.StatusNotFound},
		{ErrBusy, http.StatusConflict},
		{ErrRoot, http.StatusForbidden},
		{ErrFull, http.StatusInsufficientStorage},
		{errStalled, http.StatusRequestTimeout},
	}
}

// statusOf is the HTTP status that tells of err.
func statusOf(err error) int {
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return http.StatusRequestEntityTooLarge
	}
	for _, s := range statuses() {
		if errors.Is(err, s.kind) {
			return s.code
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// errorOf is statusOf turned around: what the daemon's refusal is to the client.
func errorOf(code int, body errorBody) error {
	if body.Bad > 0 {
		return &ImportError{Lines: body.Lines, Bad: body.Bad}
	}
	err := errors.New(strings.TrimSpace(body.Error))
	for _, s := range statuses() {
		if s.code == code {
			return Mark(s.kind, err)
		}
	}
	return err
}

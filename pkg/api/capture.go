// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"parry/pkg/blocklist"
)

// What a capture holds.
const (
	CaptureDrops   = "drops"   // what is dropped, or would be were policy enforced
	CaptureSamples = "samples" // one packet in so many
	CaptureAll     = "all"
)

// CaptureModes are all three.
func CaptureModes() []string { return []string{CaptureDrops, CaptureSamples, CaptureAll} }

// What a capture is bounded by unless its caller says otherwise.
const (
	CaptureCount = 10_000
	CaptureFor   = time.Minute
	CaptureSize  = 64 << 20
	CaptureEvery = 1000 // of CaptureSamples
	CaptureSnap  = 256

	// CaptureLongest is the longest that one may go on.
	CaptureLongest = 24 * time.Hour
	// CaptureSnapMax is the most bytes of a frame.
	CaptureSnapMax = 2048
)

// CaptureQuery says what to capture. A zero field of the filter matches all.
type CaptureQuery struct {
	Mode    string
	Address netip.Prefix // of the client, or of either end
	Session string       // its ID
	Service string
	Reason  string // that it was dropped for, or would be

	Every int // one packet in so many; 0 or 1 = each
	Snap  int // bytes of each frame

	Count int           // packets; 0 = as many as come
	For   time.Duration // at most CaptureLongest
	Size  int64         // bytes; 0 = as many as come
}

// NewCaptureQuery is one with all bounds as they are by default.
func NewCaptureQuery(mode string) CaptureQuery {
	q := CaptureQuery{Mode: mode, Snap: CaptureSnap, Count: CaptureCount, For: CaptureFor, Size: CaptureSize}
	if mode == CaptureSamples {
		q.Every = CaptureEvery
	}
	return q
}

// Check tells what of it can't be.
func (q *CaptureQuery) Check() error {
	switch {
	case !slices.Contains(CaptureModes(), q.Mode):
		return invalidf("mode=%q is none of drops, samples and all", q.Mode)
	case q.Snap < 14 || q.Snap > CaptureSnapMax:
		return invalidf("snaplen=%d is not between 14 and %d", q.Snap, CaptureSnapMax)
	case q.Every < 0 || q.Count < 0 || q.Size < 0:
		return invalidf("every, count and size are not below 0")
	case q.For <= 0 || q.For > CaptureLongest:
		return invalidf("for=%v is not between 1ns and %v", q.For, CaptureLongest)
	}
	return nil
}

func (q *CaptureQuery) values() url.Values {
	v := url.Values{
		"mode": {q.Mode}, "snaplen": {strconv.Itoa(q.Snap)}, "every": {strconv.Itoa(q.Every)}, "count": {strconv.Itoa(q.Count)},
		"for": {q.For.String()}, "size": {strconv.FormatInt(q.Size, 10)},
	}
	for k, s := range map[string]string{"session": q.Session, "service": q.Service, "reason": q.Reason} {
		if s != "" {
			v.Set(k, s)
		}
	}
	if q.Address.IsValid() {
		v.Set("address", q.Address.String())
	}
	return v
}

func captureQuery(v url.Values) (CaptureQuery, error) {
	mode := v.Get("mode")
	if mode == "" {
		mode = CaptureDrops
	}
	q := NewCaptureQuery(mode)
	q.Session, q.Service, q.Reason = v.Get("session"), v.Get("service"), v.Get("reason")
	var err error
	if a := v.Get("address"); a != "" {
		if q.Address, err = blocklist.ParsePrefix(a); err != nil {
			return q, invalidf("address: %v", err)
		}
	}
	for name, to := range map[string]*int{"snaplen": &q.Snap, "every": &q.Every, "count": &q.Count} {
		if t := v.Get(name); t != "" {
			if *to, err = strconv.Atoi(t); err != nil {
				return q, invalidf("%s=%q is no number", name, t)
			}
		}
	}
	if t := v.Get("size"); t != "" {
		if q.Size, err = strconv.ParseInt(t, 10, 64); err != nil {
			return q, invalidf("size=%q is no number", t)
		}
	}
	if t := v.Get("for"); t != "" {
		if q.For, err = time.ParseDuration(t); err != nil {
			return q, invalidf("for=%q is no duration like 10s", t)
		}
	}
	return q, q.Check()
}

// capture streams a capture as pcapng, until one of its bounds is reached or the caller hangs up.
func (s *HTTPServer) capture(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "mode", "address", "session", "service", "reason", "snaplen", "every", "count", "for", "size"); err != nil {
		return err
	}
	q, err := captureQuery(r.URL.Query())
	if err != nil {
		return err
	}
	return s.edge.Capture(r.Context(), q, &flusher{w: w})
}

// flusher sends each piece at once.
type flusher struct {
	w     http.ResponseWriter
	begun bool
}

func (f *flusher) Write(p []byte) (int, error) {
	if !f.begun {
		f.w.Header().Set("Content-Type", "application/vnd.tcpdump.pcap")
		f.w.Header().Set("Cache-Control", "no-cache")
		f.begun = true
	}
	n, err := f.w.Write(p)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
	}
	if err != nil {
		return n, fmt.Errorf("send the capture: %w", err)
	}
	return n, nil
}

// Capture copies a capture to out as it comes.
func (c *Client) Capture(ctx context.Context, q CaptureQuery, out io.Writer) error {
	const path = "/v1/capture"
	resp, err := c.open(ctx, http.MethodGet, path, q.values(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	w := &marking{out: out}
	if _, err := io.Copy(w, resp.Body); err != nil {
		if w.err != nil || ctx.Err() != nil {
			return err
		}
		return c.broke(path, err)
	}
	return nil
}

// marking tells a fault of the writer from one of the reader.
type marking struct {
	out io.Writer
	err error
}

func (m *marking) Write(p []byte) (int, error) {
	n, err := m.out.Write(p)
	m.err = err
	return n, err
}

// String is the filter in words, each behind a space; "" = everything.
func (q CaptureQuery) String() string {
	s := ""
	if q.Address.IsValid() {
		s += " address " + blocklist.FormatPrefix(q.Address)
	}
	for _, f := range [][2]string{{"session", q.Session}, {"service", q.Service}, {"reason", q.Reason}} {
		if f[1] != "" {
			s += " " + f[0] + " " + f[1]
		}
	}
	if q.Every > 1 {
		s += fmt.Sprintf(" 1 in %d", q.Every)
	}
	return s
}

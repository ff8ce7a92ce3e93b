// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/pcap"
)

func TestBadCapturesAreRefused(t *testing.T) {
	for _, row := range []struct {
		name, query string
		uid         uint32
		want        int
	}{
		{"by default", "", 0, http.StatusOK},
		{"all is said", "mode=samples&address=198.51.100.0/24&session=1&service=arena&reason=denied&snaplen=2048&every=10&count=0&for=24h&size=0", 0, http.StatusOK},
		{"the group may not", "", 4711, http.StatusForbidden},
		{"a mode", "mode=some", 0, http.StatusBadRequest},
		{"an address", "address=nobody", 0, http.StatusBadRequest},
		{"no bytes", "snaplen=13", 0, http.StatusBadRequest},
		{"more bytes than are kept", "snaplen=2049", 0, http.StatusBadRequest},
		{"a number", "count=many", 0, http.StatusBadRequest},
		{"a count below 0", "count=-1", 0, http.StatusBadRequest},
		{"a size", "size=1.5", 0, http.StatusBadRequest},
		{"no time", "for=0s", 0, http.StatusBadRequest},
		{"too long", "for=24h1s", 0, http.StatusBadRequest},
		{"another parameter", "secret=1", 0, http.StatusBadRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := api.As(row.uid, api.NewHTTPServer(apitest.World(), api.HTTPOptions{}, quiet()).Handler())
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/v1/capture?"+row.query, nil))
			if rec.Code != row.want {
				t.Errorf("status %d, want %d: %s", rec.Code, row.want, rec.Body)
			}
		})
	}
}

// What a client has of a capture is one, and a fault of its own file is its own.
func TestClientCaptures(t *testing.T) {
	c := serve(t, apitest.World())
	var out bytes.Buffer
	q := api.NewCaptureQuery(api.CaptureDrops)
	q.Count = 4
	if err := c.Capture(t.Context(), q, &out); err != nil {
		t.Fatal(err)
	}
	r, err := pcap.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		p, err := r.Next()
		if err != nil || !p.Time.Equal(apitest.Epoch().Add(time.Duration(i)*time.Millisecond)) {
			t.Errorf("packet %d at %v: %v", i, p.Time, err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("behind the last: %v", err)
	}
	full := errors.New("full")
	if err := c.Capture(t.Context(), q, failing{full}); !errors.Is(err, full) {
		t.Errorf("on a full disk: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

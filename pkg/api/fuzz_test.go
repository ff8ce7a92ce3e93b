// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
)

// FuzzCalls sends hostile bodies and parameters to everything that changes something: the daemon must not fail, must
// say no in JSON, and a refusal must have changed nothing.
func FuzzCalls(f *testing.F) {
	targets := []struct{ method, path string }{
		{"POST", "/v1/blocks"},
		{"POST", "/v1/allows"},
		{"POST", "/v1/blocks/import"},
		{"POST", "/v1/allows/import"},
		{"DELETE", "/v1/blocks"},
		{"DELETE", "/v1/sessions"},
		{"GET", "/v1/sessions"},
		{"GET", "/v1/who"},
		{"GET", "/v1/blocks/export"},
	}
	for _, seed := range []struct{ query, body string }{
		{"", `[{"prefix":"203.0.113.7","reason":"x","ttl":"1h","service":"arena"}]`},
		{"", `{"prefix":"2001:db8::/64","expires":null,"unlimited":true}`},
		{"", `[{"prefix":"203.0.113.7","confidence":1e400}]`},
		{"", "203.0.113.7 reason=\"a \\\"b\\\"\"\n# c\n::/0 ttl=never\n"},
		{"keep_going=1&ttl=1h&reason=x&unlimited=1", mixed},
		{"prefix=203.0.113.7&prefix=::1&service=arena", ""},
		{"", `[{"prefix":"203.0.113.7","service":"arena"},{"prefix":"::/0"}]`},
		{"client=198.51.100.0/24&limit=1", ""},
		{"edge=10.0.0.1:1024&proto=udp", ""},
		{"format=jsonl&prefix=0.0.0.0/0", ""},
		{"all=1", "\xff\xfe"},
		{"%zz", "[[[[[[[["},
	} {
		for i := range targets {
			f.Add(i, seed.query, []byte(seed.body))
		}
	}
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, which int, query string, body []byte) {
		target := targets[uint(which)%uint(len(targets))]
		edge := apitest.World()
		req := httptest.NewRequest(target.method, target.path, bytes.NewReader(body))
		req.URL = &url.URL{Path: target.path, RawQuery: query}
		rec := httptest.NewRecorder()
		api.NewHTTPServer(edge, api.HTTPOptions{SpoolDir: spool}, quiet()).Handler().ServeHTTP(rec, req)
		if rec.Code >= http.StatusInternalServerError {
			t.Fatalf("status %d: %s", rec.Code, rec.Body)
		}
		if rec.Code == http.StatusOK {
			return
		}
		var refusal struct{ Error string }
		if err := json.Unmarshal(rec.Body.Bytes(), &refusal); err != nil || refusal.Error == "" {
			t.Fatalf("refusal %d %q: %v", rec.Code, rec.Body, err)
		}
		left, err := edge.Sessions(t.Context(), api.Filter{})
		if n := edge.Len(api.Block) + edge.Len(api.Allow); n > 0 || len(left) != 3 || err != nil {
			t.Fatalf("refused with %q, yet %d entries, %d sessions (%v)", refusal.Error, n, len(left), err)
		}
	})
}

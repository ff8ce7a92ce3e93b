// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/blocklist"
)

func TestEntriesGoInAndOut(t *testing.T) {
	edge := apitest.World()
	c := serve(t, edge)
	ctx := t.Context()
	until := apitest.Epoch().AddDate(100, 0, 0)
	in := []blocklist.Entry{
		{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Reason: `"quoted" & ünïcode`, Source: "cli", Confidence: 1, Added: apitest.Epoch()},
		{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Source: "detect", Confidence: 0.9, Added: apitest.Epoch(), Expires: &until, Service: "arena", Hits: 7},
		{Prefix: netip.MustParsePrefix("2001:db8::/64"), Source: "cli", Confidence: 1, Added: apitest.Epoch(), Unlimited: true},
	}
	if err := c.Add(ctx, api.Allow, in); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, collect(t, c.Entries(ctx, api.Allow)), comparers()); diff != "" {
		t.Errorf("entries (-in +out):\n%s", diff)
	}
	if got := collect(t, c.Entries(ctx, api.Block)); len(got) != 0 {
		t.Errorf("allows show up among the blocks: %v", got)
	}
	for name, tc := range map[string]struct {
		filter api.EntryFilter
		want   []blocklist.Entry
	}{
		"service":           {api.EntryFilter{Service: "arena"}, in[1:2]},
		"holds the address": {api.EntryFilter{Prefix: netip.MustParsePrefix("198.51.100.9/32")}, in[:1]},
		"held by a prefix":  {api.EntryFilter{Prefix: netip.MustParsePrefix("2001:db8::/32")}, in[2:]},
	} {
		if diff := cmp.Diff(tc.want, collect(t, c.Pick(ctx, api.Allow, tc.filter)), comparers()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// The same prefix for another service is another entry.
	keys := []blocklist.Key{{Prefix: in[0].Prefix}, {Prefix: in[1].Prefix}, {Prefix: in[1].Prefix, Service: "arena"}}
	if n, err := c.Del(ctx, api.Allow, keys); n != 2 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if diff := cmp.Diff(in[2:], collect(t, c.Entries(ctx, api.Allow)), comparers()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// Scripts without a JSON library name what they remove in the address.
func TestEntriesAreRemovedByAddressToo(t *testing.T) {
	edge := apitest.World()
	h := api.NewHTTPServer(edge, api.HTTPOptions{}, quiet()).Handler()
	call := func(method, path, body string) string {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader(body)))
		return strings.TrimSpace(rec.Body.String())
	}
	list := `[{"prefix":"203.0.113.7"},{"prefix":"203.0.113.7","service":"arena"},{"prefix":"2001:db8::/64"},{"prefix":"192.0.2.1"}]`
	for _, step := range []struct{ method, path, body, want string }{
		{"POST", "/v1/blocks", list, `{"added":4}`},
		{"DELETE", "/v1/blocks?prefix=203.0.113.7&prefix=2001:db8::/64&prefix=192.0.2.99", "", `{"removed":2}`},
		{"DELETE", "/v1/blocks?prefix=203.0.113.7&service=arena", "", `{"removed":1}`},
		{"DELETE", "/v1/blocks", `{"prefix":"192.0.2.1"}`, `{"removed":1}`},
	} {
		if got := call(step.method, step.path, step.body); got != step.want {
			t.Errorf("%s %s: %s, want %s", step.method, step.path, got, step.want)
		}
	}
	if n := edge.Len(api.Block); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestExportIsAFileThatImportTakes(t *testing.T) {
	edge := apitest.World()
	c := serve(t, edge)
	ctx := t.Context()
	in := []blocklist.Entry{
		{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Reason: "a", Source: "cli", Confidence: 1, Added: apitest.Epoch()},
		{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Reason: "b", Source: "detect", Confidence: 0.5, Added: apitest.Epoch(), Service: "craft"},
	}
	for _, format := range []string{"text", "json", "jsonl"} {
		if err := edge.Add(ctx, api.Block, in); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := c.Export(ctx, api.Block, api.EntryFilter{}, format, &file); err != nil {
			t.Fatal(err)
		}
		if _, err := edge.Del(ctx, api.Block, []blocklist.Key{in[0].Key(), in[1].Key()}); err != nil {
			t.Fatal(err)
		}
		res, err := c.Import(ctx, api.Block, &file, api.ImportOptions{}, nil)
		if err != nil || res.Applied != 2 {
			t.Errorf("%s: %+v, %v", format, res, err)
		}
		if diff := cmp.Diff(in, collect(t, c.Entries(ctx, api.Block)), comparers()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", format, diff)
		}
	}
}

func collect(t *testing.T, seq func(func(blocklist.Entry, error) bool)) []blocklist.Entry {
	t.Helper()
	var all []blocklist.Entry
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// A list that breaks off in its middle must not look like a short list.
func TestABrokenListIsNoShortList(t *testing.T) {
	edge := apitest.World()
	var many []blocklist.Entry
	for i := range 5000 {
		a := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		many = append(many, blocklist.Entry{Prefix: netip.PrefixFrom(a, 32), Added: apitest.Epoch()})
	}
	if err := edge.Add(t.Context(), api.Block, many); err != nil {
		t.Fatal(err)
	}
	c := serve(t, edge)
	edge.Fail = errors.New("map deny4: gone")
	var last error
	for _, err := range c.Entries(t.Context(), api.Block) {
		last = err
	}
	if last == nil {
		t.Error("the entries end without an error")
	}
	if err := c.Export(t.Context(), api.Block, api.EntryFilter{}, "text", io.Discard); err == nil {
		t.Error("the export ends without an error")
	}
}

// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/test/need"
)

// anEdge is one with services arena (1) and gone (2), of which the second left the configuration.
func anEdge(t *testing.T) *loader.Edge {
	t.Helper()
	need.Root(t)
	e, err := loader.Open(loader.Options{Log: slog.New(slog.DiscardHandler), Injected: true, Sizes: loader.Sizes{
		Sessions: 64, Blocks: 64, Allows: 64, Prefixes: 64, Sources: 64, Fragments: 16, Services: 16, NAT4: 1, NAT6: 1, Regulars: 4096,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, services := range [][]loader.Service{
		{{Name: "arena", Forward: loader.Local}, {Name: "gone", Forward: loader.Local}},
		{{Name: "arena", Forward: loader.Local}},
	} {
		g, err := e.Prepare(&loader.Plan{Services: services})
		if err == nil {
			err = e.Use(g)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func collect(t *testing.T, seq iter.Seq2[blocklist.Entry, error]) []blocklist.Entry {
	t.Helper()
	var all []blocklist.Entry
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b blocklist.Entry) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	return all
}

// What export writes, import takes: entries of a service that went, and those that bpftool wrote for no service at all.
func TestExportedEntriesComeBack(t *testing.T) {
	edge := anEdge(t)
	l := lists{edge.Lists()}
	var raw []loader.Entry
	var keys []loader.EntryKey
	for i, text := range []string{"192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "198.51.100.0/24"} {
		k := loader.EntryKey{Prefix: netip.MustParsePrefix(text), Service: []uint32{0, 1, 2, 7}[i]}
		raw, keys = append(raw, loader.Entry{EntryKey: k}), append(keys, k)
	}
	if err := edge.Lists().Add(loader.Deny, raw); err != nil {
		t.Fatal(err)
	}
	want := collect(t, l.Entries(t.Context(), api.Block))
	var names []string
	for _, e := range want {
		names = append(names, e.Service)
	}
	if diff := cmp.Diff([]string{"", "arena", "gone", "#7"}, names); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	for _, format := range []string{blocklist.FormatText, blocklist.FormatJSON, blocklist.FormatJSONL} {
		var file bytes.Buffer
		if err := blocklist.Write(&file, format, l.Entries(t.Context(), api.Block)); err != nil {
			t.Fatal(err)
		}
		if n, err := edge.Lists().Del(loader.Deny, keys); n != len(keys) || err != nil {
			t.Fatal(n, err)
		}
		if res, err := api.Import(t.Context(), l, api.Block, &file, api.ImportOptions{}, nil); err != nil || res.Applied != len(keys) {
			t.Errorf("%s: %+v, %v", format, res, err)
		}
		got := collect(t, l.Entries(t.Context(), api.Block))
		for i := range got {
			got[i].Added = want[i].Added // an import says when it was
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
	_, err := api.Import(t.Context(), l, api.Block, strings.NewReader(`192.0.2.9 service="#1"`), api.ImportOptions{}, nil)
	if !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), "#1 is arena here") {
		t.Errorf("the number of a service that has a name: %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/blocklist"
)

// mixed has three good lines and one of each kind of bad one: what doesn't parse, and what parses but can't be applied.
const mixed = `# a list
203.0.113.7 reason="spam"

300.0.0.1
203.0.113.8 service=arenna
198.51.100.0/24 service=arena ttl=1h
203.0.113.9 unlimited=true
2001:db8::/64 added=2020-01-01T00:00:00Z
`

func mixedBad() []api.BadLine {
	return []api.BadLine{
		{Line: 4, Text: "300.0.0.1", Error: `"300.0.0.1" is not an address or prefix`},
		{Line: 5, Text: "203.0.113.8", Error: `there is no service "arenna": did you mean arena?`},
		{Line: 7, Text: "203.0.113.9", Error: "unlimited belongs to the allow list"},
	}
}

// importers are the two ways in: over the socket, and straight into the lists when no daemon runs.
func importers(t *testing.T, edge *apitest.Edge) map[string]func(io.Reader, api.ImportOptions, func(api.ImportEvent) error) (api.ImportResult, error) {
	c := serve(t, edge)
	return map[string]func(io.Reader, api.ImportOptions, func(api.ImportEvent) error) (api.ImportResult, error){
		"daemon": func(r io.Reader, opt api.ImportOptions, tell func(api.ImportEvent) error) (api.ImportResult, error) {
			return c.Import(t.Context(), api.Block, r, opt, tell)
		},
		"direct": func(r io.Reader, opt api.ImportOptions, tell func(api.ImportEvent) error) (api.ImportResult, error) {
			return api.Import(t.Context(), edge, api.Block, r, opt, tell)
		},
	}
}

func TestABadLineStopsTheWholeImport(t *testing.T) {
	edge := apitest.World()
	for name, imp := range importers(t, edge) {
		_, err := imp(strings.NewReader(mixed), api.ImportOptions{}, nil)
		var bad *api.ImportError
		if !errors.As(err, &bad) {
			t.Fatalf("%s: got %v", name, err)
		}
		if diff := cmp.Diff(&api.ImportError{Bad: 3, Lines: mixedBad()}, bad); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if n := edge.Len(api.Block); n != 0 {
			t.Errorf("%s: %d entries were applied", name, n)
		}
	}
}

func TestKeepGoingAppliesTheGoodLines(t *testing.T) {
	for _, name := range []string{"daemon", "direct"} {
		edge := apitest.World()
		expires := time.Now().Add(24 * time.Hour)
		opt := api.ImportOptions{KeepGoing: true, Default: blocklist.Entry{Reason: "list", Source: "cli", Expires: &expires}}
		var told []api.BadLine
		var last api.ImportProgress
		res, err := importers(t, edge)[name](strings.NewReader(mixed), opt, func(ev api.ImportEvent) error {
			if ev.Bad != nil {
				told = append(told, *ev.Bad)
			}
			if ev.Progress != nil {
				last = *ev.Progress
			}
			return nil
		})
		if err != nil || res != (api.ImportResult{Applied: 3, Bad: 3}) || last != (api.ImportProgress{Applied: 3, Total: 3}) {
			t.Errorf("%s: %+v, %+v, %v", name, res, last, err)
		}
		if diff := cmp.Diff(mixedBad(), told); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		var got []string
		for e, err := range edge.Entries(t.Context(), api.Block) {
			if err != nil {
				t.Fatal(err)
			}
			left := time.Until(*e.Expires).Round(time.Hour)
			got = append(got, fmt.Sprintf("%s %s %s %s %s", e.Prefix, e.Reason, e.Source, e.Service, left))
		}
		want := []string{
			"198.51.100.0/24 list cli arena 1h0m0s",
			"203.0.113.7/32 spam cli  24h0m0s",
			"2001:db8::/64 list cli  24h0m0s",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A backup may hold what has expired since: that is no reason to refuse it.
func TestAnImportTakesEntriesThatAreOver(t *testing.T) {
	for name, imp := range importers(t, apitest.World()) {
		res, err := imp(strings.NewReader("203.0.113.10 expires=2020-01-01T00:00:00Z\n"), api.ImportOptions{}, nil)
		if err != nil || res.Applied != 1 {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}

func TestBadObjectsOfAJSONImportHaveTheirLines(t *testing.T) {
	edge := apitest.World()
	list := "[\n{\"prefix\":\"203.0.113.7\"},\n{\"prefix\":\"203.0.113.8\",\"service\":\"nope\"},\n{\"prefix\":\"x\"}\n]\n"
	for name, imp := range importers(t, edge) {
		_, err := imp(strings.NewReader(list), api.ImportOptions{}, nil)
		var bad *api.ImportError
		if !errors.As(err, &bad) || bad.Bad != 2 || bad.Lines[0].Line != 3 || bad.Lines[1].Line != 4 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Lines far longer than any buffer don't shift the count.
func TestLineNumbersSurviveHugeAndTinyLines(t *testing.T) {
	list := "\n#\n" + strings.Repeat("x", 200_000) + "\n::\n203.0.113.8 service=nope\n" + "# " + strings.Repeat("y", 70_000) + "\n::1 service=nope"
	_, err := api.Import(t.Context(), apitest.World(), api.Block, strings.NewReader(list), api.ImportOptions{}, nil)
	var bad *api.ImportError
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	var lines []int
	for _, b := range bad.Lines {
		lines = append(lines, b.Line)
	}
	if diff := cmp.Diff([]int{3, 5, 6, 7}, lines); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, bad.Lines)
	}
}

func TestAFullListSaysHowFarTheImportGot(t *testing.T) {
	edge := apitest.World()
	edge.Capacity = 10
	for name, imp := range importers(t, edge) {
		_, err := imp(bytes.NewReader(hosts(11)), api.ImportOptions{}, nil)
		if err == nil || !strings.Contains(err.Error(), "0 of 11 entries applied: the block list is full") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAnImportThatIsCanceledEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, apitest.World())
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write([]byte("203.0.113.7\n"))
		cancel()
		_ = w.Close()
	}()
	if _, err := c.Import(ctx, api.Block, r, api.ImportOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A file that is no list at all is refused, though the daemon stops reading it early.
func TestAnImportOfSomethingElse(t *testing.T) {
	for name, imp := range importers(t, apitest.World()) {
		_, err := imp(strings.NewReader(strings.Repeat("lorem ipsum\n", 500_000)), api.ImportOptions{}, nil)
		if !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), "does not look like a list") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// hosts is a list of n addresses.
func hosts(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "10.%d.%d.%d\n", i>>16&255, i>>8&255, i&255)
	}
	return b.Bytes()
}

// counting is an edge that only counts what it is given.
type counting struct {
	api.Edge
	n int
}

func (c *counting) Add(_ context.Context, _ api.Kind, entries []blocklist.Entry) error {
	c.n += len(entries)
	return nil
}

// What the API itself costs for a million addresses: the budget is 5 s with the maps' share, and this is a guard
// against a quadratic or a per-line JSON, not a measurement.
func TestAMillionAddressesGoThroughTheSocket(t *testing.T) {
	if testing.Short() {
		t.Skip("a million lines")
	}
	edge := &counting{Edge: apitest.World()}
	c := serve(t, edge)
	list := hosts(1_000_000)
	start := time.Now()
	res, err := c.Import(t.Context(), api.Block, bytes.NewReader(list), api.ImportOptions{}, nil)
	if err != nil || res.Applied != 1_000_000 || edge.n != 1_000_000 {
		t.Fatalf("%+v, %d, %v", res, edge.n, err)
	}
	t.Logf("%v for a million addresses", time.Since(start))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a million addresses took %v", took)
	}
}

func BenchmarkImport(b *testing.B) {
	c := serve(b, &counting{Edge: apitest.World()})
	list := hosts(100_000)
	b.SetBytes(int64(len(list)))
	for b.Loop() {
		if _, err := c.Import(b.Context(), api.Block, bytes.NewReader(list), api.ImportOptions{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

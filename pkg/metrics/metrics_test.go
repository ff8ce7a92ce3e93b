// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write testdata/metrics.golden and docs/metrics.md instead of comparing them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source answers every scrape with the same snapshot or error.
type source struct {
	snap *Snapshot
	err  error
}

func (s source) Snapshot(context.Context) (*Snapshot, error) { return s.snap, s.err }

// full has each field set, and one service whose answers the edge doesn't see.
func full() *Snapshot {
	return &Snapshot{
		Version: "v0.1.0", GoVersion: "go1.26", Enforce: true,
		Interfaces: []Interface{{Name: "eth0", Mode: "native", Protected: true}, {Name: "eth1", Mode: "generic"}},
		Services: []Service{
			{
				Name: "arena", State: "normal", Enforce: true,
				Up:        &Direction{Packets: 1000, Bytes: 64000, Verdicts: map[string]uint64{"tx": 900, "drop": 100}},
				Down:      &Direction{Packets: 800, Bytes: 160000, Verdicts: map[string]uint64{"redirect": 800}},
				Drops:     map[string]uint64{"rate_src": 90, "denied": 10},
				WouldDrop: map[string]uint64{},
				Sessions:  map[string]uint64{"unproven": 3, "proven": 61, "closing": 1},
				Strangers: map[string]uint64{"seen": 1200, "greylisted": 900, "admitted": 70},
				Moves:     map[string]uint64{"normal": 1, "elevated": 2, "attack": 1},
				Usual:     12.5, StrictGates: true,
				Limits:  map[string]uint64{"source.packets_per_second": 1000, "source.burst": 2000},
				Answers: map[string]Answers{"info": {Fresh: 2, Stale: 1, Oldest: 90 * time.Second, Errors: 7}},
			},
			{
				Name: "shield", State: "attack",
				Up:        &Direction{Packets: 5, Bytes: 300, Verdicts: map[string]uint64{"pass": 5}},
				WouldDrop: map[string]uint64{"rate_src": 7},
				Sessions:  map[string]uint64{"proven": 0},
			},
		},
		Host:      Direction{Packets: 42, Bytes: 4200},
		Drops:     map[string]uint64{"bad_ihl": 2},
		WouldDrop: map[string]uint64{"host_rate": 1},
		Maps:      []Map{{Name: "sessions4", Entries: 65, Capacity: 262144}, {Name: "deny4", Entries: 1, Capacity: 1048576}},
		Strangers: Strangers{GreylistFill: 0.25, SketchLoad: 0.5, UnprovenSlots: 32768}, Samples: map[string]map[string]uint64{"capture": {"taken": 1200, "lost": 7, "passed_over": 30}, "first": {"taken": 88, "lost": 1, "passed_over": 2}},
		Detect: Detect{Observations: 9000, Decisions: 12, Suppressed: 3, Tracked: map[string]uint64{"strangers": 4, "sources": 30, "prefixes": 7}, Delay: map[string]float64{"0.5": 0.002, "0.99": 0.03}},
		State: State{
			Open: true, Entries: 12, Waiting: 3, Counts: map[string]uint64{"put": 9, "taken": 4, "written": 10}, Refused: map[string]uint64{"malformed": 2},
			Links: map[string]StateLink{"fra-2": {Connected: true, Heard: 4, Behind: 1}},
		},
		Watching: Watching{Share: 0.5, Sessions: 1200, PacketsPerSecond: 98000.5, Bad: 3, Cells: 32767, CellsTaken: 2400, Full: 7},
		Daemon: Daemon{
			Uptime: 90 * time.Second, Reloads: 3, FailedReloads: 1,
			LastReload: time.Unix(1795000000, 250e6), LastReloadOK: true,
			LastSweep: 1500 * time.Microsecond, NetlinkResyncs: 2,
			Asked: map[string]uint64{"answered": 5, "refused": 1}, AskedPackets: 30, Errors: map[string]uint64{"sweep": 1},
		},
	}
}

// families are the metrics of the full snapshot.
func families(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(source{snap: full()}))
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// compare holds got against a checked-in file, or writes it with -update.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is stale: make docs writes it (-want +got):\n%s", file, diff)
	}
}

func TestScrapeMatchesTheGoldenFile(t *testing.T) {
	var got strings.Builder
	for _, f := range families(t) {
		if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
			t.Fatal(err)
		}
	}
	compare(t, filepath.Join("testdata", "metrics.golden"), got.String())
}

func TestTheReferenceListsEveryMetric(t *testing.T) {
	var got strings.Builder
	got.WriteString(`<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by pkg/metrics' tests (make docs) from the collector. -->
# Metrics

The daemon serves these at ` + "`/metrics`" + ` on the address of the configuration's ` + "`metrics`" + ` (default 127.0.0.1:9590), beside
those of the Go process. Labels are closed sets: no address ever becomes one. A direction that the edge doesn't
see (answers that bypass it) has no series, rather than one of 0. Counters live in pinned maps: they
outlast the daemon.

| metric | type | labels | what it says |
|---|---|---|---|
`)
	for _, f := range families(t) {
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		fmt.Fprintf(&got, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	compare(t, filepath.Join("..", "..", "docs", "metrics.md"), got.String())
}

func TestPromlintFindsNothing(t *testing.T) {
	problems, err := testutil.CollectAndLint(NewCollector(source{snap: full()}))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// The golden snapshot must show each metric that Describe names, or the golden file guards less than there is.
func TestTheGoldenSnapshotShowsEveryMetric(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "metrics.golden"))
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan *prometheus.Desc, 100)
	NewCollector(source{}).Describe(ch)
	close(ch)
	for d := range ch {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		if !strings.Contains(string(golden), "\n"+name) {
			t.Errorf("%s is described but not in the golden file", name)
		}
	}
}

func TestHandlerServesTheEdgeAndTheProcess(t *testing.T) {
	rec := scrape(t, source{snap: full()})
	if rec.Code != http.StatusOK {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	for _, want := range []string{
		`parry_service_drop_packets_total{reason="rate_src",service="arena"} 90`,
		`parry_service_drop_packets_total{reason="bad_ihl",service="_none"} 2`,
		"process_resident_memory_bytes",
		"go_goroutines",
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("no %q in the scrape", want)
		}
	}
	if unseen := `parry_service_traffic_packets_total{direction="down",service="shield"}`; strings.Contains(rec.Body.String(), unseen) {
		t.Errorf("%s is shown though the edge doesn't see that direction", unseen)
	}
}

func TestAFailedSnapshotFailsTheScrapeAndSaysWhy(t *testing.T) {
	rec := scrape(t, source{err: errors.New("map counters: operation not permitted")})
	if rec.Code != http.StatusInternalServerError || !strings.Contains(rec.Body.String(), "operation not permitted") {
		t.Errorf("status %d, body %q", rec.Code, rec.Body)
	}
}

func scrape(t *testing.T, src Source) *httptest.ResponseRecorder {
	t.Helper()
	h, err := Handler(src, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return rec
}
